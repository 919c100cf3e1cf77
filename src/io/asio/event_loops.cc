#include "io/asio/event_loops.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <coroutine>
#include <exception>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "io/asio/native.h"
#include "io/asio/worker_pool.h"

namespace hansa::io::asio {

struct EventLoops::Impl {
  explicit Impl(const PoolSizes& sizes)
      : disk("disk", sizes.disk),
        sync("sync", sizes.sync),
        metadata("metadata", sizes.metadata),
        auth("auth", sizes.auth),
        upkeep("upkeep", sizes.upkeep),
        names("names", sizes.names) {}

  WorkerPool& pool(Pool kind) {
    switch (kind) {
      case Pool::disk: return disk;
      case Pool::sync: return sync;
      case Pool::metadata: return metadata;
      case Pool::auth: return auth;
      case Pool::upkeep: return upkeep;
      case Pool::names: return names;
    }
    HANSA_ASSERT(false, "every kind of blocking work has its pool");
  }

  // The pools outlive the loops: work that a loop drops when it dies may still name its pool.
  WorkerPool disk;
  WorkerPool sync;
  WorkerPool metadata;
  WorkerPool auth;
  WorkerPool upkeep;
  WorkerPool names;
  std::vector<std::unique_ptr<Loop>> loops;
  std::vector<std::thread> threads;
};

EventLoops::EventLoops(std::size_t threads, PoolSizes pools) : impl_(std::make_unique<Impl>(pools)) {
  const std::size_t count = threads != 0 ? threads : std::max<std::size_t>(std::thread::hardware_concurrency(), 1);
  for (std::size_t i = 0; i < count; ++i) {
    impl_->loops.push_back(std::make_unique<Loop>(
        [impl = impl_.get()](Pool pool, Work work) { impl->pool(pool).submit(std::move(work)); }));
  }
  for (std::size_t i = 0; i < count; ++i) {
    impl_->threads.emplace_back([&loop = *impl_->loops[i]] { loop.run(); });
    pthread_setname_np(impl_->threads.back().native_handle(), ("loop-" + std::to_string(i)).c_str());
  }
}

EventLoops::~EventLoops() {
  stop();
}

std::size_t EventLoops::size() const {
  return impl_->loops.size();
}

Loop& EventLoops::loop(std::size_t index) {
  return *impl_->loops.at(index);
}

Executor& EventLoops::executor(std::size_t index) {
  return loop(index);
}

void EventLoops::stop() {
  // Pools first: what they finish is posted to the loops, which then run it before they end.
  for (WorkerPool* pool : {&impl_->disk, &impl_->sync, &impl_->metadata, &impl_->auth, &impl_->upkeep, &impl_->names}) {
    pool->stop();
  }
  if (impl_->threads.empty()) return;
  for (auto& loop : impl_->loops) loop->stop_soon();
  for (auto& thread : impl_->threads) thread.join();
  impl_->threads.clear();
}

namespace {

// The root of a tree that a plain thread waits for. Its frame frees itself at the end.
struct WaitedRoot {
  struct promise_type {
    TaskContext* context = nullptr;
    WaitedRoot get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

WaitedRoot run_then_tell(Task<void> task, std::promise<void> ended) {
  {
    Task<void> body = std::move(task);
    co_await std::move(body);
  }
  ended.set_value();
}

}  // namespace

void run_and_wait(Executor& executor, Task<void> task) {
  run_until_told(executor, std::move(task), nullptr);
}

void run_until_told(Executor& executor, Task<void> task, const std::function<bool()>& stop) {
  HANSA_ASSERT(!executor.on_this_thread(), "a loop that waits for itself never ends");
  constexpr auto between_questions = std::chrono::milliseconds(100);
  std::promise<void> ended;
  std::future<void> end = ended.get_future();
  TaskContext context(executor);
  WaitedRoot root = run_then_tell(std::move(task), std::move(ended));
  root.handle.promise().context = &context;
  executor.post([handle = root.handle] { handle.resume(); });
  while (stop && end.wait_for(between_questions) != std::future_status::ready) {
    if (!stop()) continue;
    // The context lives until this has run, even when the task ends first.
    std::promise<void> told;
    executor.post([&context, &told] {
      context.cancel();
      told.set_value();
    });
    told.get_future().wait();
    break;
  }
  end.wait();
}

}  // namespace hansa::io::asio
