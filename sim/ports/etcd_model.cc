// Calls, transactions and leases; the streams of watches are in etcd_streams.cc.
#include "sim/ports/etcd_model.h"

#include <algorithm>

#include "meta/etcd/rules.h"

namespace hansa::sim {

using meta::LeaseId;
using meta::Revision;
using meta::etcd::RangeReply;
using meta::etcd::RangeRequest;
using meta::etcd::TxnOperation;
using meta::etcd::TxnReply;
using meta::etcd::TxnRequest;

namespace {

constexpr std::uint64_t expiry_check_ms = 500;  // etcd looks for leases that are over this often
constexpr std::uint64_t thousand = 1000;

Error no_answer(const std::string& endpoint) {
  return make_error(ErrorCode::ambiguous, endpoint + " did not answer");
}

// Keys of a transaction are written once.
bool writes_twice(const std::vector<TxnOperation>& operations) {
  std::set<std::string_view> keys;
  const auto again = [&keys](const TxnOperation& one) {
    return one.kind != TxnOperation::Kind::range && !keys.insert(one.key).second;
  };
  return std::ranges::any_of(operations, again);
}

}  // namespace

class EtcdModel::ModelChannel final : public meta::etcd::Channel {
 public:
  ModelChannel(EtcdModel& etcd, Way way) : etcd_(etcd), way_(std::move(way)) {}

  io::Task<Result<RangeReply>> range(RangeRequest request, io::Duration deadline) override {
    return etcd_.ask<RangeReply>(way_, deadline,
                                 [etcd = &etcd_, request = std::move(request), endpoint = way_.endpoint] {
                                   return etcd->range(request, endpoint);
                                 });
  }
  io::Task<Result<TxnReply>> txn(TxnRequest request, io::Duration deadline) override {
    const TxnFate fate = etcd_.draw_fate();
    return etcd_.ask<TxnReply>(
        way_, deadline, [etcd = &etcd_, request = std::move(request)] { return etcd->carry_out(request); }, fate);
  }
  io::Task<Result<std::unique_ptr<meta::etcd::Watch>>> watch(std::string key, std::string end, Revision from) override {
    HANSA_CO_CHECK(co_await etcd_.ask<bool>(way_, open_deadline, [] { return Result<bool>(true); }));
    co_return etcd_.open_stream(way_, std::move(key), std::move(end), from);
  }
  io::Task<Result<LeaseId>> lease_grant(io::Duration ttl, io::Duration deadline) override {
    return etcd_.ask<LeaseId>(way_, deadline, [etcd = &etcd_, ttl] { return etcd->grant(ttl); });
  }
  io::Task<Result<io::Duration>> lease_keep_alive(LeaseId lease, io::Duration deadline) override {
    return etcd_.ask<io::Duration>(way_, deadline, [etcd = &etcd_, lease] { return etcd->keep_alive(lease); });
  }
  io::Task<Result<void>> lease_revoke(LeaseId lease, io::Duration deadline) override {
    const auto revoke = [etcd = &etcd_, lease] {
      etcd->end_lease(lease);
      return Result<bool>(true);
    };
    HANSA_CO_CHECK(co_await etcd_.ask<bool>(way_, deadline, revoke));
    co_return Result<void>{};
  }
  io::Task<Result<meta::etcd::StatusReply>> status(io::Duration deadline) override {
    const auto look = [etcd = &etcd_, endpoint = way_.endpoint] {
      meta::etcd::StatusReply reply;
      reply.header = etcd->header();
      reply.version = etcd->version_at(endpoint);
      reply.leader = 1;
      reply.db_size = etcd->db_size;
      return Result<meta::etcd::StatusReply>(std::move(reply));
    };
    return etcd_.ask<meta::etcd::StatusReply>(way_, deadline, look);
  }

