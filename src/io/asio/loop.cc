#include <boost/asio/post.hpp>
#include <utility>

#include "base/assert.h"
#include "io/asio/native.h"

namespace hansa::io::asio {

// One thread runs the context, which lets Asio keep work posted from that thread in a queue without a lock.
constexpr int kThreadsPerContext = 1;

Loop::Loop(Submit submit)
    : submit_(std::move(submit)), context_(kThreadsPerContext), guard_(boost::asio::make_work_guard(context_)) {}

Loop::~Loop() = default;

void Loop::post(Work work) {
  boost::asio::post(context_, std::move(work));
}

TimerId Loop::start_timer(Duration delay, Work fire) {
  const TimerId id = ++last_timer_;
  boost::asio::steady_timer timer(context_);
  // A sum past the end of the clock would fire at once.
  const auto now = boost::asio::steady_timer::clock_type::now();
  const auto most = boost::asio::steady_timer::time_point::max() - now;
  timer.expires_at(delay < most ? now + delay : boost::asio::steady_timer::time_point::max());
  const auto [place, fresh] = timers_.try_emplace(id, std::move(timer), std::move(fire));
  HANSA_ASSERT(fresh, "timer ids are never used twice");
  // The wait may have ended already when the timer is cancelled, so the id decides and not the error code.
  place->second.timer.async_wait([this, id](const boost::system::error_code&) { fired(id); });
  return id;
}

void Loop::fired(TimerId id) {
  const auto found = timers_.find(id);
  if (found == timers_.end()) return;
  Work fire = std::move(found->second.fire);
  timers_.erase(found);
  fire();
}

void Loop::cancel_timer(TimerId id) {
  timers_.erase(id);
}

void Loop::run_blocking(Pool pool, Work work) {
  submit_(pool, std::move(work));
}

bool Loop::on_this_thread() const {
  return guard_.get_executor().running_in_this_thread();
}

void Loop::run() {
  context_.run();
}

void Loop::stop_soon() {
  boost::asio::post(context_, [this] {
    guard_.reset();
    context_.stop();
  });
}

}  // namespace hansa::io::asio
