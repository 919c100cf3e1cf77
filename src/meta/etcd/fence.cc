// Barriers, shared and paced.
#include <algorithm>

#include "meta/etcd/store_impl.h"

namespace hansa::meta::etcd {
namespace {

constexpr io::Duration gap_per_member = std::chrono::microseconds(200);  // between barriers (T3)
constexpr io::Duration gap_per_member_by_put = std::chrono::milliseconds(2);
constexpr std::size_t operation_id_bytes = 12;
constexpr int waits_for_view = 3;  // parts of a barrier's deadline

Error out_of_reach(const Error& cause) {
  return make_error(ErrorCode::unavailable,
                    "the metadata store cannot be reached now; try again later (" + cause.message + ")");
}

Error view_waits() {
  return make_error(ErrorCode::unavailable, "this node's view of the metadata is not up to date; try again soon");
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

}  // namespace hansa::meta::etcd
