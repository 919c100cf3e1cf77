// WorkerPool: at most `limit` threads that run blocking work in the order of submission. Threads are started when
// there is work and nobody idle; they live until stop(). Thread-safe.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "io/executor.h"

namespace hansa::io::asio {

class WorkerPool {
 public:
  // `name` names the threads (at most 15 characters are shown by the system).
  WorkerPool(std::string name, std::size_t limit);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // After stop() the work runs at once on the calling thread, so that nobody waits for ever.
  void submit(Work work);
  // Runs what was submitted, then ends the threads. Not from one of them. Idempotent.
  void stop();

 private:
  void run();

  const std::string name_;
  const std::size_t limit_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Work> queue_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;  // threads inside wake_.wait()
  bool stopping_ = false;
};

}  // namespace hansa::io::asio
