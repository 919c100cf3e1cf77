// TaskScope: owns the tasks that one object starts, so that the object outlives them.
//
//   scope.spawn("sweep", sweep_loop());   // starts soon, on the scope's executor
//   co_await scope.close();               // cancels all and waits for their end
//
// The destructor asserts that nothing runs any more. An exception that leaves a task is a bug and stops the process.
// Thread rule: the executor's thread only.
#pragma once

#include <list>
#include <string_view>

#include "io/executor.h"
#include "io/task.h"

namespace hansa::io {

class TaskScope {
 public:
  explicit TaskScope(Executor& executor) : executor_(executor) {}
  ~TaskScope();
  TaskScope(const TaskScope&) = delete;
  TaskScope& operator=(const TaskScope&) = delete;

  // `name` must be a literal: it is kept for diagnosis. After close() has begun the task still starts, cancelled.
  void spawn(std::string_view name, Task<void> task);

  // Asks every task to stop; does not wait. Idempotent.
  void cancel();

  // Cancels and waits until every task has ended. Call once.
  Task<void> close();

  // Waits until every task has ended by itself (drain).
  Task<void> join();

  std::size_t running() const { return entries_.size(); }
  Executor& executor() const { return executor_; }

 private:
  struct Root;
  struct Entry {
    std::string_view name;
    TaskContext context;
    Entry(std::string_view n, Executor& e) : name(n), context(e) {}
  };
  static Root run(TaskScope& scope, std::list<Entry>::iterator entry, Task<void> task);
  void finished(std::list<Entry>::iterator entry);

  Executor& executor_;
  std::list<Entry> entries_;
  std::list<Work> when_empty_;
  bool cancelled_ = false;
};

}  // namespace hansa::io
