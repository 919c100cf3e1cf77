#include "meta/etcd/barrier_queue.h"

#include <algorithm>
#include <utility>

namespace hansa::meta::etcd {
namespace {

constexpr std::size_t most_at_once = 64;  // resumed by one post, so that an executor's other work gets its turn

}  // namespace

void BarrierQueue::enter(Wait& wait) {
  io::Work wake;
  Batches batches;
  {
    const std::lock_guard guard(mutex_);
    wait.ticket_ = ++newest_;
    wait.previous_ = last_;
    (last_ != nullptr ? last_->next_ : first_) = &wait;
    last_ = &wait;
    ++size_;
    if (wait.ticket_ > wake_after_) wake = std::exchange(wake_, nullptr);
    if (end_) take(wait, *end_, batches);
  }
  if (wake) wake();
  resume(batches);
}

void BarrierQueue::leave(Wait& wait) {
  Batches batches;
  {
    const std::lock_guard guard(mutex_);
    if (wait.ticket_ == 0) return;  // answered, and about to resume
    take(wait, make_error(ErrorCode::cancelled, "the wait for the metadata was cancelled"), batches);
  }
  resume(batches);
}

void BarrierQueue::when_after(Ticket ticket, io::Work wake) {
  {
    const std::lock_guard guard(mutex_);
    if (last_ == nullptr || last_->ticket_ <= ticket) {
      wake_ = std::move(wake);
      wake_after_ = ticket;
      return;
    }
  }
  wake();
}

void BarrierQueue::forget_wake() {
  const std::lock_guard guard(mutex_);
  wake_ = nullptr;
}

BarrierQueue::Ticket BarrierQueue::newest() const {
  const std::lock_guard guard(mutex_);
  return newest_;
}

std::size_t BarrierQueue::size() const {
  const std::lock_guard guard(mutex_);
  return size_;
}

void BarrierQueue::answer(Ticket first, Ticket last, const Answer& answer) {
  Batches batches;
  {
    const std::lock_guard guard(mutex_);
    for (Wait* at = first_; at != nullptr && at->ticket_ <= last;) {
      Wait* const next = at->next_;
      if (at->ticket_ >= first) take(*at, answer, batches);
      at = next;
    }
  }
  resume(batches);
}

void BarrierQueue::end(const Answer& answer) {
  Batches batches;
  {
    const std::lock_guard guard(mutex_);
    end_ = answer;
    while (first_ != nullptr) take(*first_, answer, batches);
  }
  resume(batches);
}

void BarrierQueue::expire(io::MonotonicTime now, const Error& error) {
  Batches batches;
  {
    const std::lock_guard guard(mutex_);
    while (first_ != nullptr && first_->deadline_ <= now) take(*first_, error, batches);
  }
  resume(batches);
}

void BarrierQueue::unlink(Wait& wait) {
  (wait.previous_ != nullptr ? wait.previous_->next_ : first_) = wait.next_;
  (wait.next_ != nullptr ? wait.next_->previous_ : last_) = wait.previous_;
  wait.previous_ = nullptr;
  wait.next_ = nullptr;
  wait.ticket_ = 0;
  --size_;
}

void BarrierQueue::take(Wait& wait, const Answer& answer, Batches& batches) {
  unlink(wait);
  wait.answer_.emplace(answer);
  io::Executor* const executor = &wait.context_->executor();
  // The newest batch of an executor stands behind its full ones.
  const auto newest = std::ranges::find(batches.rbegin(), batches.rend(), executor, &Batch::executor);
  if (newest == batches.rend() || newest->count == most_at_once) {
    batches.push_back({.executor = executor, .first = &wait, .last = &wait, .count = 1});
    return;
  }
  newest->last->next_ = &wait;
  newest->last = &wait;
  ++newest->count;
}

void BarrierQueue::resume(const Batches& batches) {
  for (const Batch& batch : batches) {
    batch.executor->post([first = batch.first] {
      for (Wait* at = first; at != nullptr;) {
        Wait* const next = at->next_;  // resuming ends `at`
        at->resume();
        at = next;
      }
    });
  }
}

}  // namespace hansa::meta::etcd
