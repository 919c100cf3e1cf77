// This machine's own voter. What the leader does for all: keeper_lead.cc.
#include "voters/keeper.h"

#include <algorithm>

#include "io/wait.h"

namespace hansa::voters {
namespace {

constexpr io::Duration restart_pause = std::chrono::seconds(2);  // between starts of an etcd that ends

}  // namespace

ManagedEtcd::ManagedEtcd(Ports ports, KeeperOptions options)
    : p_(std::move(ports)), options_(std::move(options)), process_(p_.disk, p_.clock, options_.etcd) {
  known_ = options_.endpoints;
}

// ---- this machine's voter ---------------------------------------------------------------------------------------

Result<bool> ManagedEtcd::owns_marker() {
  HANSA_TRY(const auto marker, read_marker(p_.disk, options_.etcd.data_dir));
  return marker && marker->disk == options_.disk && marker->cluster == options_.cluster;
}

Result<bool> ManagedEtcd::owns_data() {
  HANSA_TRY(const bool data, process_.has_data());
  if (!data) return false;
  return owns_marker();
}

Result<bool> ManagedEtcd::must_ask() {
  HANSA_TRY(const bool ours, owns_data());
  return ours && !process_.running();
}

io::Task<Result<void>> ManagedEtcd::fence(OwnStart own, std::string prefix) {
  std::vector<std::shared_ptr<meta::etcd::Channel>> others;
  for (const auto& settings : endpoints()) {
    if (settings.endpoint == client_url(options_.etcd)) continue;
    HANSA_CO_TRY(others.emplace_back(), p_.channels(settings));
  }
  HANSA_CO_TRY(const Claim claim, co_await ask_others(std::move(others), std::move(prefix), std::move(own)));
  if (claim == Claim::lives) {
    co_return make_error(ErrorCode::conflict,
                         "another process is alive as node " + options_.node +
                             ": this folder is a copy of one that is in use. A new machine begins with an empty folder "
                             "and `hansa serve --join URL`");
  }
  old_copy_ = claim == Claim::old_copy;
  if (old_copy_) p_.log.warn("etcd is not started: this folder is an old copy, and etcd must not vote by it");
  co_return Result<void>{};
}

Result<void> ManagedEtcd::open() {
  // What this machine's own voter knows is enough to begin with, whoever else is away.
  HANSA_TRY(const bool ours, owns_data());
  const std::string own = client_url(options_.etcd);
  if (ours && std::ranges::find(known_, own) == known_.end()) known_.push_back(own);
  if (const auto pid = process_.running()) {
    if (ours && process_.listens_as_set()) {
      p_.log.info("etcd runs already", {{"pid", *pid}});
      return {};
    }
    if (ours) {
      p_.log.info("etcd listens where this machine's configuration no longer says; it is started anew",
                  {{"pid", *pid}});
    } else {
      // Its folder was taken from under it: what it still answers is nobody's word.
      p_.log.error("etcd runs on data that is not its own any more; it is stopped", {{"pid", *pid}});
    }
    HANSA_CHECK(process_.stop(std::chrono::seconds(5)));
  }
  if (!ours || old_copy_) return {};
  HANSA_TRY(const io::Duration probe, process_.probe_disk());
  if (probe > slow_disk) {
    p_.log.warn(
        "the disk of etcd is slow: a small write took long; give cluster.metadata.managed.dataDir a disk of its own",
        {{"microseconds", std::chrono::duration_cast<std::chrono::microseconds>(probe).count()}});
  }
  return start_again();
}

// On this machine's own data. A copy of a few moments ago is not known as one by the fence; the other voters show it.
Result<void> ManagedEtcd::start_again() {
  if (!process_.forgot_entries()) {
    auto started = process_.start(EtcdStart::again, {});
    if (started || !process_.forgot_entries()) return started;
  }
  p_.log.error(
      "etcd's data are older than what this voter has acknowledged (was the disk set back to a copy?); they are put "
      "aside, and a new seat is asked for");
  return process_.put_data_aside();
}

meta::etcd::ChannelSettings ManagedEtcd::settings_of(const std::string& url) const {
  meta::etcd::ChannelSettings settings;
  settings.endpoint = url;
  settings.tls = meta::etcd::ClientTls{
      .ca = options_.etcd.ca, .certificate = options_.etcd.certificate, .key = options_.etcd.key, .issue = issue_};
  return settings;
}

std::vector<std::string> ManagedEtcd::known() const {
  const std::lock_guard guard(mutex_);
  return known_;
}

std::vector<meta::etcd::ChannelSettings> ManagedEtcd::endpoints() const {
  auto urls = known();
  const std::string own = client_url(options_.etcd);
  const auto at = std::ranges::find(urls, own);
  if (at != urls.end()) std::rotate(urls.begin(), at, at + 1);
  std::vector<meta::etcd::ChannelSettings> out;
  for (const auto& url : urls) out.push_back(settings_of(url));
  return out;
}

void ManagedEtcd::run(io::TaskScope& scope, meta::MetadataStore& store, catalog::Catalog& catalog, Tell tell) {
  catalog_ = &catalog;
  tell_ = std::move(tell);
  task_ = std::make_unique<upkeep::TaskLeader>(store, catalog, "etcd");
  scope.spawn("seat", seat_loop());
  scope.spawn("voters", lead_loop());
  if (options_.snapshot_interval > io::Duration::zero()) scope.spawn("snapshots", snapshot_loop());
}

io::Task<void> ManagedEtcd::seat_loop() {
  while (true) {
    auto minded = co_await mind_seat();
    if (!minded && minded.error().code == ErrorCode::cancelled) co_return;
    if (!minded) p_.log.warn("this machine's voter", {{"error", minded.error().message}});
    auto slept = co_await io::sleep_for(minded ? keeper_interval : restart_pause);
    if (!slept) co_return;
  }
}

io::Task<Result<void>> ManagedEtcd::mind_seat() {
  struct State {
    bool running = false;
    bool ours = false;     // the data
    bool joining = false;  // it runs and has no data yet
    std::optional<EtcdMarker> marker;
  };
  auto inspect = [this]() -> Result<State> {
    State state;
    state.running = process_.running().has_value();
    HANSA_TRY(state.ours, owns_data());
    HANSA_TRY(state.marker, read_marker(p_.disk, options_.etcd.data_dir));
    HANSA_TRY(const bool data, process_.has_data());
    HANSA_TRY(const bool marked, owns_marker());
    state.joining = state.running && marked && !data;
    return state;
  };
  HANSA_CO_TRY(const State state, co_await io::blocking(io::Pool::upkeep, std::move(inspect)));
  std::optional<Seat> seat;
  {
    HANSA_CO_TRY(auto view, catalog_->snapshot());
    HANSA_CO_TRY(seat, read_seat(view, options_.node));
  }
  const bool granted = seat && seat->record.state == "granted" && seat->record.disk == options_.disk;
  const bool same = granted && state.marker && seat->record.member == state.marker->member;
  if (state.joining && same) co_return Result<void>{};
  if (state.ours) {
    // The start of a seat that was granted has happened: say so, and only then it may be promoted.
    if (same && state.running) {
      SeatRecord taken = seat->record;
      taken.state = "taken";
      HANSA_CO_CHECK(co_await put_seat(options_.node, std::move(taken), seat->mod));
    }
    if (state.running) co_return co_await tell_address(*state.marker);
    HANSA_CO_TRY(const bool removed, co_await was_removed(*state.marker));
    if (removed) {
      p_.log.warn("the others removed this machine's voter; it asks for a new seat",
                  {{"member", state.marker->member}});
      auto aside = [this] { return process_.put_data_aside(); };
      HANSA_CO_CHECK(co_await io::blocking(io::Pool::upkeep, std::move(aside)));
      co_return co_await ask(seat);
    }
    p_.log.warn("etcd does not run; it is started again");
    auto start = [this] { return start_again(); };
    co_return co_await io::blocking(io::Pool::upkeep, std::move(start));
  }
  if (state.running) {
    // Its data was taken away under it: it must not vote from memory.
    auto stop = [this] { return process_.stop(std::chrono::seconds(5)); };
    HANSA_CO_CHECK(co_await io::blocking(io::Pool::upkeep, std::move(stop)));
  }
  if (granted) co_return co_await sit(*std::move(seat));
  co_return co_await ask(seat);
}

// A list that lags may lack a member that was just added: that one asks anew, which costs time and no data.
io::Task<Result<bool>> ManagedEtcd::was_removed(EtcdMarker marker) {
  const auto reply = co_await members();
  if (!reply && reply.error().code == ErrorCode::cancelled) co_return reply.error();
  if (!reply) co_return false;  // nobody who could say so
  const auto own = [&](const meta::etcd::Member& member) {
    return member.name == options_.node || member_text(member.id) == marker.member;
  };
  co_return std::ranges::none_of(reply->members, own);
}

// Once per start: the others may know this voter by an address of before. etcd tells them the clients' one by itself.
io::Task<Result<void>> ManagedEtcd::tell_address(EtcdMarker marker) {
  if (address_told_) co_return Result<void>{};
  HANSA_CO_TRY(const auto reply, co_await members());
  const std::string url = peer_url(options_.etcd);
  for (const auto& member : reply.members) {
    if (member.name != options_.node && member_text(member.id) != marker.member) continue;
    if (std::ranges::find(member.peer_urls, url) == member.peer_urls.end()) {
      p_.log.info("this machine's voter has another address than before", {{"url", url}});
      const auto channel = answering_;
      if (!channel) co_return make_error(ErrorCode::unavailable, "no voter answers");
      HANSA_CO_CHECK(co_await channel->member_update(member.id, url, change_deadline));
    }
    address_told_ = true;
  }
  co_return Result<void>{};
}

io::Task<Result<void>> ManagedEtcd::ask(const std::optional<Seat>& seat) {
  const std::optional<Seat> before = seat;
  if (before && before->record.state == "asked" && before->record.disk == options_.disk &&
      before->record.peer_url == peer_url(options_.etcd)) {
    co_return Result<void>{};
  }
  SeatRecord record;
  record.state = "asked";
  record.disk = options_.disk;
  record.peer_url = peer_url(options_.etcd);
  record.client_url = client_url(options_.etcd);
  co_return co_await put_seat(options_.node, std::move(record), before ? before->mod : 0);
}

// The members as they are now, with the seat's own: etcd does not start with others than the voters know. Empty: the
// seat's member is none of them any more.
io::Task<Result<std::string>> ManagedEtcd::initial_cluster(Seat seat) {
  const auto reply = co_await members();
  if (!reply) co_return reply.error();
  std::string initial;
  bool there = false;
  for (const auto& member : reply->members) {
    const bool own = member_text(member.id) == seat.record.member;
    there = there || own;
    const std::string& name = own ? options_.node : member.name;
    if (name.empty() || member.peer_urls.empty()) continue;
    initial += (initial.empty() ? "" : ",") + name + "=" + member.peer_urls.front();
  }
  if (!there) initial.clear();
  co_return initial;
}

io::Task<Result<void>> ManagedEtcd::sit(Seat seat) {
  HANSA_CO_TRY(seat.record.initial, co_await initial_cluster(seat));
  if (seat.record.initial.empty()) {
    p_.log.warn("the others removed this machine's voter before it had started; it asks for a new seat",
                {{"member", seat.record.member}});
    co_return co_await ask(seat);
  }
  auto start = [this, &seat]() -> Result<void> {
    HANSA_CHECK(p_.disk.make_directories(options_.etcd.data_dir));
    HANSA_CHECK(process_.put_data_aside());
    HANSA_CHECK(write_marker(p_.disk, options_.etcd.data_dir,
                             {.member = seat.record.member, .disk = options_.disk, .cluster = options_.cluster}));
    return process_.start(EtcdStart::joining, seat.record.initial);
  };
  p_.log.info("this machine becomes a voter", {{"member", seat.record.member}});
  co_return co_await io::blocking(io::Pool::upkeep, std::move(start));
}

io::Task<Result<void>> ManagedEtcd::put_seat(std::string node, SeatRecord record, catalog::Revision mod) {
  catalog::Planner plan = [node, record, mod](const catalog::Planning& planning) {
    return plan_seat(planning, node, record, mod);
  };
  HANSA_CO_CHECK(co_await catalog_->submit(std::move(plan)));
  co_return Result<void>{};
}

}  // namespace hansa::voters