 private:
  static constexpr io::Duration open_deadline = std::chrono::seconds(2);
  EtcdModel& etcd_;
  const Way way_;
};

EtcdWarts draw_warts(SimRandom& random) {
  const auto chance = [&random](unsigned most) {
    return static_cast<unsigned>(random.one_in(3) ? random.below(most) : 0);
  };
  EtcdWarts warts;
  warts.refused = chance(50);
  warts.slow = chance(20);
  warts.unknown_applied = chance(120);
  warts.unknown_late = chance(120);
  warts.unknown_lost = chance(120);
  warts.stale = chance(300);
  warts.lost_event = chance(40);
  warts.lost_revision = chance(40);
  warts.lost_end = chance(200);
  warts.repeated = chance(200);
  warts.early_progress = chance(200);
  warts.fragments = chance(300);
  warts.broken = chance(40);
  warts.lease_early = chance(100);
  warts.lease_late = chance(100);
  return warts;
}

EtcdModel::EtcdModel(World& world, std::string_view name)
    : world_(world), executor_(world, name), random_(world.random(std::string("model of ").append(name))) {}

EtcdModel::~EtcdModel() = default;

meta::etcd::ChannelFactory EtcdModel::channels(std::string client) {
  return [this, client = std::move(client)](
             const meta::etcd::ChannelSettings& settings) -> Result<std::shared_ptr<meta::etcd::Channel>> {
    return std::make_shared<ModelChannel>(*this, Way{.client = client, .endpoint = settings.endpoint});
  };
}

// ---- the way there and back -------------------------------------------------------------------------------------

io::Duration EtcdModel::draw_delay() {
  const io::Duration most = draw(warts_.slow) ? std::max(warts_.most_slow, warts_.least_delay) : warts_.most_delay;
  const auto least = static_cast<std::uint64_t>(warts_.least_delay.count());
  return io::Duration(random_.between(least, static_cast<std::uint64_t>(most.count())));
}

TxnFate EtcdModel::draw_fate() {
  if (next_txn_ != TxnFate::normal) return std::exchange(next_txn_, TxnFate::normal);
  if (draw(warts_.unknown_applied)) return TxnFate::unknown_applied;
  if (draw(warts_.unknown_late)) return TxnFate::unknown_late;
  return draw(warts_.unknown_lost) ? TxnFate::unknown_lost : TxnFate::normal;
}

void EtcdModel::travel(const Way& way, std::function<void()> refuse, std::function<void()> arrive) {
  if (is_away(way) || draw(warts_.refused)) {
    executor_.start_timer(draw_delay(), std::move(refuse));
    return;
  }
  if (is_cut(way)) {
    // A connection that stood swallows the call; a new one is not to be had.
    if (random_.one_in(2)) executor_.start_timer(draw_delay(), std::move(refuse));
    return;
  }
  executor_.start_timer(draw_delay(), [this, way, arrive = std::move(arrive)]() mutable {
    if (is_cut(way)) return;
    if (paused_.contains(way.endpoint)) {
      held_.emplace_back(way.endpoint, std::move(arrive));
    } else {
      arrive();
    }
  });
}

template <class T>
io::Task<Result<T>> EtcdModel::ask(Way way, io::Duration deadline, std::function<Result<T>()> serve, TxnFate fate) {
  using Done = io::Completion<Result<T>>;
  io::TimerId timer = 0;
  auto wait = io::wait_for<Result<T>>([&](Done done) -> io::Work {
    timer = executor_.start_timer(deadline, [done, way] { done.complete(no_answer(way.endpoint)); });
    const auto refuse = [done, way] {
      done.complete(make_error(ErrorCode::unavailable, way.endpoint + " refuses connections"));
    };
    travel(way, refuse, [this, done, way, serve, fate] { arrived<T>(way, done, serve, fate); });
    return [done] { done.complete(make_error(ErrorCode::cancelled, "the call was cancelled")); };
  });
  auto reply = co_await wait;
  executor_.cancel_timer(timer);
  co_return reply;
}

template <class T>
void EtcdModel::arrived(const Way& way, const io::Completion<Result<T>>& done, const std::function<Result<T>()>& serve,
                        TxnFate fate) {
  if (is_away(way) || fate == TxnFate::unknown_lost) {
    done.complete(no_answer(way.endpoint));
    return;
  }
  if (fate == TxnFate::unknown_late) {
    const auto most = static_cast<std::uint64_t>(warts_.most_late.count());
    executor_.start_timer(io::Duration(random_.between(1, most)), [this, serve, at = generation_] {
      if (at == generation_) static_cast<void>(serve());  // nobody hears the answer
    });
    done.complete(no_answer(way.endpoint));
    return;
  }
  auto reply = serve();
  if (fate == TxnFate::unknown_applied) {
    done.complete(no_answer(way.endpoint));
    return;
  }
  executor_.start_timer(draw_delay(), [this, way, done, reply = std::move(reply)] {
    if (is_cut(way)) return;
    done.complete(is_away(way) ? Result<T>(no_answer(way.endpoint)) : reply);
  });
}

void EtcdModel::set_available(bool available) {
  if (std::exchange(available_, available) == available) return;
  if (!available) {
    check_ways();
    return;
  }
  // A new leader gives every lease its whole time again.
  std::vector<LeaseId> again;
  for (const auto& [id, lease] : leases_) again.push_back(id);
  for (const auto id : again) arm(id);
}

void EtcdModel::set_away(std::set<std::string> endpoints) {
  away_ = std::move(endpoints);
  check_ways();
}

void EtcdModel::resume(const std::string& endpoint) {
  if (paused_.erase(endpoint) == 0) return;
  const auto mine = [&endpoint](const auto& held) { return held.first == endpoint; };
  std::vector<std::function<void()>> arrived_now;
  for (auto& held : held_) {
    if (mine(held)) arrived_now.push_back(std::move(held.second));
  }
  std::erase_if(held_, mine);
  for (auto& arrive : arrived_now) executor_.start_timer(draw_delay(), std::move(arrive));
  wake_streams();
}

void EtcdModel::cut(const std::string& client, const std::string& endpoint) {
  cuts_.emplace(client, endpoint);
  check_ways();
}

void EtcdModel::heal() {
  set_available(true);
  away_.clear();
  cuts_.clear();
  while (!paused_.empty()) resume(std::string(*paused_.begin()));
  wake_streams();
}

// ---- what it holds ----------------------------------------------------------------------------------------------

void EtcdModel::restore(EtcdState state) {
  state_ = std::move(state);
  ++generation_;
  break_watches();
}

void EtcdModel::lose_last(std::uint64_t revisions) {
  state_.rewind(state_.revision - std::min(revisions, state_.revision - 1));
  ++generation_;
  break_watches();
}

void EtcdModel::put_foreign(const std::string& key, const std::string& value) {
  state_.put(key, value, state_.revision + 1);
  ++state_.revision;
  wake_streams();
}

meta::etcd::Header EtcdModel::header() const {
  return {.cluster = 7, .member = 1, .revision = state_.revision, .raft_term = 1};
}

const std::string& EtcdModel::version_at(const std::string& endpoint) const {
  const auto known = versions.find(endpoint);
  return known == versions.end() ? version : known->second;
}

Result<RangeReply> EtcdModel::range(const RangeRequest& request, const std::string& endpoint) {
  const bool may_be_stale =
      request.serializable || !meta::etcd::reads_are_linearizable(meta::etcd::parse_version(version_at(endpoint)));
  if (request.key.ends_with(meta::head_key) && request.end.empty()) ++head_reads_;
  meta::etcd::Header shown = header();
  if (may_be_stale && draw(warts_.stale)) {
    shown.revision -=
        std::min(random_.between(1, warts_.most_stale), shown.revision - std::max<Revision>(state_.compacted, 1));
  }
  if (request.revision != 0 && (request.revision > shown.revision || request.revision < state_.compacted)) {
    return make_error(ErrorCode::range, "that revision is compacted, or yet to come");
  }
  auto reply = state_.range(request, request.revision == 0 ? shown.revision : request.revision);
  reply.header = shown;
  return reply;
}

Result<TxnReply> EtcdModel::carry_out(const TxnRequest& request) {
  TxnReply reply;
  if (writes_twice(request.success) || writes_twice(request.failure)) {
    return make_error(ErrorCode::invalid, "duplicate key given in txn request");
  }
  reply.succeeded = std::ranges::all_of(request.compares, [this](const auto& one) { return state_.holds(one); });
  const auto& operations = reply.succeeded ? request.success : request.failure;
  for (const auto& one : operations) {
    if (one.kind != TxnOperation::Kind::put) continue;
    if (no_space) return make_error(ErrorCode::out_of_space, "mvcc: database space exceeded");
    if (one.lease != 0 && !leases_.contains(one.lease)) return make_error(ErrorCode::not_found, "no such lease");
  }
  const Revision at = state_.revision + 1;
  bool wrote = false;
  for (const auto& one : operations) {
    if (one.kind == TxnOperation::Kind::put) {
      state_.put(one.key, one.value, at);
      for (auto& [id, lease] : leases_) lease.keys.erase(one.key);
      if (one.lease != 0) leases_[one.lease].keys.insert(one.key);
      wrote = true;
    } else if (one.kind == TxnOperation::Kind::remove) {
      wrote = state_.remove(one.key, at) || wrote;
    } else {
      auto& range = reply.ranges.emplace_back();
      if (const auto known = state_.keys.find(one.key); known != state_.keys.end()) range.values = {known->second};
      range.count = range.values.size();
    }
  }
  if (wrote) state_.revision = at;
  reply.header = header();
  if (wrote) wake_streams();
  return reply;
}

// ---- leases -----------------------------------------------------------------------------------------------------

Result<LeaseId> EtcdModel::grant(io::Duration ttl) {
  if (no_space) return make_error(ErrorCode::out_of_space, "mvcc: database space exceeded");
  leases_[++last_lease_].ttl = ttl;
  arm(last_lease_);
  return last_lease_;
}

Result<io::Duration> EtcdModel::keep_alive(LeaseId lease) {
  const auto known = leases_.find(lease);
  if (known == leases_.end()) return make_error(ErrorCode::not_found, "no such lease");
  arm(lease);
  return known->second.ttl;
}

void EtcdModel::arm(LeaseId id) {
  Granted& lease = leases_.at(id);
  executor_.cancel_timer(lease.timer);
  io::Duration life = lease.ttl + std::chrono::milliseconds(random_.below(expiry_check_ms));
  if (draw(warts_.lease_early)) {
    life = lease.ttl * random_.between(thousand / 5, thousand) / thousand;
  } else if (draw(warts_.lease_late)) {
    life = lease.ttl * random_.between(thousand, 3 * thousand) / thousand;
  }
  lease.timer = executor_.start_timer(life, [this, id] {
    if (available_) end_lease(id);
  });
}

void EtcdModel::end_lease(LeaseId id) {
  const auto known = leases_.find(id);
  if (known == leases_.end()) return;
  executor_.cancel_timer(known->second.timer);
  const auto keys = std::move(known->second.keys);
  leases_.erase(known);
  bool wrote = false;
  for (const auto& key : keys) wrote = state_.remove(key, state_.revision + 1) || wrote;
  if (!wrote) return;
  ++state_.revision;
  wake_streams();
}

}  // namespace hansa::sim
