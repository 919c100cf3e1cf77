// TlsContext: certificate, key and client authorities of a listener, as OpenSSL holds them. Immutable once made, so
// connections keep the one they began with while a reload makes the next.
//
// TLS 1.2 and 1.3, forward-secret AEAD ciphers only, ALPN "http/1.1", no renegotiation, no compression. The kernel's
// TLS is used where the kernel has it.
#pragma once

#include <memory>

#include "base/result.h"
#include "http/server.h"

struct ssl_ctx_st;
struct ssl_st;

namespace hansa::http {

class TlsContext {
 public:
  // Reads the files; blocks. Errors (config): unreadable, no PEM, key does not fit the certificate.
  static Result<std::shared_ptr<TlsContext>> load(const TlsFiles& files);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // A server's end of a connection on this descriptor; freed with SSL_free.
  Result<ssl_st*> open(int descriptor) const;

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* context_;
};

// Common name of the verified certificate that the client sent; empty if none.
std::string client_certificate_name(ssl_st* session);

// The oldest entry of this thread's OpenSSL error queue as text; empties the queue.
std::string tls_error();

}  // namespace hansa::http
