// Barriers, shared and paced, and the probe that watches whether etcd answers.
#include <algorithm>

#include "meta/etcd/store_impl.h"

namespace hansa::meta::etcd {
namespace {

constexpr io::Duration gap_per_member = std::chrono::microseconds(200);  // between barriers (T3)
constexpr io::Duration gap_per_member_by_put = std::chrono::milliseconds(2);
constexpr io::Duration healthy_probe_interval = std::chrono::seconds(5);
constexpr io::Duration probe_attempt = std::chrono::milliseconds(500);
constexpr std::size_t operation_id_bytes = 12;
constexpr int waits_for_view = 3;  // parts of a barrier's deadline

Error out_of_reach(const Error& cause) {
  return make_error(ErrorCode::unavailable,
                    "the metadata store cannot be reached now; try again later (" + cause.message + ")");
}

Error view_waits() {
  return make_error(ErrorCode::unavailable, "this node's view of the metadata is not up to date; try again soon");
}

// etcd found that its members' data differs, and refuses all else from then on.
bool says_corrupt(const StatusReply& status) {
  return std::ranges::any_of(status.errors, [](const auto& text) { return text.find("CORRUPT") != std::string::npos; });
}

constexpr std::string_view corrupt_store =
    "etcd says that its members' data differs (alarm CORRUPT) and refuses reads and writes; replace the member that is "
    "wrong, or restore: see docs/operations/cluster.md";

bool is_refusal(const Error& error) {
  return error.code == ErrorCode::unsupported || error.code == ErrorCode::unauthenticated ||
         error.code == ErrorCode::denied;
}

}  // namespace

io::Task<Result<Revision>> EtcdStore::barrier() {
  struct Counted {
    std::atomic<std::size_t>& count;
    const std::size_t before = count.fetch_add(1);
    ~Counted() { --count; }
  };
  const Counted counted{waiting_};
  if (counted.before >= options_.max_waiting) {
    co_return make_error(ErrorCode::too_many, "too many requests wait for the metadata; try again");
  }
  HANSA_CO_CHECK(co_await admit());
  auto wait = io::wait_for<Result<Revision>>([this](Waiter done) -> io::Work {
    std::optional<io::Completion<bool>> idle;
    {
      const std::lock_guard guard(waiters_mutex_);
      waiters_.push_back(done);
      idle.swap(idle_);
    }
    if (idle) idle->complete(true);
    return [done] { done.complete(make_error(ErrorCode::cancelled, "the wait for the metadata was cancelled")); };
  });
  // A task of its own, so that the deadline can cancel it.
  auto waiting = [](auto waited) -> io::Task<Result<Revision>> { co_return co_await waited; };
  auto passed = co_await io::with_deadline(options_.barrier_deadline, waiting(std::move(wait)));
  if (passed || passed.error().code != ErrorCode::timeout) co_return passed;
  const auto state = gauge_.state();
  co_return make_error(ErrorCode::unavailable, state.loading
                                                   ? "this node's view of the metadata is being loaded; try again soon"
                                                   : "this node's view of the metadata lags behind; try again soon");
}

io::Task<bool> EtcdStore::wait_for_waiters() {
  auto wait = io::wait_for<bool>([this](io::Completion<bool> done) -> io::Work {
    {
      const std::lock_guard guard(waiters_mutex_);
      if (waiters_.empty()) {
        idle_ = done;
        return [done] { done.complete(false); };
      }
    }
    done.complete(true);
    return nullptr;
  });
  co_return co_await wait;
}

io::Task<void> EtcdStore::barrier_loop() {
  io::TaskContext& context = co_await io::current_context();
  while (!context.cancelled()) {
    if (!co_await wait_for_waiters()) continue;  // cancelled
    const io::MonotonicTime began = clock_.monotonic();
    std::vector<Waiter> waiters;
    {
      const std::lock_guard guard(waiters_mutex_);
      waiters.swap(waiters_);
    }
    co_await barrier_round(std::move(waiters));
    const io::Duration per_member = by_put_ ? gap_per_member_by_put : gap_per_member;
    const io::Duration gap = per_member * static_cast<std::int64_t>(options_.members());
    const io::Duration left = gap - (clock_.monotonic() - began);
    if (left <= io::Duration::zero()) continue;
    auto slept = co_await io::sleep_for(left);
    if (!slept) break;
  }
  std::vector<Waiter> left;
  {
    const std::lock_guard guard(waiters_mutex_);
    left.swap(waiters_);
  }
  for (const auto& waiter : left) waiter.complete(make_error(ErrorCode::unavailable, "this node is stopping"));
}

// One read of head for all that wait; who then waits for the view does so beside the next round.
io::Task<void> EtcdStore::barrier_round(std::vector<Waiter> waiters) {
  // Only a view that was confirmed before the read shows by it whether the store went back.
  if (gauge_.state().loading) {
    auto loaded = co_await io::with_deadline(options_.barrier_deadline, gauge_.wait_revision(0));
    if (!loaded) {
      for (const auto& waiter : waiters) waiter.complete(view_waits());
      co_return;
    }
  }
  const io::BootTime began = clock_.boot();
  const auto before = gauge_.state();
  auto head = co_await read_head();
  note([&waiters](StoreHealth& health) {
    health.barriers += waiters.size();
    ++health.barrier_reads;
  });
  if (!head) {
    set_reachable(false);
    const Error error = out_of_reach(head.error());
    for (const auto& waiter : waiters) waiter.complete(error);
    co_return;
  }
  set_reachable(true);
  look_back(before, *head);
  const auto state = gauge_.state();
  if (!state.loading && state.head.version >= head->version) {
    note([began](StoreHealth& health) {
      health.passed_once = true;
      health.last_barrier = began;
    });
    for (const auto& waiter : waiters) waiter.complete(state.revision);
    co_return;
  }
  scope_.spawn("barrier", pass(*std::move(head), std::move(waiters), began));
}

io::Task<void> EtcdStore::pass(HeadRead head, std::vector<Waiter> waiters, io::BootTime began) {
  Result<Revision> reached = view_waits();
  for (int i = 0; i < waits_for_view; ++i) {
    const Revision stood = gauge_.state().revision;
    reached = co_await io::with_deadline(options_.barrier_deadline / waits_for_view, gauge_.wait_version(head.version));
    if (reached || reached.error().code != ErrorCode::timeout) break;
    reached = view_waits();
    // The newest event may be lost, or the stream dead: what the view lacks is asked for again.
    if (gauge_.state().revision == stood && !gauge_.state().loading) interrupt();
  }
  if (reached) {
    note([began](StoreHealth& health) {
      health.passed_once = true;
      health.last_barrier = std::max(health.last_barrier, began);
    });
  }
  for (const auto& waiter : waiters) waiter.complete(reached);
}

// ---- head -------------------------------------------------------------------------------------------------------

io::Task<Result<EtcdStore::HeadRead>> EtcdStore::read_head() {
  if (by_put_) co_return co_await put_head();
  const std::string name = key(head_key);
  const auto call = [&name](Channel& channel, io::Duration deadline) {
    return channel.range({.key = name, .end = {}}, deadline);
  };
  HANSA_CO_TRY(const RangeReply reply, co_await endpoints_.read<RangeReply>(call));
  HeadRead out{.version = 0, .operation = {}, .revision = reply.header.revision};
  if (!reply.values.empty()) {
    out.version = reply.values.front().version;
    out.operation = head_operation(reply.values.front().value);
  }
  co_return out;
}

// A write is linearizable on every etcd: it counts no other change.
io::Task<Result<EtcdStore::HeadRead>> EtcdStore::put_head() {
  TxnRequest request;
  const std::string operation = random_.hex(operation_id_bytes);
  request.success.push_back(
      {.kind = TxnOperation::Kind::put, .key = key(head_key), .value = head_value(operation, 0), .lease = 0});
  request.success.push_back({.kind = TxnOperation::Kind::range, .key = key(head_key), .value = {}, .lease = 0});
  const auto call = [&request](Channel& channel, io::Duration deadline) { return channel.txn(request, deadline); };
  auto reply = co_await endpoints_.read<TxnReply>(call);
  if (!reply && reply.error().code == ErrorCode::out_of_space) {
    note([](StoreHealth& health) { health.out_of_space = true; });
  }
  if (!reply) co_return std::move(reply).error();
  if (reply->ranges.empty() || reply->ranges.front().values.empty()) {
    co_return make_error(ErrorCode::internal, "etcd did not show the key that was just put");
  }
  const KeyValue& head = reply->ranges.front().values.front();
  co_return HeadRead{.version = head.version, .operation = operation, .revision = reply->header.revision};
}

// A store that shows less than the view had when it was asked: it was restored behind our back (H2). What the view has
// got since then says nothing: the feed may bring the next commit sooner than the answer comes.
void EtcdStore::look_back(const ViewGauge::State& before, const HeadRead& head) {
  if (before.loading || gauge_.state().loading) return;
  note([&head](StoreHealth& health) { health.target = std::max(health.target, head.revision); });
  if (!went_back(before.head, before.revision, head.version, head.operation, head.revision)) return;
  give_up_view();
}

void EtcdStore::give_up_view() {
  auto stopped = gauge_.state();
  stopped.loading = true;  // nothing is answered from it any more
  gauge_.set(stopped);
  raise("rewound", "the metadata store went back in time (restored?); this node's view is discarded and loaded anew");
  must_discard_ = true;
  must_load_ = true;
  interrupt();
}

// ---- reachability -----------------------------------------------------------------------------------------------

void EtcdStore::set_reachable(bool reachable) {
  std::vector<io::Completion<Result<bool>>> waiting;
  bool changed = false;
  {
    const std::lock_guard guard(health_mutex_);
    changed = health_.reachable != reachable;
    health_.reachable = reachable;
    if (reachable) waiting.swap(wait_reachable_);
    if (reachable) refusal_.reset();
    if (!reachable && probe_rests_) waiting.push_back(*std::exchange(probe_rests_, std::nullopt));
  }
  for (const auto& one : waiting) one.complete(true);
  if (changed && reachable) log_.info("the metadata store answers");
  if (changed && !reachable) log_.warn("the metadata store does not answer");
}

io::Task<Result<void>> EtcdStore::admit() {
  if (closed_) co_return make_error(ErrorCode::unavailable, "this node is stopping");
  {
    const std::lock_guard guard(health_mutex_);
    if (refusal_) co_return *refusal_;
    if (health_.reachable) co_return Result<void>{};
  }
  auto wait = io::wait_for<Result<bool>>([this](io::Completion<Result<bool>> done) -> io::Work {
    const std::lock_guard guard(health_mutex_);
    if (health_.reachable) {
      done.complete(true);
      return nullptr;
    }
    std::erase_if(wait_reachable_, [](const auto& one) { return one.is_done(); });
    wait_reachable_.push_back(done);
    return [done] { done.complete(make_error(ErrorCode::cancelled, "the wait for the metadata was cancelled")); };
  });
  auto waiting = [](auto waited) -> io::Task<Result<bool>> { co_return co_await waited; };
  auto reached = co_await io::with_deadline(options_.fast_fail, waiting(std::move(wait)));
  if (reached) co_return Result<void>{};
  if (reached.error().code == ErrorCode::cancelled) co_return std::move(reached).error();
  co_return make_error(ErrorCode::unavailable, "the metadata store cannot be reached now; try again later");
}

io::Task<void> EtcdStore::probe_loop() {
  while (true) {
    auto probed = co_await probe();
    if (!probed && probed.error().code == ErrorCode::cancelled) co_return;
    set_reachable(probed.has_value());
    if (!probed && is_refusal(probed.error())) {
      const std::lock_guard guard(health_mutex_);
      refusal_ = probed.error();
    }
    if (!probed) log_.debug("the metadata store does not answer", {{"error", probed.error().message}});
    auto rested = co_await rest(probed.has_value());
    if (!rested) co_return;
  }
}

// Long while all is well; a barrier or commit that fails ends that.
io::Task<Result<void>> EtcdStore::rest(bool well) {
  if (well) {
    auto wait = io::wait_for<Result<bool>>([this](io::Completion<Result<bool>> done) -> io::Work {
      const std::lock_guard guard(health_mutex_);
      if (!health_.reachable) done.complete(true);
      probe_rests_ = done;
      return [done] { done.complete(make_error(ErrorCode::cancelled, "the probe's rest was cancelled")); };
    });
    auto waiting = [](auto waited) -> io::Task<Result<bool>> { co_return co_await waited; };
    auto woken = co_await io::with_deadline(healthy_probe_interval, waiting(std::move(wait)));
    if (!woken && woken.error().code == ErrorCode::timeout) co_return Result<void>{};
    if (!woken) co_return std::move(woken).error();
  }
  co_return co_await io::sleep_for(options_.probe_interval);
}

// Every endpoint in turn until one answers a linearizable read.
io::Task<Result<void>> EtcdStore::probe() {
  Error last = make_error(ErrorCode::unavailable, "no endpoint of etcd is known");
  for (std::size_t i = 0; i < endpoints_.size(); ++i) {
    const auto channel = endpoints_.current();
    auto status = co_await channel->status(probe_attempt);
    if (status) {
      note([this, &status](StoreHealth& health) {
        health.version = status->version;
        health.db_size = status->db_size;
        const auto limit = static_cast<double>(options_.quota_bytes) * options_.quota_limit;
        health.out_of_space = static_cast<double>(status->db_size) >= limit;
      });
      const ServerVersion version = parse_version(status->version);
      if (version < oldest_version) {
        co_return make_error(ErrorCode::unsupported,
                             "etcd " + status->version + " is too old; Hansa needs 3.4 or newer");
      }
      by_put_ = !reads_are_linearizable(version);
      if (by_put_ && !std::exchange(told_version_, true)) {
        log_.warn("linearizable reads of this etcd can be stale, so each barrier costs it a write; use 3.4.42, 3.5.28, "
                  "3.6.9 or newer",
                  {{"version", status->version}});
      }
      if (says_corrupt(*status)) raise("corrupt", corrupt_store);
      note([this](StoreHealth& health) { health.barrier_by_put = by_put_; });
      auto read = co_await channel->range({.key = key(head_key), .end = {}}, probe_attempt);
      if (read) co_return Result<void>{};
      last = std::move(read).error();
    } else {
      last = std::move(status).error();
    }
    if (!Endpoints::another_may_help(last)) co_return last;
    endpoints_.move_on(channel);
  }
  co_return last;
}

}  // namespace hansa::meta::etcd
