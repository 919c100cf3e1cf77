// RequestBody: the bytes of one request's body, from the socket into the reader's buffer. What the head's read took too
// much is handed out first. See Request::body for its errors. Thread rule: the loop's thread only.
#pragma once

#include "http/channel.h"
#include "http/chunked.h"
#include "http/head.h"

namespace hansa::http {

class RequestBody final : public io::ByteSource {
 public:
  // `request` and `channel` outlive it.
  RequestBody(Channel& channel, const Request& request, const Head& head);

  io::Task<Result<std::size_t>> read(Bytes out) override;

  // Everything was read, so the next request follows.
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
  bool chunked_;
  bool expects_continue_;
  bool broken_ = false;
  std::uint64_t left_;
  io::Duration patience_;
  ChunkDecoder decoder_;
};

}  // namespace hansa::http
