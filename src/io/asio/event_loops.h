// EventLoops: the real executors: one Boost.Asio io_context and thread per core, and the pools of blocking work.
// The io_context itself is reached through io/asio/native.h, which only `http` and .cc files of this room include.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "io/clock.h"
#include "io/executor.h"
#include "io/random.h"
#include "io/task.h"

namespace hansa::io::asio {

struct PoolSizes {
  std::size_t disk = 8;
  std::size_t sync = 4;
  std::size_t metadata = 2;
  std::size_t auth = 2;
  std::size_t upkeep = 1;
  std::size_t names = 4;
};

class Loop;  // an Executor on one io_context; see native.h

class EventLoops {
 public:
  // `threads` 0: one per core.
  explicit EventLoops(std::size_t threads = 0, PoolSizes pools = {});
  ~EventLoops();  // stop() first
  std::size_t size() const;
  Loop& loop(std::size_t index);
  Executor& executor(std::size_t index);
  // Ends the threads after the work already posted. Every TaskScope on them is closed before.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::unique_ptr<Clock> real_clock();
std::unique_ptr<Random> real_random();

// Runs a task on an executor from a thread that is none of its loops and waits for its end: start-up and shutdown.
void run_and_wait(Executor& executor, Task<void> task);

// The same, but the task is cancelled once `stop` says so (it is asked a few times a second, on this thread); its end
// is waited for all the same.
void run_until_told(Executor& executor, Task<void> task, const std::function<bool()>& stop);

}  // namespace hansa::io::asio
