#include "io/asio/worker_pool.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace hansa::io::asio {

WorkerPool::WorkerPool(std::string name, std::size_t limit)
    : name_(std::move(name)), limit_(std::max<std::size_t>(limit, 1)) {}

WorkerPool::~WorkerPool() {
  stop();
}

void WorkerPool::submit(Work work) {
  std::unique_lock lock(mutex_);
  if (stopping_) {
    lock.unlock();
    work();
    return;
  }
  queue_.push_back(std::move(work));
  // An idle thread may be promised to earlier work that it has not taken yet, hence the comparison with the queue.
  if (queue_.size() > idle_ && threads_.size() < limit_) {
    threads_.emplace_back([this] { run(); });
    pthread_setname_np(threads_.back().native_handle(), name_.c_str());
    return;
  }
  lock.unlock();
  wake_.notify_one();
}

void WorkerPool::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    while (queue_.empty()) {
      if (stopping_) return;
      ++idle_;
      wake_.wait(lock);
      --idle_;
    }
    {
      Work work = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      work();
    }  // what the work holds is released here, outside the lock
    lock.lock();
  }
}

void WorkerPool::stop() {
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    threads.swap(threads_);
  }
  wake_.notify_all();
  for (auto& thread : threads) thread.join();
}

}  // namespace hansa::io::asio
