// Pulse: what the connections of one event loop share, of a server or of a client: idle time-outs and input buffers.
// One timer per loop, which runs only while there are connections, sweeps over their waits. Thread rule: its loop's
// thread only, also for the end of its life (unless the loops have stopped).
#pragma once

#include <list>
#include <memory>
#include <vector>

#include "http/server.h"
#include "http/socket.h"
#include "io/asio/event_loops.h"
#include "io/traffic.h"

namespace hansa::http {

inline constexpr std::size_t input_buffer_bytes = 8 * 1024;  // heads are read into this; lent only while bytes come
inline constexpr std::size_t pooled_buffers = 64;            // kept per loop

using Buffer = std::unique_ptr<std::byte[]>;

class Pulse {
 public:
  // `limits` and `traffic` (null: bytes are not counted) outlive it.
  Pulse(io::asio::Loop& loop, io::Executor& executor, const Limits& limits, io::Traffic* traffic);
  virtual ~Pulse() = default;
  Pulse(const Pulse&) = delete;
  Pulse& operator=(const Pulse&) = delete;

  io::asio::Loop& loop;
  io::Executor& executor;
  const Limits& limits;

  using Members = std::list<Socket*>;
  Members::iterator enter(Socket& socket);
  void leave(Members::iterator member) { members_.erase(member); }
  // The tick after which `limit` has surely passed.
  Tick deadline(io::Duration limit) const;
  Tick now() const { return tick_; }
  void stop_sweeping();

  // Bytes of bodies that have moved.
  void count_sent(std::uint64_t bytes) const {
    if (traffic_ != nullptr) traffic_->add_sent(bytes);
  }
  void count_received(std::uint64_t bytes) const {
    if (traffic_ != nullptr) traffic_->add_received(bytes);
  }

  Buffer take_buffer();  // of input_buffer_bytes
  void give_buffer(Buffer buffer);

 private:
  // After each sweep; may close connections.
  virtual void swept() {}
  void start_timer();
  void sweep();

  io::Traffic* const traffic_;
  io::Duration step_;
  Tick tick_ = 0;
  io::TimerId timer_ = 0;
  bool sweeping_ = false;
  Members members_;
  std::vector<Buffer> buffers_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // a timer that outlives the pulse does nothing
};

}  // namespace hansa::http
