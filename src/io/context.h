// TaskContext: what a tree of tasks shares: its executor and whether it was cancelled.
//
// A tree waits for at most one thing at a time (its leaf). cancel() marks the tree and tells the leaf, which then
// completes early with ErrorCode::cancelled; every later wait of the tree completes so at once. Work that cannot be
// interrupted (a blocking call) finishes first. Contexts nest: a deadline runs its task in a child.
//
// Thread rule: everything here happens on the executor's thread.
#pragma once

#include "base/assert.h"

namespace hansa::io {

class Executor;

// Something that a task waits for and that can be asked to stop waiting.
class Waiting {
 public:
  virtual void cancel_wait() = 0;

 protected:
  ~Waiting() = default;
};

class TaskContext final : private Waiting {
 public:
  explicit TaskContext(Executor& executor, TaskContext* parent = nullptr) : executor_(executor), parent_(parent) {
    if (parent_ != nullptr) {
      cancelled_ = parent_->cancelled_;
      parent_->begin_wait(*this);
    }
  }
  ~TaskContext() {
    if (parent_ != nullptr) parent_->end_wait();
  }
  TaskContext(const TaskContext&) = delete;
  TaskContext& operator=(const TaskContext&) = delete;

  Executor& executor() const { return executor_; }
  bool cancelled() const { return cancelled_; }

  void cancel() {
    cancelled_ = true;
    if (leaf_ != nullptr) leaf_->cancel_wait();
  }

  // For awaitables: announce and withdraw what the tree waits for.
  void begin_wait(Waiting& leaf) {
    HANSA_ASSERT(leaf_ == nullptr, "a tree of tasks waits for one thing at a time");
    leaf_ = &leaf;
  }
  void end_wait() { leaf_ = nullptr; }

 private:
  void cancel_wait() override { cancel(); }

  Executor& executor_;
  TaskContext* parent_;
  Waiting* leaf_ = nullptr;
  bool cancelled_ = false;
};

}  // namespace hansa::io
