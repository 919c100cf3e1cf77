// Bridges from callbacks to tasks, and the basic waits built on them.
//
//   wait_for<T>(start)      suspends until the Completion<T> given to `start` is completed
//   blocking(pool, f)       runs f on a pool's thread and returns what it returns
//   abandonable(pool, f)    as blocking(), but a cancelled task does not wait for f, which owns what it uses
//   sleep_for(duration)     ok after the duration, or ErrorCode::cancelled
//   yield()                 lets other work of the executor run
//   with_deadline(d, task)  the task's result, or ErrorCode::timeout once the task has noticed its cancellation
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/result.h"
#include "io/executor.h"
#include "io/task.h"

namespace hansa::io {

template <class T>
class CallbackWait;

// One-shot handle to a suspended task. Copyable; complete() may be called from any thread, the first call counts.
// The task resumes on its own executor, never inside complete().
template <class T>
class Completion {
 public:
  void complete(T value) const {
    auto state = state_;
    if (state->done.exchange(true)) return;
    state->value.emplace(std::move(value));
    Executor& executor = *state->executor;
    executor.post([state = std::move(state)] { state->resume(); });
  }
  bool is_done() const { return state_->done; }

 private:
  friend class CallbackWait<T>;
  struct State final : Waiting {
    Executor* executor = nullptr;
    TaskContext* context = nullptr;
    std::coroutine_handle<> handle;
    std::atomic<bool> done = false;
    std::optional<T> value;
    Work on_cancel;

    void cancel_wait() override {
      if (on_cancel) std::exchange(on_cancel, nullptr)();
    }
    void resume() {
      context->end_wait();
      on_cancel = nullptr;
      handle.resume();
    }
  };
  explicit Completion(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

// Awaitable made by wait_for. `start(completion)` begins the operation and may return a Work that interrupts it:
// the interruption must lead to complete(). Without one the wait cannot be interrupted and must be bounded.
template <class T>
class CallbackWait {
 public:
  using Start = std::move_only_function<Work(Completion<T>)>;
  explicit CallbackWait(Start start) : start_(std::move(start)) {}

  bool await_ready() const noexcept { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P> self) {
    TaskContext& context = *self.promise().context;
    state_ = std::make_shared<typename Completion<T>::State>();
    state_->executor = &context.executor();
    state_->context = &context;
    state_->handle = self;
    context.begin_wait(*state_);
    // start() may complete at once from another thread, but the resumption is posted to this one.
    state_->on_cancel = start_(Completion<T>(state_));
    if (context.cancelled()) state_->cancel_wait();
  }
  T await_resume() { return std::move(*state_->value); }

 private:
  Start start_;
  std::shared_ptr<typename Completion<T>::State> state_;
};

template <class T, class Start>
CallbackWait<T> wait_for(Start start) {
  return CallbackWait<T>(typename CallbackWait<T>::Start(std::move(start)));
}

template <class F>
auto blocking(Pool pool, F function) -> Task<std::invoke_result_t<F&>> {
  using R = std::invoke_result_t<F&>;
  TaskContext& context = co_await current_context();
  if constexpr (std::is_void_v<R>) {
    auto wait = wait_for<bool>([&](Completion<bool> completion) -> Work {
      context.executor().run_blocking(pool, [&function, completion] {
        function();
        completion.complete(true);
      });
      return nullptr;
    });
    co_await wait;
  } else {
    auto wait = wait_for<R>([&](Completion<R> completion) -> Work {
      context.executor().run_blocking(pool, [&function, completion] { completion.complete(function()); });
      return nullptr;
    });
    co_return co_await wait;
  }
}

// F returns a Result. It may run on after the task has gone on with ErrorCode::cancelled; what it returns is dropped.
template <class F>
auto abandonable(Pool pool, F function) -> Task<std::invoke_result_t<F&>> {
  using R = std::invoke_result_t<F&>;
  TaskContext& context = co_await current_context();
  auto wait = wait_for<R>([&](Completion<R> completion) -> Work {
    context.executor().run_blocking(
        pool, [function = std::move(function), completion]() mutable { completion.complete(function()); });
    return [completion] { completion.complete(make_error(ErrorCode::cancelled, "cancelled while others worked")); };
  });
  co_return co_await wait;
}

Task<Result<void>> sleep_for(Duration duration);
Task<void> yield();

template <class T>
Task<Result<T>> with_deadline(Duration limit, Task<Result<T>> task) {
  TaskContext& outer = co_await current_context();
  TaskContext inner(outer.executor(), &outer);
  bool expired = false;
  const TimerId timer = outer.executor().start_timer(limit, [&inner, &expired] {
    expired = true;
    inner.cancel();
  });
  auto result = co_await std::move(task).in(inner);
  outer.executor().cancel_timer(timer);
  if (expired && !result && result.error().code == ErrorCode::cancelled) {
    co_return make_error(ErrorCode::timeout, "the deadline passed");
  }
  co_return result;
}

}  // namespace hansa::io
