#include "http/pulse.h"

#include <algorithm>

namespace hansa::http {
namespace {

// Time-outs are late by at most an eighth of the shortest one.
constexpr int steps_per_timeout = 8;
constexpr io::Duration longest_step = std::chrono::milliseconds(250);
constexpr io::Duration shortest_step = std::chrono::milliseconds(5);

io::Duration sweep_step(const Limits& limits) {
  const io::Duration shortest = std::min({limits.header_timeout, limits.idle_timeout, limits.transfer_timeout});
  return std::clamp(shortest / steps_per_timeout, shortest_step, longest_step);
}

}  // namespace

Pulse::Pulse(io::asio::Loop& l, io::Executor& e, const Limits& lim, io::Traffic* traffic)
    : loop(l), executor(e), limits(lim), traffic_(traffic), step_(sweep_step(lim)) {}

Pulse::Members::iterator Pulse::enter(Socket& socket) {
  const auto member = members_.insert(members_.end(), &socket);
  if (!sweeping_) {
    sweeping_ = true;
    start_timer();
  }
  return member;
}

Tick Pulse::deadline(io::Duration limit) const {
  return tick_ + static_cast<Tick>((limit + step_ - io::Duration(1)) / step_);
}

void Pulse::start_timer() {
  timer_ = executor.start_timer(step_, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.lock() != nullptr) sweep();
  });
}

void Pulse::sweep() {
  ++tick_;
  // A woken wait completes by a posted handler, so nobody leaves during this loop.
  for (Socket* socket : members_) socket->expire(tick_);
  swept();
  sweeping_ = !members_.empty();
  if (sweeping_) start_timer();
}

void Pulse::stop_sweeping() {
  if (sweeping_) executor.cancel_timer(timer_);
  sweeping_ = false;
}

Buffer Pulse::take_buffer() {
  if (buffers_.empty()) return std::make_unique_for_overwrite<std::byte[]>(input_buffer_bytes);
  Buffer buffer = std::move(buffers_.back());
  buffers_.pop_back();
  return buffer;
}

void Pulse::give_buffer(Buffer buffer) {
  if (buffers_.size() < pooled_buffers) buffers_.push_back(std::move(buffer));
}

}  // namespace hansa::http
