// What the keeper does for all voters, and what it tells of them. This machine's own: keeper.cc.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/wait.h"
#include "meta/etcd/endpoints.h"
#include "voters/backup.h"
#include "voters/keeper.h"

namespace hansa::voters {
namespace {

constexpr io::Duration call_deadline = std::chrono::seconds(2);
constexpr io::Duration lead_limit = std::chrono::seconds(30);           // of a look at all voters and one change
constexpr io::Duration defragment_deadline = std::chrono::seconds(25);  // within lead_limit
constexpr std::string_view snapshot_end = ".snapshot";
constexpr std::string_view unfinished_end = ".snapshot.new";
constexpr std::string_view no_space = "NOSPACE";

bool says_no_space(const meta::etcd::StatusReply& status) {
  return std::ranges::any_of(status.errors, [](const std::string& text) { return text.contains(no_space); });
}

}  // namespace

// Who sees nothing to do, or cannot do it, leaves it to the others: they may reach voters that this machine does not.
io::Task<void> ManagedEtcd::lead_loop() {
  while (true) {
    auto slept = co_await io::sleep_for(keeper_interval);
    if (!slept) co_return;
    auto led = co_await io::with_deadline(lead_limit, lead_once());
    if (!led && led.error().code == ErrorCode::cancelled) co_return;
    if (!led && failed_last_ != led.error().message) {
      p_.log.warn("the voters cannot be minded", {{"error", led.error().message}});
    }
    failed_last_ = led ? std::string() : led.error().message;
    if (!led || !*led) task_->release();
  }
}

// Whether there was something to do, and this machine did it.
io::Task<Result<bool>> ManagedEtcd::lead_once() {
  HANSA_CO_CHECK(co_await look());
  if (due_step().kind == VoterStep::Kind::none) co_return false;
  HANSA_CO_TRY(const auto leader, co_await task_->hold());
  if (!leader) co_return false;
  // What was seen before may be of the time before another's last step: a voter that it added would look like nobody's.
  HANSA_CO_CHECK(co_await catalog_->barrier());
  HANSA_CO_CHECK(co_await look());
  const VoterStep step = due_step();
  if (step.kind == VoterStep::Kind::none) co_return false;
  auto done = co_await carry_out(step);
  if (!done) co_return std::move(done).error().with_context("a change of voters waits");
  co_return true;
}

VoterStep ManagedEtcd::due_step() const {
  const std::lock_guard guard(mutex_);
  return next_step(picture_);
}

io::Task<Result<meta::etcd::MembersReply>> ManagedEtcd::members() {
  Error last = make_error(ErrorCode::unavailable, "no endpoint of etcd is known");
  // Whoever answered last comes first: one that hangs costs a deadline at each look.
  std::vector<std::shared_ptr<meta::etcd::MaintenanceChannel>> order;
  if (answering_) order.push_back(answering_);
  for (const auto& settings : endpoints()) {
    HANSA_CO_TRY(auto channel, maintenance(settings));
    if (channel != answering_) order.push_back(std::move(channel));
  }
  for (const auto& channel : order) {
    auto reply = co_await channel->member_list(call_deadline);
    if (reply) {
      answering_ = channel;
      learn(*reply);
      co_return reply;
    }
    last = std::move(reply).error();
    if (last.code == ErrorCode::cancelled) break;
  }
  answering_.reset();
  co_return last;
}

Result<std::shared_ptr<meta::etcd::MaintenanceChannel>> ManagedEtcd::maintenance(
    const meta::etcd::ChannelSettings& settings) {
  const auto known = std::ranges::find(channels_, settings, [](const auto& one) { return one.first; });
  if (known != channels_.end()) return known->second;
  HANSA_TRY(auto channel, p_.maintenance(settings));
  channels_.emplace_back(settings, channel);
  return channel;
}

void ManagedEtcd::learn(const meta::etcd::MembersReply& reply) {
  std::vector<std::string> urls;
  for (const auto& member : reply.members) {
    if (!member.learner && !member.client_urls.empty()) urls.push_back(member.client_urls.front());
  }
  if (urls.empty()) return;
  {
    const std::lock_guard guard(mutex_);
    known_ = std::move(urls);
  }
  const auto now = endpoints();
  std::erase_if(channels_, [&now](const auto& one) { return std::ranges::find(now, one.first) == now.end(); });
  tell_(now);
}

io::Task<Result<void>> ManagedEtcd::look() {
  HANSA_CO_TRY(const auto reply, co_await members());
  VoterPicture picture;
  picture.wanted = options_.voters;
  picture.quota = options_.etcd.quota;
  for (const auto& member : reply.members) {
    Voter voter{.id = member.id, .name = member.name, .peer_url = {}, .client_url = {}, .learner = member.learner};
    if (!member.peer_urls.empty()) voter.peer_url = member.peer_urls.front();
    if (!member.client_urls.empty()) {
      voter.client_url = member.client_urls.front();
      HANSA_CO_TRY(const auto channel, maintenance(settings_of(voter.client_url)));
      auto status = co_await channel->status(call_deadline);
      // Only its own word counts: another may have taken its place.
      if (status && status->header.member == member.id) {
        voter.answers = true;
        voter.applied = status->raft_applied;
        voter.leader = status->leader == member.id;
        voter.db_size = status->db_size;
        voter.db_in_use = status->db_in_use;
        picture.no_space = picture.no_space || says_no_space(*status);
        picture.leader_applied = std::max(picture.leader_applied, status->raft_applied);
      }
    }
    const io::MonotonicTime now = p_.clock.monotonic();
    if (voter.answers) silent_since_.erase(voter.id);
    const auto since = voter.answers ? now : silent_since_.try_emplace(voter.id, now).first->second;
    voter.silent_long = now - since > repair_delay;
    picture.voters.push_back(std::move(voter));
  }
  std::erase_if(silent_since_, [&picture](const auto& one) {
    return std::ranges::find(picture.voters, one.first, &Voter::id) == picture.voters.end();
  });
  {
    HANSA_CO_TRY(auto view, catalog_->snapshot());
    HANSA_CO_TRY(picture.seats, read_seats(view));
    HANSA_CO_TRY(const auto nodes, view.nodes());
    const io::MonotonicTime now = p_.clock.monotonic();
    for (const auto& node : nodes) {
      HANSA_CO_TRY(const auto alive, view.alive(node.id));
      if (alive) dead_since_.erase(node.id);
      const auto since = alive ? now : dead_since_.try_emplace(node.id, now).first->second;
      picture.nodes.push_back({.id = node.id,
                               .active = node.record.state == "active",
                               .alive = alive.has_value(),
                               .gone = node.record.state == "gone",
                               .dead_long = now - since > repair_delay});
    }
  }
  const std::lock_guard guard(mutex_);
  picture_ = std::move(picture);
  looked_ = true;
  co_return Result<void>{};
}

io::Task<Result<void>> ManagedEtcd::carry_out(VoterStep step) {
  VoterPicture picture;
  {
    const std::lock_guard guard(mutex_);
    picture = picture_;
  }
  const auto channel = answering_;
  if (!channel) co_return make_error(ErrorCode::unavailable, "no voter answers");
  if (step.kind == VoterStep::Kind::remove) {
    p_.log.warn("a voter is removed", {{"member", member_text(step.member)}});
    co_return co_await channel->member_remove(step.member, change_deadline);
  }
  if (step.kind == VoterStep::Kind::promote) {
    p_.log.info("a voter has caught up and votes from now on", {{"member", member_text(step.member)}});
    co_return co_await channel->member_promote(step.member, change_deadline);
  }
  if (step.kind == VoterStep::Kind::defragment) co_return co_await defragment(picture, step.member);
  if (step.kind == VoterStep::Kind::disarm) co_return co_await disarm(*channel);
  const auto seat = std::ranges::find(picture.seats, step.node, &Seat::node);
  if (seat == picture.seats.end()) co_return Result<void>{};
  p_.log.info("a voter is added", {{"node", step.node}});
  HANSA_CO_TRY(const auto added, co_await channel->member_add(seat->record.peer_url, true, change_deadline));
  SeatRecord granted = seat->record;
  granted.state = "granted";
  granted.member = member_text(added.added);
  for (const auto& member : added.members) {
    const std::string name = member.id == added.added ? step.node : member.name;
    if (name.empty() || member.peer_urls.empty()) continue;
    granted.initial += (granted.initial.empty() ? "" : ",") + name + "=" + member.peer_urls.front();
  }
  // Should this commit be lost, the learner is nobody's: it is removed and added anew.
  co_return co_await put_seat(step.node, std::move(granted), seat->mod);
}

// etcd answers nothing else meanwhile; it goes on also where this stops waiting.
io::Task<Result<void>> ManagedEtcd::defragment(VoterPicture picture, std::uint64_t member) {
  const auto voter = std::ranges::find(picture.voters, member, &Voter::id);
  if (voter == picture.voters.end()) co_return Result<void>{};
  p_.log.info("a voter's database gives back what it does not use",
              {{"member", member_text(member)}, {"bytes", voter->db_size}, {"in use", voter->db_in_use}});
  HANSA_CO_TRY(const auto channel, maintenance(settings_of(voter->client_url)));
  co_return co_await channel->defragment(defragment_deadline);
}

io::Task<Result<void>> ManagedEtcd::disarm(meta::etcd::MaintenanceChannel& channel) {
  HANSA_CO_TRY(const auto alarms, co_await channel.alarms(call_deadline));
  for (const auto& alarm : alarms) {
    if (alarm.kind != no_space) continue;
    p_.log.info("etcd has space again and takes writes", {{"member", member_text(alarm.member)}});
    HANSA_CO_CHECK(co_await channel.disarm(alarm, change_deadline));
  }
  co_return Result<void>{};
}

// ---- snapshots --------------------------------------------------------------------------------------------------

io::Task<void> ManagedEtcd::snapshot_loop() {
  while (true) {
    auto slept = co_await io::sleep_for(options_.snapshot_interval);
    if (!slept) co_return;
    auto done = co_await snapshot_once();
    if (!done && done.error().code == ErrorCode::cancelled) co_return;
    if (!done) p_.log.error("no snapshot of the metadata could be taken", {{"error", done.error().message}});
  }
}

// As a backup by hand, so `hansa cluster restore` takes any of them; the oldest go.
io::Task<Result<void>> ManagedEtcd::snapshot_once() {
  const std::string& folder = options_.snapshot_folder;
  const auto stamp = std::chrono::duration_cast<std::chrono::seconds>(p_.clock.wall().time_since_epoch()).count();
  // Those that an earlier process left unfinished would stay for ever.
  auto prepare = [this, &folder]() -> Result<void> {
    HANSA_CHECK(p_.disk.make_directories(folder));
    HANSA_TRY(const auto entries, p_.disk.list(folder));
    for (const auto& entry : entries) {
      if (entry.name.ends_with(unfinished_end)) HANSA_CHECK(p_.disk.remove(folder + "/" + entry.name));
    }
    return {};
  };
  HANSA_CO_CHECK(co_await io::blocking(io::Pool::upkeep, std::move(prepare)));
  const std::string file = folder + "/metadata-" + std::to_string(stamp) + std::string(snapshot_end);
  Result<BackupInfo> taken = make_error(ErrorCode::unavailable, "no endpoint of etcd is known");
  for (const auto& settings : endpoints()) {
    BackupSource source;
    HANSA_CO_TRY(source.channel, p_.channels(settings));
    HANSA_CO_TRY(source.maintenance, p_.maintenance(settings));
    source.cluster = options_.cluster;
    taken = co_await backup(p_.disk, p_.clock, std::move(source), file);
    // Another may have what this one does not give.
    if (taken || !meta::etcd::Endpoints::another_may_help(taken.error())) break;
  }
  if (!taken) co_return std::move(taken).error();
  auto thin = [this, &folder]() -> Result<void> {
    HANSA_TRY(const auto entries, p_.disk.list(folder));
    std::vector<std::string> kept;
    for (const auto& entry : entries) {
      if (entry.name.ends_with(snapshot_end)) kept.push_back(entry.name);
    }
    for (std::size_t i = 0; i + options_.snapshots_kept < kept.size(); ++i) {
      HANSA_CHECK(p_.disk.remove(folder + "/" + kept[i]));
      const auto described = p_.disk.remove(folder + "/" + kept[i] + ".json");
      if (!described && described.error().code != ErrorCode::not_found) return described;
    }
    return {};
  };
  co_return co_await io::blocking(io::Pool::upkeep, std::move(thin));
}

// ---- what people see --------------------------------------------------------------------------------------------

std::string ManagedEtcd::status_json() const {
  const std::lock_guard guard(mutex_);
  if (!looked_) return {};
  nlohmann::json out = {{"wanted", picture_.wanted}, {"members", nlohmann::json::array()}};
  for (const auto& voter : picture_.voters) {
    out["members"].push_back({{"member", member_text(voter.id)},
                              {"node", voter.name},
                              {"learner", voter.learner},
                              {"answers", voter.answers},
                              {"applied", voter.applied}});
  }
  out["degraded"] = voters::degraded(picture_);
  return out.dump();
}

bool ManagedEtcd::may_stop(const std::string& node) const {
  const std::lock_guard guard(mutex_);
  return looked_ && voters::may_stop(picture_, node);
}

std::vector<std::string> ManagedEtcd::degraded() const {
  const std::lock_guard guard(mutex_);
  return voters::degraded(picture_);
}

std::set<std::string> ManagedEtcd::needed() const {
  std::set<std::string> out;
  const std::lock_guard guard(mutex_);
  for (const auto& node : picture_.nodes) {
    if (!voters::may_stop(picture_, node.id)) out.insert(node.id);
  }
  return out;
}

}  // namespace hansa::voters
