// Loop: an Executor that is one io_context run by one thread. Only `http` and the .cc files of this room include this
// header: everything else sees io::Executor.
//
// Posting from the loop's own thread costs no system call. Timers live on the loop; see io/executor.h for the rules.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <unordered_map>

#include "io/executor.h"

namespace hansa::io::asio {

class Loop final : public Executor {
 public:
  // How blocking work leaves the loop; thread-safe.
  using Submit = std::function<void(Pool, Work)>;
  explicit Loop(Submit submit);
  ~Loop() override;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void post(Work work) override;
  TimerId start_timer(Duration delay, Work fire) override;
  void cancel_timer(TimerId id) override;
  void run_blocking(Pool pool, Work work) override;
  bool on_this_thread() const override;

  boost::asio::io_context& context() { return context_; }
  // Runs until stop_soon(); called by the loop's thread.
  void run();
  // Ends run() after the work posted so far. Any thread.
  void stop_soon();

 private:
  struct Timer {
    boost::asio::steady_timer timer;
    Work fire;
  };
  void fired(TimerId id);

  Submit submit_;
  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_;
  // Looked up by id only, never iterated: its order does not show.
  std::unordered_map<TimerId, Timer> timers_;
  TimerId last_timer_ = 0;
};

inline boost::asio::io_context& native(Loop& loop) {
  return loop.context();
}

}  // namespace hansa::io::asio
