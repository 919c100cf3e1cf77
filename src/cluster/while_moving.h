// while_moving: a deadline for transfers of any length: the task is cancelled, and ErrorCode::timeout returned, once
// `progress` has stood still for as long as `limit` says (noticed within twice that). Both are asked again and again on
// the task's executor.
#pragma once

#include <cstdint>
#include <functional>

#include "io/wait.h"

namespace hansa::cluster {

using Progress = std::function<std::uint64_t()>;  // any number that changes while something moves
using Limit = std::function<io::Duration()>;

namespace detail {
// Rearms itself; lives in the frame of while_moving.
class Watch {
 public:
  Watch(io::TaskContext& inner, const Limit& limit, const Progress& progress)
      : inner_(inner), limit_(limit), progress_(progress), seen_(progress()) {
    arm();
  }
  ~Watch() { inner_.executor().cancel_timer(timer_); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  bool expired() const { return expired_; }

 private:
  void arm() {
    timer_ = inner_.executor().start_timer(limit_(), [this] { look(); });
  }
  void look() {
    const std::uint64_t now = progress_();
    if (now != seen_) {
      seen_ = now;
      arm();
      return;
    }
    expired_ = true;
    inner_.cancel();
  }

  io::TaskContext& inner_;
  const Limit& limit_;
  const Progress& progress_;
  std::uint64_t seen_;
  io::TimerId timer_ = 0;
  bool expired_ = false;
};
}  // namespace detail

template <class T>
io::Task<Result<T>> while_moving(Limit limit, Progress progress, io::Task<Result<T>> task) {
  io::TaskContext& outer = co_await io::current_context();
  io::TaskContext inner(outer.executor(), &outer);
  const detail::Watch watch(inner, limit, progress);
  auto result = co_await std::move(task).in(inner);
  if (watch.expired() && !result && result.error().code == ErrorCode::cancelled) {
    co_return make_error(ErrorCode::timeout, "nothing moved for too long");
  }
  co_return result;
}

}  // namespace hansa::cluster
