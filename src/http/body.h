// IncomingBody: the bytes of one message's body, from the socket into the reader's buffer. What the head's read took
// too much is handed out first. See Request::body for its errors. Thread rule: the loop's thread only.
#pragma once

#include "http/channel.h"
#include "http/chunked.h"

namespace hansa::http {

// How the head says that the body is framed.
struct BodyFraming {
  const char* what = "the body";  // in errors
  std::uint64_t length = 0;       // unless chunked or until_close
  bool chunked = false;
  bool until_close = false;       // it ends with the connection
  bool expects_continue = false;  // the first read sends "100 Continue"
};

class IncomingBody final : public io::ByteSource {
 public:
  // `channel` outlives it.
  IncomingBody(Channel& channel, BodyFraming framing);

  io::Task<Result<std::size_t>> read(Bytes out) override;

  // Everything was read, so the next message follows.
  bool finished() const { return !broken_ && left_ == 0 && (!chunked_ || decoder_.finished()); }
  // Could the rest be thrown away within `limit` bytes? For chunked bodies: perhaps.
  bool worth_draining(std::size_t limit) const;
  // Reads and throws away at most `limit` bytes; true: finished.
  io::Task<bool> drain(std::size_t limit);

 private:
  // What can be had without waiting, into `out` from `got` on. `moved`: go on; `end`: the body's end.
  Result<Step> try_read(Bytes out, std::size_t& got);
  Result<Step> try_framing();
  Step take_data(Bytes out);

  Channel& channel_;
  const char* what_;
  bool chunked_;
  bool until_close_;
  bool expects_continue_;
  bool broken_ = false;
  std::uint64_t left_;
  io::Duration patience_;
  ChunkDecoder decoder_;
};

}  // namespace hansa::http
