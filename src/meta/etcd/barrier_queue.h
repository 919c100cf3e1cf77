// BarrierQueue: who waits for a barrier, first come first served. Every read of a tag passes here, so waiting costs no
// allocation, no timer and no task of its own: a waiter is a link in a list that lives in the waiting coroutine, all of
// one round are answered by one post to each executor, and their deadline is looked after for all at once.
//
// Thread rule: wait() is awaited on any executor; all else may be called from any thread. A waiter resumes on its own
// executor, never inside a call of this class. The queue outlives who waits in it.
#pragma once

#include <coroutine>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "base/result.h"
#include "io/executor.h"
#include "io/task.h"
#include "meta/store.h"

namespace hansa::meta::etcd {

class BarrierQueue {
 public:
  using Answer = Result<Fence>;
  using Ticket = std::uint64_t;  // the order of arrival, from 1

  // Awaited once, where it was made: co_await queue.wait(deadline). Cancellation answers ErrorCode::cancelled.
  class [[nodiscard]] Wait final : private io::Waiting {
   public:
    Wait(BarrierQueue& queue, io::MonotonicTime deadline) : queue_(queue), deadline_(deadline) {}
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

    bool await_ready() const noexcept { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> self) {
      context_ = self.promise().context;
      handle_ = self;
      context_->begin_wait(*this);
      queue_.enter(*this);
      // Another thread may have answered by now, but this one resumes later.
      if (context_->cancelled()) cancel_wait();
    }
    Answer await_resume() { return *std::move(answer_); }

   private:
    friend class BarrierQueue;
    void cancel_wait() override { queue_.leave(*this); }
    void resume() {
      context_->end_wait();
      handle_.resume();
    }

    BarrierQueue& queue_;
    const io::MonotonicTime deadline_;
    io::TaskContext* context_ = nullptr;
    std::coroutine_handle<> handle_;
    // Under the queue's lock while it waits; `next_` then links those that resume together.
    Ticket ticket_ = 0;  // 0: does not wait any more
    Wait* previous_ = nullptr;
    Wait* next_ = nullptr;
    std::optional<Answer> answer_;
  };

  // Waits that begin later must not have an earlier deadline.
  Wait wait(io::MonotonicTime deadline) { return Wait(*this, deadline); }

  // Called once, on the thread of the task that enters, when somebody waits who came after this ticket; at once if so
  // already. The ticket may be one that is yet to be given. One at a time.
  void when_after(Ticket ticket, io::Work wake);
  void forget_wake();  // it is not called any more

  Ticket newest() const;  // of all that ever waited
  std::size_t size() const;
  void answer(Ticket first, Ticket last, const Answer& answer);
  // Answers all, and at once whoever comes later.
  void end(const Answer& answer);
  // Answers all whose deadline is `now` or before.
  void expire(io::MonotonicTime now, const Error& error);

 private:
  // Who resumes together on one executor.
  struct Batch {
    io::Executor* executor = nullptr;
    Wait* first = nullptr;
    Wait* last = nullptr;
    std::size_t count = 0;
  };
  using Batches = std::vector<Batch>;
  void enter(Wait& wait);
  void leave(Wait& wait);
  void unlink(Wait& wait);                                        // under the lock
  void take(Wait& wait, const Answer& answer, Batches& batches);  // under the lock
  static void resume(const Batches& batches);

  mutable std::mutex mutex_;
  Wait* first_ = nullptr;
  Wait* last_ = nullptr;
  std::size_t size_ = 0;
  Ticket newest_ = 0;
  io::Work wake_;
  Ticket wake_after_ = 0;
  std::optional<Answer> end_;
};

}  // namespace hansa::meta::etcd
