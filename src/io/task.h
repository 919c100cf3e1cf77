// Task<T>: the one coroutine type. Lazy: runs when awaited, on the executor of whoever awaits it, and resumes the
// awaiter without growing the stack. A task is awaited exactly once and always runs to its end; cancellation is
// cooperative (see TaskContext). Start a tree of tasks with TaskScope::spawn (io/scope.h); there is no detach.
//
//   io::Task<Result<BlobInfo>> stat(oci::Digest digest);
//   HANSA_CO_TRY(auto info, co_await store.stat(digest));
//
// Rules: parameters by value (references only when the caller awaits at once); no lock and no iterator held across
// a co_await; after every co_await the world has changed; name a lambda before awaiting a coroutine made of it.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>
#include <variant>

#include "base/assert.h"
#include "io/context.h"

namespace hansa::io {

template <class T>
class Task;

namespace detail {

struct PromiseBase {
  TaskContext* context = nullptr;
  std::coroutine_handle<> continuation;
  std::exception_ptr exception;

  struct Final {
    bool await_ready() const noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> self) const noexcept {
      return self.promise().continuation;
    }
    void await_resume() const noexcept {}
  };
  std::suspend_always initial_suspend() const noexcept { return {}; }
  Final final_suspend() const noexcept { return {}; }
  void unhandled_exception() { exception = std::current_exception(); }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T take() {
    if (exception) std::rethrow_exception(exception);
    return std::move(*value);
  }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() const noexcept {}
  void take() const {
    if (exception) std::rethrow_exception(exception);
  }
};

}  // namespace detail

template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task() = default;
  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() { destroy(); }

  // Awaits the task in another context than the awaiter's (deadlines).
  auto in(TaskContext& context) && { return Awaiter{handle_, &context}; }

  auto operator co_await() && { return Awaiter{handle_, nullptr}; }

 private:
  struct Awaiter {
    Handle handle;
    TaskContext* context;
    bool await_ready() const noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> parent) noexcept {
      handle.promise().context = context != nullptr ? context : parent.promise().context;
      handle.promise().continuation = parent;
      return handle;
    }
    T await_resume() { return handle.promise().take(); }
  };

  void destroy() {
    if (handle_) handle_.destroy();
    handle_ = nullptr;
  }

  Handle handle_ = nullptr;
};

template <class T>
Task<T> detail::Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> detail::Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

// co_await current_context(): the context that this task runs in. Never suspends.
struct current_context {
  TaskContext* context = nullptr;
  bool await_ready() const noexcept { return false; }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> self) noexcept {
    context = self.promise().context;
    return false;
  }
  TaskContext& await_resume() const noexcept { return *context; }
};

}  // namespace hansa::io
