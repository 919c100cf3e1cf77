#include "http/client_loop.h"

#include <algorithm>

namespace hansa::http {
namespace {

Limits pulse_limits(const ClientLimits& limits) {
  Limits all;
  all.header_bytes = limits.header_bytes;
  all.header_fields = limits.header_fields;
  all.header_timeout = std::min(limits.connect_timeout, limits.answer_timeout);
  all.idle_timeout = limits.idle_timeout;
  all.transfer_timeout = limits.transfer_timeout;
  return all;
}

}  // namespace

ClientShared::ClientShared(ClientOptions o) : options(std::move(o)), limits(pulse_limits(options.limits)) {}

std::shared_ptr<TlsContext> ClientShared::current_tls() {
  const std::scoped_lock lock(tls_lock);
  return tls;
}

ClientConnection::ClientConnection(std::shared_ptr<ClientLoop> l, int descriptor)
    : loop(std::move(l)), channel(*loop, descriptor) {}

ConnectionPtr ClientLoop::take(const std::string& target) {
  for (auto it = kept_.begin(); it != kept_.end();) {
    if ((*it)->target != target) {
      ++it;
      continue;
    }
    ConnectionPtr connection = std::move(*it);
    it = kept_.erase(it);
    // Bytes that nobody asked for, or the end: the server has given it up.
    const Step step = connection->channel.fill();
    if (!step.would_block() || connection->generation != shared->generation.load()) continue;
    connection->channel.release();
    return connection;
  }
  return nullptr;
}

void ClientLoop::keep(ConnectionPtr connection) {
  const ClientLimits& most = shared->options.limits;
  const bool fresh = connection->generation == shared->generation.load();
  if (closed_ || !fresh || connection->target.empty() || !connection->channel.input().empty()) return;
  const auto same =
      std::ranges::count_if(kept_, [&](const auto& other) { return other->target == connection->target; });
  if (std::cmp_greater_equal(same, most.kept_per_target)) return;
  connection->channel.release();
  connection->used = true;
  connection->idle_until = deadline(most.idle_timeout);
  kept_.push_front(std::move(connection));
  if (kept_.size() > most.kept) kept_.pop_back();
}

void ClientLoop::swept() {
  std::list<ConnectionPtr> expired;
  for (auto it = kept_.begin(); it != kept_.end();) {
    const auto next = std::next(it);
    if ((*it)->idle_until < now()) expired.splice(expired.end(), kept_, it);
    it = next;
  }
}

void ClientLoop::close() {
  closed_ = true;
  kept_.clear();
}

}  // namespace hansa::http
