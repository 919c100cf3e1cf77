#include "http/loop_state.h"

#include "http/session.h"
#include "http/text.h"

namespace hansa::http {

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
    : Pulse(l, e, s.options.limits, s.options.traffic), server(s), acceptors(e), connections(e) {}

void LoopState::wake_idle() {
  // A woken wait completes by a posted handler, so nobody leaves during this loop.
  for (Session* session : sessions_) session->drain();
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
