// The client's connections on one loop: those under way and those kept. Thread rule: the loop's thread only.
#pragma once

#include <atomic>
#include <list>
#include <map>
#include <mutex>

#include "http/channel.h"
#include "http/client.h"

namespace hansa::http {

// What all loops of a client share. Thread-safe.
struct ClientShared {
  explicit ClientShared(ClientOptions o);
  const ClientOptions options;
  Limits limits;  // for Pulse
  std::atomic<std::uint64_t> connected = 0;
  std::atomic<std::uint64_t> reused = 0;
  std::atomic<std::uint64_t> generation = 0;  // of the TLS files; older connections are not kept
  std::mutex tls_lock;
  std::shared_ptr<TlsContext> tls;  // under tls_lock

  std::shared_ptr<TlsContext> current_tls();
};

// A connection, which keeps its loop alive.
struct ClientConnection {
  ClientConnection(std::shared_ptr<ClientLoop> l, int descriptor);
  const std::shared_ptr<ClientLoop> loop;
  Channel channel;
  std::string target;  // under which it is kept; empty: it is not
  std::uint64_t generation = 0;
  Tick idle_until = 0;
  bool used = false;  // for a request before this one
};
using ConnectionPtr = std::unique_ptr<ClientConnection>;

class ClientLoop final : public Pulse {
 public:
  ClientLoop(std::shared_ptr<ClientShared> s, io::asio::Loop& l, io::Executor& e)
      : Pulse(l, e, s->limits, s->options.traffic), shared(std::move(s)) {}
  const std::shared_ptr<ClientShared> shared;

  // A kept connection that still looks open, the one used last; or null.
  ConnectionPtr take(const std::string& target);
  // Keeps it or closes it. REQUIRES: it is in step.
  void keep(ConnectionPtr connection);
  void close();  // what is kept, and from now on nothing is

 private:
  void swept() override;
  std::list<ConnectionPtr> kept_;  // the one used last in front
  bool closed_ = false;
};

struct ClientTarget {
  std::string host;
  std::string port;
};
// "host:port"; nullopt: that is no address.
std::optional<ClientTarget> parse_target(std::string_view address);

// A new connection, with TLS if `tls` is set. Errors: unavailable, cancelled.
io::Task<Result<ConnectionPtr>> connect(std::shared_ptr<ClientLoop> loop, std::string address,
                                        std::shared_ptr<TlsContext> tls, std::string identity);

}  // namespace hansa::http
