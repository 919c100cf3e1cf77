#include "io/scope.h"

#include "io/wait.h"

namespace hansa::io {

// The coroutine at the root of a spawned tree. Its frame frees itself at the end.
struct TaskScope::Root {
  struct promise_type {
    TaskContext* context = nullptr;
    Root get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    // Operating errors are values; an exception here is a bug, and going on could damage data.
    void unhandled_exception() const noexcept { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

TaskScope::~TaskScope() {
  HANSA_ASSERT(entries_.empty(), "close() the scope before its owner dies");
}

TaskScope::Root TaskScope::run(TaskScope& scope, std::list<Entry>::iterator entry, Task<void> task) {
  {
    Task<void> body = std::move(task);
    co_await std::move(body);
  }
  scope.finished(entry);
}

void TaskScope::spawn(std::string_view name, Task<void> task) {
  const auto entry = entries_.emplace(entries_.end(), name, executor_);
  if (cancelled_) entry->context.cancel();
  Root root = run(*this, entry, std::move(task));
  root.handle.promise().context = &entry->context;
  executor_.post([handle = root.handle] { handle.resume(); });
}

void TaskScope::finished(std::list<Entry>::iterator entry) {
  entries_.erase(entry);
  if (!entries_.empty()) return;
  auto waiters = std::move(when_empty_);
  when_empty_.clear();
  for (auto& wake : waiters) wake();
}

void TaskScope::cancel() {
  cancelled_ = true;
  // A cancelled leaf completes by a posted resumption, so no entry disappears during this loop.
  for (auto& entry : entries_) entry.context.cancel();
}

Task<void> TaskScope::close() {
  cancel();
  co_await join();
}

Task<void> TaskScope::join() {
  while (!entries_.empty()) {
    auto wait = wait_for<bool>([this](Completion<bool> completion) -> Work {
      when_empty_.push_back([completion] { completion.complete(true); });
      return nullptr;
    });
    co_await wait;
  }
}

}  // namespace hansa::io
