#include "http/loop_state.h"

#include "http/session.h"
#include "http/text.h"

namespace hansa::http {

ServerState::ServerState(ServerOptions o, Handler h, Logger& l)
    : options(std::move(o)),
      handler(std::move(h)),
      log(l),
      clock(io::asio::real_clock()),
      clients_(options.limits.connections_per_client) {}

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

Admission ServerState::admit(const std::string& client) {
  Admission out = Admission::admitted;
  std::optional<std::uint64_t> unsaid;
  {
    const std::scoped_lock lock(clients_lock_);
    if (!clients_.take(client)) {
      out = Admission::client_full;
      unsaid = client_full_pace_.count(clock->boot());
    } else if (open_connections() >= options.limits.connections) {
      clients_.give_back(client);
      out = Admission::server_full;
      unsaid = server_full_pace_.count(clock->boot());
    }
  }
  if (out != Admission::admitted) refused.fetch_add(1, std::memory_order_relaxed);
  if (out == Admission::client_full) refused_clients.fetch_add(1, std::memory_order_relaxed);
  if (unsaid) log_refusals(out, client, *unsaid);
  return out;
}

void ServerState::leave(const std::string& client) {
  const std::scoped_lock lock(clients_lock_);
  clients_.give_back(client);
}

void ServerState::log_refusals(Admission why, const std::string& client, std::uint64_t count) {
  const bool by_client = why == Admission::client_full;
  const std::size_t limit = by_client ? options.limits.connections_per_client : options.limits.connections;
  log.warn(by_client ? "connections of a client that has as many as one may have are refused"
                     : "connections are refused: there are as many as this server may have",
           {{"client", client}, {"limit", limit}, {"refused", count}});
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
