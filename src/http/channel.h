// Channel: a connection's stream with its input buffer and its idle time-outs. What heads and bodies of both directions
// work on, in the server and in the client. Thread rule: the loop's thread only.
#pragma once

#include <array>
#include <string_view>

#include "http/pulse.h"
#include "http/stream.h"

namespace hansa::http {

class Channel {
 public:
  Channel(Pulse& p, int descriptor) : loop(p), stream(p.loop, descriptor), member_(p.enter(stream.socket())) {}
  ~Channel() {
    release();
    loop.leave(member_);
  }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  Pulse& loop;
  Stream stream;

  const Limits& limits() const { return loop.limits; }
  // REQUIRES: step.would_block().
  Socket::Wait wait(const Step& step, Tick deadline) {
    return stream.socket().wait(step.kind == Step::Kind::want_write ? Ready::write : Ready::read, deadline);
  }

  // Bytes received and not consumed.
  std::string_view input() const { return {reinterpret_cast<const char*>(buffer_.get()) + begin_, end_ - begin_}; }
  void consume(std::size_t bytes);
  bool input_full() const { return end_ - begin_ == capacity_; }
  // Receives into the free part of the buffer, which is taken from the pool if there is none. REQUIRES: !input_full()
  // or no buffer.
  Step fill();
  // A larger buffer, at most `limit` bytes. REQUIRES: that is larger than the present one.
  void grow(std::size_t limit);
  // Gives the buffer back. Buffered bytes are lost.
  void release();

  // Writes all of both parts. A wait longer than the transfer time-out is an error. `what`: see wake_error.
  io::Task<Result<void>> send(ConstBytes first, ConstBytes second, bool more, std::string_view what = "the response");

 private:
  Pulse::Members::iterator member_;
  Buffer buffer_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

// `what` names what was waited for: "the request body", "the response".
Error wake_error(Wake wake, std::string_view what);
Error step_error(const Step& step, std::string_view what);

}  // namespace hansa::http
