// TlsContext: certificate, key and authorities of listeners and clients, as OpenSSL holds them. Immutable once made, so
// connections keep the one they began with while a reload makes the next.
//
// TLS 1.2 and 1.3, forward-secret AEAD ciphers only, ALPN "http/1.1", no renegotiation, no compression. The kernel's
// TLS is used where the kernel has it.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "http/server.h"

struct ssl_ctx_st;
struct ssl_st;

namespace hansa::http {

// What a client trusts and shows.
struct ClientTls {
  std::string ca;           // PEM: who may have signed the server's certificate
  std::string certificate;  // PEM, chain; empty: the client shows none
  std::string key;          // PEM
};

class TlsContext {
 public:
  // Reads the files; blocks. Errors (config): unreadable, no PEM, key does not fit the certificate.
  static Result<std::shared_ptr<TlsContext>> load(const TlsFiles& files);
  // For a client; likewise.
  static Result<std::shared_ptr<TlsContext>> load_client(const ClientTls& files);
  // For a client that knows only the SHA-256 of its server's authority (lower-case hexadecimal, of the DER form):
  // the server must send that authority in its chain. Nothing is asked about the server's name.
  static Result<std::shared_ptr<TlsContext>> pinned_client(const std::string& ca_sha256);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // This side's end of a connection on this descriptor; freed with SSL_free. `identity` (clients): the host name or IP
  // that the server's certificate must be for.
  Result<ssl_st*> open(int descriptor, const std::string& identity = {}) const;

 private:
  TlsContext(ssl_ctx_st* context, bool client) : context_(context), client_(client) {}
  static Result<std::shared_ptr<TlsContext>> make_client();
  ssl_ctx_st* context_;
  bool client_;
  std::string pinned_;  // the SHA-256 as raw bytes; read by OpenSSL's callback
};

// Common name of the verified certificate that the client sent; empty if none.
std::string client_certificate_name(ssl_st* session);

// Parts of loading, for tls.cc and tls_client.cc.
Result<void> harden_tls(ssl_ctx_st* context);
Result<void> check_tls_file(std::string_view what, const std::string& path);
Error bad_tls_file(std::string_view what, const std::string& path, std::string why);
Result<void> use_tls_identity(ssl_ctx_st* context, const std::string& certificate, const std::string& key);

// The oldest entry of this thread's OpenSSL error queue as text; empties the queue.
std::string tls_error();

}  // namespace hansa::http
