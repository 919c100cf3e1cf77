// For tests: certificates in a temporary folder. Not part of the room's library.
#pragma once

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "http/server.h"

namespace hansa::http::test {

struct Free {
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
  void operator()(SSL* p) const { SSL_free(p); }
  void operator()(BIO* p) const { BIO_free(p); }
};
using Key = std::unique_ptr<EVP_PKEY, Free>;
using Certificate = std::unique_ptr<X509, Free>;

// A self-signed certificate, which is also its own authority.
struct Identity {
  Key key{EVP_EC_gen("P-256")};
  Certificate certificate{X509_new()};

  explicit Identity(const std::string& name) {
    constexpr long one_day = 24L * 3600;
    X509_set_version(certificate.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -one_day);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), one_day);
    X509_NAME* subject = X509_get_subject_name(certificate.get());
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1,
                               -1, 0);
    X509_set_issuer_name(certificate.get(), subject);
    X509_set_pubkey(certificate.get(), key.get());
    X509_sign(certificate.get(), key.get(), EVP_sha256());
  }
  // SHA-256 of the certificate.
  std::string fingerprint() const {
    std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
    unsigned length = 0;
    X509_digest(certificate.get(), EVP_sha256(), hash.data(), &length);
    return hex_encode({reinterpret_cast<const std::byte*>(hash.data()), length});
  }
  void write(const std::string& certificate_path, const std::string& key_path) const {
    const std::unique_ptr<BIO, Free> certificate_file(BIO_new_file(certificate_path.c_str(), "w"));
    PEM_write_bio_X509(certificate_file.get(), certificate.get());
    const std::unique_ptr<BIO, Free> key_file(BIO_new_file(key_path.c_str(), "w"));
    PEM_write_bio_PrivateKey(key_file.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  }
};

struct Folder {
  Folder() {
    char name[] = "/tmp/hansa_tls_XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Folder() {
    for (const char* file : {"cert.pem", "key.pem", "alice.pem", "alice.key", "other.key", "content"}) {
      ::unlink((path + "/" + file).c_str());
    }
    ::rmdir(path.c_str());
  }
  std::string operator/(const std::string& file) const { return path + "/" + file; }
  std::string path;
};

struct TlsFolder {
  Folder folder;
  Identity identity{"first.example"};
  TlsFiles files{folder / "cert.pem", folder / "key.pem", ""};

  TlsFolder() { identity.write(files.certificate, files.key); }
};

}  // namespace hansa::http::test
