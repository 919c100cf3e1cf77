#include "http/tls.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace hansa::http {
namespace {

constexpr unsigned char offered_protocols[] = "\x08http/1.1";
constexpr unsigned char session_context[] = "hansa";
constexpr const char* tls12_ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK";

// An encrypted key would make OpenSSL ask on the terminal.
int no_password(char*, int, int, void*) {
  return 0;
}

int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in,
                    unsigned in_length, void*) {
  unsigned char* chosen = nullptr;
  const int result =
      SSL_select_next_proto(&chosen, out_length, offered_protocols, sizeof offered_protocols - 1, in, in_length);
  *out = chosen;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

Result<void> use_files(SSL_CTX* context, const TlsFiles& files) {
  HANSA_CHECK(use_tls_identity(context, files.certificate, files.key));
  if (files.client_ca.empty()) return {};
  HANSA_CHECK(check_tls_file("client CA", files.client_ca));
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(files.client_ca.c_str());
  if (names == nullptr || SSL_CTX_load_verify_file(context, files.client_ca.c_str()) != 1) {
    sk_X509_NAME_pop_free(names, X509_NAME_free);
    return bad_tls_file("client CA", files.client_ca, "holds no PEM certificate that can be used: " + tls_error());
  }
  SSL_CTX_set_client_CA_list(context, names);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);  // a client without a certificate is let in as anonymous
  return {};
}

}  // namespace

Error bad_tls_file(std::string_view what, const std::string& path, std::string why) {
  return make_error(ErrorCode::invalid, Subject::config,
                    "TLS: " + std::string(what) + " " + path + ": " + std::move(why));
}

Result<void> check_tls_file(std::string_view what, const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    return bad_tls_file(what, path, std::string("cannot be read: ") + std::strerror(errno) + "; check path and rights");
  }
  ::close(descriptor);
  return {};
}

Result<void> use_tls_identity(ssl_ctx_st* context, const std::string& certificate, const std::string& key) {
  HANSA_CHECK(check_tls_file("certificate", certificate));
  HANSA_CHECK(check_tls_file("key", key));
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
    return bad_tls_file("certificate", certificate, "holds no PEM certificate that can be used: " + tls_error());
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    const unsigned long error = ERR_peek_last_error();
    if (ERR_GET_LIB(error) == ERR_LIB_X509 && ERR_GET_REASON(error) == X509_R_KEY_VALUES_MISMATCH) {
      ERR_clear_error();
      return bad_tls_file("key", key, "does not belong to the certificate " + certificate);
    }
    return bad_tls_file("key", key, "holds no unencrypted PEM private key that can be used: " + tls_error());
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    ERR_clear_error();
    return bad_tls_file("key", key, "does not belong to the certificate " + certificate);
  }
  return {};
}

Result<void> harden_tls(ssl_ctx_st* context) {
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_PRIORITIZE_CHACHA |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_ENABLE_KTLS);
  // Idle connections give their record buffers back.
  SSL_CTX_set_mode(context,
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_default_passwd_cb(context, no_password);
  SSL_CTX_set_alpn_select_cb(context, choose_protocol, nullptr);
  if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_cipher_list(context, tls12_ciphers) != 1 ||
      SSL_CTX_set_session_id_context(context, session_context, sizeof session_context - 1) != 1) {
    return make_error(ErrorCode::internal, "TLS cannot be set up: " + tls_error());
  }
  return {};
}

std::string tls_error() {
  const unsigned long error = ERR_get_error();
  ERR_clear_error();
  if (error == 0) return "unknown error";
  std::array<char, 256> text{};
  ERR_error_string_n(error, text.data(), text.size());
  return text.data();
}

Result<std::shared_ptr<TlsContext>> TlsContext::load(const TlsFiles& files) {
  SSL_CTX* raw = SSL_CTX_new(TLS_server_method());
  if (raw == nullptr) return make_error(ErrorCode::internal, "TLS cannot be set up: " + tls_error());
  std::shared_ptr<TlsContext> context(new TlsContext(raw, false));
  HANSA_CHECK(harden_tls(raw));
  HANSA_CHECK(use_files(raw, files));
  return context;
}

TlsContext::~TlsContext() {
  SSL_CTX_free(context_);
}

Result<ssl_st*> TlsContext::open(int descriptor, const std::string& identity) const {
  ERR_clear_error();
  SSL* session = SSL_new(context_);
  bool made = session != nullptr && SSL_set_fd(session, descriptor) == 1;
  if (made && client_ && !identity.empty()) {
    // An IP address is compared with the certificate's addresses, everything else with its names.
    X509_VERIFY_PARAM* rules = SSL_get0_param(session);
    if (X509_VERIFY_PARAM_set1_ip_asc(rules, identity.c_str()) != 1) {
      ERR_clear_error();
      made = SSL_set1_host(session, identity.c_str()) == 1 && SSL_set_tlsext_host_name(session, identity.c_str()) == 1;
    }
  }
  if (!made) {
    SSL_free(session);
    return make_error(ErrorCode::internal, "a TLS session cannot be made: " + tls_error());
  }
  if (client_) {
    SSL_set_connect_state(session);
  } else {
    SSL_set_accept_state(session);
  }
  return session;
}

std::string client_certificate_name(ssl_st* session) {
  const X509* certificate = SSL_get0_peer_certificate(session);
  if (certificate == nullptr || SSL_get_verify_result(session) != X509_V_OK) return {};
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index < 0) return {};
  unsigned char* text = nullptr;
  const int length = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
  if (length < 0) return {};
  std::string name(reinterpret_cast<const char*>(text), static_cast<std::size_t>(length));
  OPENSSL_free(text);
  return name;
}

}  // namespace hansa::http
