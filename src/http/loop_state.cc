#include "http/loop_state.h"

#include <algorithm>

#include "http/session.h"
#include "http/text.h"

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

ServerState::ServerState(ServerOptions o, Handler h, Logger& l)
    : options(std::move(o)), handler(std::move(h)), log(l), clock(io::asio::real_clock()) {}

ServerState::~ServerState() = default;

std::shared_ptr<TlsContext> ServerState::current_tls() {
  const std::scoped_lock lock(tls_lock);
  return tls;
}

std::size_t ServerState::open_connections() const {
  std::size_t sum = 0;
  for (const auto& loop : loops) sum += loop->open.load(std::memory_order_relaxed);
  return sum;
}

LoopState::LoopState(ServerState& s, io::asio::Loop& l, io::Executor& e)
    : server(s), loop(l), executor(e), acceptors(e), connections(e), step_(sweep_step(s.options.limits)) {}

LoopState::Members::iterator LoopState::enter(Session& session) {
  const auto member = members_.insert(members_.end(), &session);
  if (!sweeping_) {
    sweeping_ = true;
    timer_ = executor.start_timer(step_, [this] { sweep(); });
  }
  return member;
}

void LoopState::leave(Members::iterator member) {
  members_.erase(member);
}

Tick LoopState::deadline(io::Duration limit) const {
  return tick_ + static_cast<Tick>((limit + step_ - io::Duration(1)) / step_);
}

void LoopState::sweep() {
  ++tick_;
  for (Session* session : members_) session->expire(tick_);
  sweeping_ = !members_.empty();
  if (sweeping_) timer_ = executor.start_timer(step_, [this] { sweep(); });
}

void LoopState::stop_sweeping() {
  if (sweeping_) executor.cancel_timer(timer_);
  sweeping_ = false;
}

void LoopState::wake_idle() {
  // A woken wait completes by a posted handler, so nobody leaves during this loop.
  for (Session* session : members_) session->drain();
}

Buffer LoopState::take_buffer() {
  if (buffers_.empty()) return std::make_unique_for_overwrite<std::byte[]>(input_buffer_bytes);
  Buffer buffer = std::move(buffers_.back());
  buffers_.pop_back();
  return buffer;
}

void LoopState::give_buffer(Buffer buffer) {
  if (buffers_.size() < pooled_buffers) buffers_.push_back(std::move(buffer));
}

std::string_view LoopState::date() {
  const auto second = std::chrono::duration_cast<std::chrono::seconds>(server.clock->wall().time_since_epoch()).count();
  if (second != date_second_) {
    date_second_ = second;
    date_ = http_date(second);
  }
  return date_;
}

}  // namespace hansa::http
