// Session: one client's connection from the accept to the close. Thread rule: its loop's thread only.
#pragma once

#include "http/body.h"
#include "http/channel.h"
#include "http/head.h"
#include "http/loop_state.h"

namespace hansa::http {

// A request that begins within this time after stop() is still answered on a connection that had none before.
inline constexpr io::Duration drain_grace = std::chrono::seconds(1);
// How long a connection that the server closes may take to notice: without a byte, and in bytes thrown away.
inline constexpr io::Duration linger_timeout = std::chrono::seconds(2);
inline constexpr std::uint64_t linger_bytes = 64 * MiB;

// What the acceptor knows of a new connection.
struct Accepted {
  int descriptor = -1;
  std::string client;
  std::string network;  // that the limit of one client counts
  std::uint16_t port = 0;
  Admission admission = Admission::admitted;  // else it is only told so
};

// The whole life of a connection, to be spawned. Gives back its place in the loop's counts.
io::Task<void> serve_session(LoopState& loop, Accepted accepted);

class Session {
 public:
  Session(LoopState& loop, Accepted accepted);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  io::Task<void> run();
  // The server drains: an idle connection wakes up.
  void drain();

 private:
  enum class End : std::uint8_t {
    close,   // nothing is owed to the client
    linger,  // it may still be sending: let it read the answer first
    cut,     // the answer is incomplete: reset
  };

  // TLS handshake; false: there will be no request.
  io::Task<bool> handshake();
  // Waits for the first byte of the next request; false: there will be none.
  io::Task<bool> await_request();
  // One request and its response; true: another may follow.
  io::Task<bool> exchange();
  io::Task<std::expected<Head, Refusal>> read_head(Request& request);
  io::Task<Response> call_handler(Request& request);
  io::Task<void> refuse(Refusal refusal);
  io::Task<void> linger();

  LoopState& loop_;
  Channel channel_;
  LoopState::Sessions::iterator member_;
  Connection peer_;
  std::uint64_t answered_ = 0;
  std::uint32_t in_a_row_ = 0;  // requests answered without a wait between them
  End end_ = End::close;
  Admission admission_;
  bool idle_ = false;
};

}  // namespace hansa::http
