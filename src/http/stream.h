// Stream: the bytes of one connection, plain or TLS, without waiting. Each call does what can be done now and says what
// to wait for. Thread rule: the loop's thread only.
#pragma once

#include <sys/uio.h>

#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "http/socket.h"
#include "http/tls.h"

namespace hansa::http {

struct Step {
  enum class Kind : std::uint8_t {
    moved,       // `bytes` were moved, at least one
    want_read,   // nothing now: wait until readable
    want_write,  // nothing now: wait until writable
    end,         // the peer has closed its side (or the file is shorter than thought)
    failed,      // the connection is broken; `error` says how
  };
  Kind kind = Kind::failed;
  std::size_t bytes = 0;
  int error = 0;  // errno; 0: TLS

  bool would_block() const { return kind == Kind::want_read || kind == Kind::want_write; }
};

class Stream {
 public:
  Stream(io::asio::Loop& loop, int descriptor) : socket_(loop, descriptor) {}
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Socket& socket() { return socket_; }
  bool tls() const { return session_ != nullptr; }
  // `identity`: see TlsContext::open.
  Result<void> start_tls(std::shared_ptr<TlsContext> context, const std::string& identity = {});
  Step handshake();  // moved: done
  std::string certificate_name() const;
  // Why the other side's certificate was not accepted; empty: it was, or there is no TLS.
  std::string verify_failure() const;
  // The first byte that waits in the kernel, not taken: tells TLS from plain text. `moved` or else.
  Step peek(std::byte& first);

  Step read(Bytes out);
  // Writes from the front of `parts`; may be partial. `more`: other bytes follow at once (fewer small packets).
  Step write(std::span<const iovec> parts, bool more);
  bool can_send_file() const;
  Step send_file(int file, std::uint64_t offset, std::size_t length);

  // Says goodbye: no more bytes will be written.
  void shutdown();
  // The close to come resets the connection: the client must not take what it has for the whole.
  void abort();
  // Throws received bytes away unseen (and, with TLS, undecrypted).
  Step discard();

 private:
  Step tls_step(int result);

  Socket socket_;
  std::shared_ptr<TlsContext> context_;
  ssl_st* session_ = nullptr;
  bool broken_ = false;  // no goodbye after a TLS error
};

}  // namespace hansa::http
