// What the connections of a server share: per server (ServerState) and per event loop (LoopState).
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/shares.h"
#include "http/pulse.h"
#include "http/server.h"
#include "http/tls.h"
#include "io/log_pace.h"
#include "io/scope.h"

namespace hansa::http {

class Session;
class LoopState;

enum class Admission : std::uint8_t { admitted, server_full, client_full };

inline constexpr std::size_t refusals_per_loop = 64;  // connections over the limit that are told so at once; more: cut

struct ServerState {
  ServerState(ServerOptions options, Handler handler, Logger& log);
  ~ServerState();

  const ServerOptions options;
  const Handler handler;
  Logger& log;
  const std::unique_ptr<io::Clock> clock;
  std::atomic<std::uint64_t> accepted = 0;
  std::atomic<std::uint64_t> refused = 0;
  std::atomic<std::uint64_t> refused_clients = 0;
  std::mutex tls_lock;
  std::shared_ptr<TlsContext> tls;  // under tls_lock; null: plain
  std::vector<std::unique_ptr<LoopState>> loops;

  std::shared_ptr<TlsContext> current_tls();
  std::size_t open_connections() const;
  // Decides about a new connection; what is not admitted is counted, and logged now and then. `client`: its network.
  Admission admit(const std::string& client);
  // An admitted connection has ended.
  void leave(const std::string& client);

 private:
  void log_refusals(Admission why, const std::string& client, std::uint64_t count);

  std::mutex clients_lock_;  // taken once at each end of a connection
  Shares clients_;           // connections that are open
  io::LogPace server_full_pace_;
  io::LogPace client_full_pace_;
};

// Thread rule: its loop's thread only, but for `open`.
class LoopState final : public Pulse {
 public:
  LoopState(ServerState& server, io::asio::Loop& loop, io::Executor& executor);

  ServerState& server;
  io::TaskScope acceptors;
  io::TaskScope connections;
  std::atomic<std::size_t> open = 0;  // connections handed to this loop and not ended, without refusals
  std::size_t refusals = 0;           // refused ones that are still being told
  bool draining = false;

  using Sessions = std::list<Session*>;
  Sessions::iterator enter_session(Session& session) { return sessions_.insert(sessions_.end(), &session); }
  void leave_session(Sessions::iterator member) { sessions_.erase(member); }
  // Wakes the idle connections, so that they notice `draining`.
  void wake_idle();

  // The value of the Date field, made once per second.
  std::string_view date();

 private:
  Sessions sessions_;
  std::int64_t date_second_ = -1;
  std::string date_;
};

}  // namespace hansa::http
