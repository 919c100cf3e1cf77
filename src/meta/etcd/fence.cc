// Barriers, shared and paced.
#include <algorithm>

#include "meta/etcd/store_impl.h"

namespace hansa::meta::etcd {
namespace {

constexpr io::Duration gap_per_member = std::chrono::microseconds(200);  // between barriers (T3)
constexpr io::Duration gap_per_member_by_log = std::chrono::milliseconds(2);
// A busy node waits a little for those who come back at once, so that a read is shared by twice as many.
constexpr io::Duration return_per_waiter = std::chrono::microseconds(27);
constexpr io::Duration longest_return = std::chrono::microseconds(2500);
constexpr int looks_per_deadline = 12;             // for waiters whose deadline has passed
constexpr std::string_view absent_key = "absent";  // nobody puts it
constexpr int waits_for_view = 3;                  // parts of a barrier's deadline

Error out_of_reach(const Error& cause) {
  return make_error(ErrorCode::unavailable,
                    "the metadata store cannot be reached now; try again later (" + cause.message + ")");
}

Error view_waits() {
  return make_error(ErrorCode::unavailable, "this node's view of the metadata is not up to date; try again soon");
}

Error view_lags() {
  return make_error(ErrorCode::unavailable, "this node's view of the metadata lags behind; try again soon");
}

}  // namespace

io::Task<Result<Fence>> EtcdStore::barrier() {
  auto known = admitted();
  if (waiting_.size() + admitting_ >= options_.max_waiting) {
    co_return make_error(ErrorCode::too_many, "too many requests wait for the metadata; try again");
  }
  if (!known) {
    ++admitting_;
    known = co_await admit();
    --admitting_;
  }
  HANSA_CO_CHECK(*std::move(known));
  co_return co_await waiting_.wait(clock_.monotonic() + options_.barrier_deadline);
}

io::Task<Result<void>> EtcdStore::wait_for_waiters(BarrierQueue::Ticket after) {
  auto wait = io::wait_for<bool>([this, after](io::Completion<bool> done) -> io::Work {
    waiting_.when_after(after, [done] { done.complete(true); });
    return [this, done] {
      waiting_.forget_wake();
      done.complete(false);
    };
  });
  const bool came = co_await wait;
  if (!came) co_return make_error(ErrorCode::cancelled, "the wait for waiters was cancelled");
  co_return Result<void>();
}

io::Task<void> EtcdStore::barrier_loop() {
  io::TaskContext& context = co_await io::current_context();
  BarrierQueue::Ticket served = 0;
  while (!context.cancelled()) {
    auto came = co_await wait_for_waiters(served);
    if (!came) continue;
    const io::MonotonicTime began = clock_.monotonic();
    const Round round{.first = served + 1, .last = waiting_.newest()};
    served = round.last;
    if (!std::exchange(expiring_, true)) scope_.spawn("expire barriers", expire_loop());
    const BarrierQueue::Ticket newest = co_await barrier_round(round);
    co_await wait_for_return(newest, round.last - round.first + 1);
    const io::Duration left = gap_between_rounds() - (clock_.monotonic() - began);
    if (left <= io::Duration::zero()) continue;
    auto slept = co_await io::sleep_for(left);
    if (!slept) break;
  }
  waiting_.end(make_error(ErrorCode::unavailable, "this node is stopping"));
}

io::Duration EtcdStore::gap_between_rounds() const {
  return (by_log_ ? gap_per_member_by_log : gap_per_member) * static_cast<std::int64_t>(options_.members());
}

// Until as many came as were answered, counted from the answer on: where a read takes longer than they take to come
// back, those who came meanwhile would else be served by one read, and those who come back now by the next, for ever.
io::Task<void> EtcdStore::wait_for_return(BarrierQueue::Ticket newest, std::size_t answered) {
  if (answered < 2) co_return;
  const io::Duration limit = std::min(return_per_waiter * static_cast<std::int64_t>(answered), longest_return);
  auto waited = co_await io::with_deadline(limit, wait_for_waiters(newest + answered - 1));
  static_cast<void>(waited.has_value());  // whoever came is served
}

// Runs while anybody waits. Who would pass the deadline before the next look is answered at this one.
io::Task<void> EtcdStore::expire_loop() {
  const io::Duration step = options_.barrier_deadline / looks_per_deadline;
  while (waiting_.size() > 0) {
    auto slept = co_await io::sleep_for(step);
    if (!slept) break;
    waiting_.expire(clock_.monotonic() + step, gauge_.state().loading ? view_loading() : view_lags());
  }
  expiring_ = false;
}

// One read of head for all that wait; who then waits for the view does so beside the next round.
io::Task<BarrierQueue::Ticket> EtcdStore::barrier_round(Round round) {
  // Only a view that was confirmed before the read shows by it whether the store went back.
  if (gauge_.state().loading) {
    auto loaded = co_await io::with_deadline(options_.barrier_deadline, gauge_.wait_revision(0));
    if (!loaded) {
      waiting_.answer(round.first, round.last, view_waits());
      co_return waiting_.newest();
    }
  }
  const io::BootTime began = clock_.boot();
  const auto before = gauge_.state();
  auto head = co_await read_head();
  const BarrierQueue::Ticket newest = waiting_.newest();
  note([&round](StoreHealth& health) {
    health.barriers += round.last - round.first + 1;
    ++health.barrier_reads;
  });
  if (!head) {
    set_reachable(false);
    waiting_.answer(round.first, round.last, out_of_reach(head.error()));
    co_return newest;
  }
  set_reachable(true);
  look_back(before, *head);
  const auto state = gauge_.state();
  if (!state.loading && state.head.version >= head->version) {
    passed(round, began, state.revision);
    co_return newest;
  }
  scope_.spawn("barrier", pass(*std::move(head), round, began));
  co_return newest;
}

// A view that has what a later read saw has all that earlier ones saw.
void EtcdStore::passed(const Round& round, io::BootTime began, Revision revision) {
  note([began](StoreHealth& health) {
    health.passed_once = true;
    health.last_barrier = std::max(health.last_barrier, began);
  });
  waiting_.answer(0, round.last, Fence{.revision = revision, .round = ++answered_rounds_});
}

io::Task<void> EtcdStore::pass(HeadRead head, Round round, io::BootTime began) {
  for (int i = 0; i < waits_for_view; ++i) {
    const Revision stood = gauge_.state().revision;
    auto reached =
        co_await io::with_deadline(options_.barrier_deadline / waits_for_view, gauge_.wait_version(head.version));
    if (reached) {
      passed(round, began, *reached);
      co_return;
    }
    if (reached.error().code != ErrorCode::timeout) {
      waiting_.answer(round.first, round.last, std::move(reached).error());
      co_return;
    }
    // The newest event may be lost, or the stream dead: what the view lacks is asked for again.
    if (gauge_.state().revision == stood && !gauge_.state().loading) interrupt();
  }
  waiting_.answer(round.first, round.last, view_waits());
}

// ---- head -------------------------------------------------------------------------------------------------------

io::Task<Result<EtcdStore::HeadRead>> EtcdStore::read_head() {
  const auto call = [this](Channel& channel, io::Duration deadline) { return read_head_at(channel, deadline); };
  co_return co_await endpoints_.read<HeadRead>(call);
}

io::Task<Result<EtcdStore::HeadRead>> EtcdStore::read_head_at(Channel& channel, io::Duration deadline) {
  Header header;
  RangeReply head;
  if (endpoints_.trusts(channel)) {
    HANSA_CO_TRY(head, co_await channel.range({.key = key(head_key), .end = {}}, deadline));
    header = head.header;
  } else {
    HANSA_CO_TRY(TxnReply reply, co_await channel.txn(head_through_the_log(), deadline));
    if (reply.ranges.empty()) co_return make_error(ErrorCode::internal, "etcd did not show the key that was asked for");
    head = std::move(reply.ranges.front());
    header = reply.header;
  }
  HeadRead out{.version = 0, .operation = {}, .revision = header.revision};
  if (!head.values.empty()) {
    out.version = head.values.front().version;
    out.operation = head_operation(head.values.front().value);
  }
  co_return out;
}

// A transaction that could write goes through the log of every etcd and is answered where it is applied. This one
// removes what is never there: it makes no revision, tells no watch, takes no space, and passes where there is none.
TxnRequest EtcdStore::head_through_the_log() const {
  TxnRequest request;
  request.success.push_back({.kind = TxnOperation::Kind::remove, .key = key(absent_key), .value = {}, .lease = 0});
  request.success.push_back({.kind = TxnOperation::Kind::range, .key = key(head_key), .value = {}, .lease = 0});
  return request;
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
