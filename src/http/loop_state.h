// What the connections of a server share: per server (ServerState) and per event loop (LoopState).
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "http/server.h"
#include "http/socket.h"
#include "http/tls.h"
#include "io/asio/event_loops.h"
#include "io/scope.h"

namespace hansa::http {

class Session;
class LoopState;

inline constexpr std::size_t input_buffer_bytes = 8 * 1024;  // heads are read into this; lent only while bytes come
inline constexpr std::size_t pooled_buffers = 64;            // kept per loop
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
  std::mutex tls_lock;
  std::shared_ptr<TlsContext> tls;  // under tls_lock; null: plain
  std::vector<std::unique_ptr<LoopState>> loops;

  std::shared_ptr<TlsContext> current_tls();
  std::size_t open_connections() const;
};

using Buffer = std::unique_ptr<std::byte[]>;

// Thread rule: its loop's thread only, but for `open`.
class LoopState {
 public:
  LoopState(ServerState& server, io::asio::Loop& loop, io::Executor& executor);

  ServerState& server;
  io::asio::Loop& loop;
  io::Executor& executor;
  io::TaskScope acceptors;
  io::TaskScope connections;
  std::atomic<std::size_t> open = 0;  // connections handed to this loop and not ended, without refusals
  std::size_t refusals = 0;           // refused ones that are still being told
  bool draining = false;

  // Idle time-outs: one timer per loop, which runs only while there are connections, sweeps over their waits.
  using Members = std::list<Session*>;
  Members::iterator enter(Session& session);
  void leave(Members::iterator member);
  // The tick after which `limit` has surely passed.
  Tick deadline(io::Duration limit) const;
  void stop_sweeping();
  // Wakes the idle connections, so that they notice `draining`.
  void wake_idle();

  Buffer take_buffer();  // of input_buffer_bytes
  void give_buffer(Buffer buffer);

  // The value of the Date field, made once per second.
  std::string_view date();

 private:
  void sweep();

  io::Duration step_;
  Tick tick_ = 0;
  io::TimerId timer_ = 0;
  bool sweeping_ = false;
  Members members_;
  std::vector<Buffer> buffers_;
  std::int64_t date_second_ = -1;
  std::string date_;
};

}  // namespace hansa::http
