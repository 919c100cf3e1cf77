// Server: HTTP/1.1 over TCP and TLS on Boost.Asio: one event loop per core, each with a listener of its own
// (SO_REUSEPORT). Bodies never pass through the parser: requests by recv into the handler's buffer, files by sendfile.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "base/shares.h"
#include "http/message.h"
#include "io/executor.h"
#include "io/time.h"
#include "io/traffic.h"

namespace hansa::io::asio {
class EventLoops;
}

namespace hansa::http {

inline constexpr std::size_t default_connections = 20'000;

// Every limit has a name (P11). Time-outs are idle times, never totals: a slow large transfer is not cut.
struct Limits {
  std::size_t header_bytes = 64 * 1024;  // request line and fields together
  std::size_t header_fields = 128;
  std::size_t connections = default_connections;  // over all loops; more are answered 503 and closed
  // Of one client (client_network.h); more are answered 429 and closed. 0: no limit. A connection has one request under
  // way at a time, also of those that are pipelined, so this bounds a client's requests too.
  std::size_t connections_per_client = share_of_one(default_connections);
  std::size_t drain_body = 1024 * 1024;  // unread request body that is thrown away to keep a connection
  io::Duration header_timeout = std::chrono::seconds(10);    // from the first byte to the end of the header
  io::Duration idle_timeout = std::chrono::seconds(120);     // between requests
  io::Duration transfer_timeout = std::chrono::seconds(60);  // without a byte moving in either direction
  io::Duration drain_timeout = std::chrono::seconds(30);     // stop(): requests under way may finish
};

struct TlsFiles {
  std::string certificate;  // PEM, chain
  std::string key;          // PEM
  std::string client_ca;    // PEM; empty: client certificates are not asked for
};

struct ServerOptions {
  std::string address = "127.0.0.1";  // IPv4, IPv6 or a host name (IPv4 first); empty: all addresses of both
  std::uint16_t port = 0;             // 0: chosen by the kernel, see Server::port()
  std::optional<TlsFiles> tls;
  Limits limits;
  io::Traffic* traffic = nullptr;  // counts the bodies' bytes; outlives the server. Null: nobody counts
};

// Answers a request. Errors of the transport (disconnected, timeout) come from request.body; a handler that returns is
// done with the request. Runs on the connection's loop.
using Handler = std::function<io::Task<Response>(Request& request)>;

class Server {
 public:
  virtual ~Server() = default;
  virtual std::uint16_t port() const = 0;
  // Reads certificate and key again; on an error the old ones stay. Any thread.
  virtual Result<void> reload_tls() = 0;
  // Drain: no new connections, idle ones closed, requests under way get drain_timeout; then everything is cancelled.
  // Blocks the calling thread, which is none of the loops.
  virtual void stop() = 0;
  struct Counters {
    std::uint64_t connections = 0;  // open now
    std::uint64_t accepted = 0;
    std::uint64_t refused = 0;          // over a limit
    std::uint64_t refused_clients = 0;  // of those: over the limit of one client
  };
  virtual Counters counters() const = 0;
};

// Listens and serves until stop(); the destructor stops too. `loops` and `log` outlive the server, and the loops still
// run when it stops. Blocks (name resolution, files). The loops' threads get SIGPIPE blocked, since sendfile raises it.
// A new connection goes to the loop that has the fewest, whichever accepted it.
// Errors say what to do (port in use, unreadable certificate, key that does not fit).
Result<std::unique_ptr<Server>> listen(io::asio::EventLoops& loops, ServerOptions options, Handler handler,
                                       Logger& log);

}  // namespace hansa::http
