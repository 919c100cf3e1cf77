// The client's side of tls.h.
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>

#include "http/text.h"
#include "http/tls.h"

namespace hansa::http {
namespace {

constexpr unsigned char wanted_protocols[] = "\x08http/1.1";
constexpr std::size_t sha256_bytes = 32;

std::string fingerprint(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned length = 0;
  if (X509_digest(certificate, EVP_sha256(), hash.data(), &length) != 1) return {};
  return {reinterpret_cast<const char*>(hash.data()), length};
}

// Verifies with the one authority of the sent chain that has the expected fingerprint, and with no other.
int verify_pinned(X509_STORE_CTX* chain, void* expected) {
  const auto& wanted = *static_cast<const std::string*>(expected);
  STACK_OF(X509)* sent = X509_STORE_CTX_get0_untrusted(chain);
  for (int i = 0; i < sk_X509_num(sent); ++i) {
    X509* candidate = sk_X509_value(sent, i);
    if (fingerprint(candidate) != wanted) continue;
    STACK_OF(X509)* trusted = sk_X509_new_null();
    sk_X509_push(trusted, candidate);
    X509_STORE_CTX_set0_trusted_stack(chain, trusted);
    const int result = X509_verify_cert(chain);
    sk_X509_free(trusted);
    return result;
  }
  X509_STORE_CTX_set_error(chain, X509_V_ERR_CERT_UNTRUSTED);
  return 0;
}

}  // namespace

Result<std::shared_ptr<TlsContext>> TlsContext::make_client() {
  SSL_CTX* raw = SSL_CTX_new(TLS_client_method());
  if (raw == nullptr) return make_error(ErrorCode::internal, "TLS cannot be set up: " + tls_error());
  std::shared_ptr<TlsContext> context(new TlsContext(raw, true));
  HANSA_CHECK(harden_tls(raw));
  if (SSL_CTX_set_alpn_protos(raw, wanted_protocols, sizeof wanted_protocols - 1) != 0) {
    return make_error(ErrorCode::internal, "TLS cannot be set up: " + tls_error());
  }
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nullptr);
  return context;
}

Result<std::shared_ptr<TlsContext>> TlsContext::load_client(const ClientTls& files) {
  HANSA_TRY(auto context, make_client());
  HANSA_CHECK(check_tls_file("CA", files.ca));
  if (SSL_CTX_load_verify_file(context->context_, files.ca.c_str()) != 1) {
    return bad_tls_file("CA", files.ca, "holds no PEM certificate that can be used: " + tls_error());
  }
  if (!files.certificate.empty()) HANSA_CHECK(use_tls_identity(context->context_, files.certificate, files.key));
  return context;
}

Result<std::shared_ptr<TlsContext>> TlsContext::pinned_client(const std::string& ca_sha256) {
  HANSA_TRY(auto context, make_client());
  if (ca_sha256.size() != 2 * sha256_bytes) {
    return make_error(ErrorCode::invalid, Subject::config, "the fingerprint of an authority has 64 hexadecimal digits");
  }
  for (std::size_t i = 0; i < ca_sha256.size(); i += 2) {
    const int high = hex_value(ca_sha256[i]);
    const int low = hex_value(ca_sha256[i + 1]);
    if (high < 0 || low < 0) {
      return make_error(ErrorCode::invalid, Subject::config, "the fingerprint of an authority is not hexadecimal");
    }
    context->pinned_ += static_cast<char>(high * 16 + low);
  }
  SSL_CTX_set_cert_verify_callback(context->context_, verify_pinned, &context->pinned_);
  return context;
}

}  // namespace hansa::http
