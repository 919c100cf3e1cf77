// Socket: a non-blocking descriptor and the wait for its readiness on an event loop. System calls are the caller's: try
// first, wait after EAGAIN. One wait at a time. Thread rule: the loop's thread only.
//
//   const Wake wake = co_await socket.wait(Ready::read, deadline);
#pragma once

#include <coroutine>
#include <cstdint>
#include <limits>
#include <memory>

#include "io/asio/event_loops.h"
#include "io/context.h"

namespace hansa::http {

// Coarse time of one loop, in steps of its sweep (loop_state.h). Comparing it costs no clock call and no timer.
using Tick = std::uint64_t;
inline constexpr Tick no_deadline = std::numeric_limits<Tick>::max();

enum class Ready : std::uint8_t { read, write };
enum class Wake : std::uint8_t { ready, timeout, cancelled };

class Socket {
 public:
  // Takes the descriptor over; it is closed with the Socket.
  Socket(io::asio::Loop& loop, int descriptor);
  ~Socket();  // no wait is under way
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int descriptor() const { return descriptor_; }

  class Wait;
  // Ends early once the loop's tick has passed `deadline`, or with `cancelled` when the task is cancelled.
  Wait wait(Ready direction, Tick deadline);

  bool waiting() const { return wait_ != nullptr; }
  // The wait under way, if any, ends with `why` (unless the socket has just become ready).
  void interrupt(Wake why);
  // Called by the loop's sweep.
  void expire(Tick now);

 private:
  struct Native;

  int descriptor_;
  Wait* wait_ = nullptr;
  std::unique_ptr<Native> native_;
};

class Socket::Wait final : private io::Waiting {
 public:
  Wait(Socket& socket, Ready direction, Tick deadline) : socket_(socket), direction_(direction), deadline_(deadline) {}
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> self) {
    context_ = self.promise().context;
    if (context_->cancelled()) return false;
    handle_ = self;
    context_->begin_wait(*this);
    start();
    return true;
  }
  Wake await_resume() const noexcept { return result_; }

 private:
  friend class Socket;
  void start();
  void finish(bool ready);
  void cancel_wait() override { socket_.interrupt(Wake::cancelled); }

  Socket& socket_;
  Ready direction_;
  Tick deadline_;
  Wake result_ = Wake::cancelled;
  io::TaskContext* context_ = nullptr;
  std::coroutine_handle<> handle_;
};

inline Socket::Wait Socket::wait(Ready direction, Tick deadline) {
  return Wait(*this, direction, deadline);
}

}  // namespace hansa::http
