#include "pki/authority.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/bytes.h"

namespace hansa::pki {
namespace {

constexpr int serial_bytes = 16;
constexpr std::int64_t renew_fraction = 3;  // renewed when 1/3 of the life is left

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Deleter<GENERAL_NAMES_free>>;
using Number = std::unique_ptr<BIGNUM, Deleter<BN_free>>;

Error failed(std::string_view what) {
  const unsigned long code = ERR_get_error();
  std::array<char, 256> text{};
  ERR_error_string_n(code, text.data(), text.size());
  ERR_clear_error();
  return make_error(ErrorCode::internal, std::string(what) + ": " + (code != 0 ? text.data() : "OpenSSL refused"));
}

Bio reader(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}
std::string written(const Bio& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

Result<Certificate> parse_certificate(const std::string& pem) {
  Certificate out(PEM_read_bio_X509(reader(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!out) return make_error(ErrorCode::corrupt, Subject::file, "this is no PEM certificate");
  return out;
}
Result<Key> parse_key(const std::string& pem) {
  Key out(PEM_read_bio_PrivateKey(reader(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!out) return make_error(ErrorCode::invalid, "this is no private key in PEM");
  return out;
}
Result<Key> parse_public_key(const std::string& pem) {
  Key out(PEM_read_bio_PUBKEY(reader(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!out) return make_error(ErrorCode::invalid, "this is no public key in PEM");
  return out;
}

Result<Key> new_key() {
  Key out(EVP_EC_gen("P-256"));
  if (!out) return failed("making a key");
  return out;
}
Result<std::string> text_of(const Key& key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return failed("writing a key");
  }
  return written(bio);
}
Result<std::string> text_of(const Certificate& certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(bio.get(), certificate.get()) != 1) return failed("writing a certificate");
  return written(bio);
}

std::time_t seconds(io::WallTime time) {
  return static_cast<std::time_t>(std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count());
}

Result<void> add_extension(X509* certificate, X509* issuer, int id, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, id, value));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) return failed("making a certificate");
  return {};
}

// Serial number, names, validity and key; extensions and signature are the caller's.
Result<Certificate> begin_certificate(const std::string& common_name, EVP_PKEY* key, io::WallTime now,
                                      io::Duration life) {
  Certificate out(X509_new());
  std::array<unsigned char, serial_bytes> serial{};
  if (!out || RAND_bytes(serial.data(), serial_bytes) != 1) return failed("making a certificate");
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7F) | 0x40);  // positive and of full length
  const Number number(BN_bin2bn(serial.data(), serial_bytes, nullptr));
  const auto from = seconds(now - clock_skew);
  const auto until = seconds(now + life);
  X509_NAME* name = X509_get_subject_name(out.get());
  const bool made =
      number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(out.get())) != nullptr &&
      X509_set_version(out.get(), X509_VERSION_3) == 1 && ASN1_TIME_set(X509_getm_notBefore(out.get()), from) &&
      ASN1_TIME_set(X509_getm_notAfter(out.get()), until) &&
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(common_name.data()),
                                 static_cast<int>(common_name.size()), -1, 0) == 1 &&
      X509_set_pubkey(out.get(), key) == 1;
  if (!made) return failed("making a certificate");
  return out;
}

Result<void> add_name(GENERAL_NAMES* names, const std::string& text) {
  if (text.empty() || text.find_first_of(" ,;/\n") != std::string::npos || text.find('\0') != std::string::npos) {
    return make_error(ErrorCode::invalid, "\"" + text + "\" is neither a host name nor an IP address");
  }
  GENERAL_NAME* name = GENERAL_NAME_new();
  if (ASN1_OCTET_STRING* address = a2i_IPADDRESS(text.c_str()); address != nullptr) {
    GENERAL_NAME_set0_value(name, GEN_IPADD, address);
  } else {
    ERR_clear_error();
    ASN1_IA5STRING* host = ASN1_IA5STRING_new();
    ASN1_STRING_set(host, text.data(), static_cast<int>(text.size()));
    GENERAL_NAME_set0_value(name, GEN_DNS, host);
  }
  sk_GENERAL_NAME_push(names, name);
  return {};
}

Result<void> add_names(X509* certificate, const CertificateSubject& subject) {
  const Names names(GENERAL_NAMES_new());
  HANSA_CHECK(add_name(names.get(), subject.node + std::string(node_suffix)));
  for (const auto& host : subject.hosts) HANSA_CHECK(add_name(names.get(), host));
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, 0) != 1) return failed("naming a member");
  return {};
}

io::WallTime wall_of(const ASN1_TIME* time) {
  std::tm parts{};
  ASN1_TIME_to_tm(time, &parts);
  const std::chrono::sys_days day = std::chrono::year(parts.tm_year + 1900) /
                                    std::chrono::month(static_cast<unsigned>(parts.tm_mon + 1)) /
                                    std::chrono::day(static_cast<unsigned>(parts.tm_mday));
  return day + std::chrono::hours(parts.tm_hour) + std::chrono::minutes(parts.tm_min) +
         std::chrono::seconds(parts.tm_sec);
}

std::vector<std::string> names_of(const Certificate& certificate) {
  std::vector<std::string> out;
  const Names names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    const Bio bio(BIO_new(BIO_s_mem()));
    GENERAL_NAME_print(bio.get(), const_cast<GENERAL_NAME*>(name));
    const std::string text = written(bio);  // "DNS:..." or "IP Address:..."
    out.push_back(text.substr(text.find(':') + 1));
  }
  return out;
}

}  // namespace

Result<std::string> make_key() {
  HANSA_TRY(const Key key, new_key());
  return text_of(key);
}

Result<std::string> public_key_of(const std::string& pem) {
  HANSA_TRY(const Key key, parse_key(pem));
  const Bio bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PUBKEY(bio.get(), key.get()) != 1) return failed("writing a public key");
  return written(bio);
}

Result<Authority> create_authority(io::WallTime now) {
  HANSA_TRY(const Key key, new_key());
  HANSA_TRY(const Certificate made, begin_certificate("Hansa cluster authority", key.get(), now, authority_life));
  X509* raw = made.get();
  if (X509_set_issuer_name(raw, X509_get_subject_name(raw)) != 1) return failed("making an authority");
  HANSA_CHECK(add_extension(raw, raw, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
  HANSA_CHECK(add_extension(raw, raw, NID_key_usage, "critical,keyCertSign,cRLSign"));
  HANSA_CHECK(add_extension(raw, raw, NID_subject_key_identifier, "hash"));
  if (X509_sign(raw, key.get(), EVP_sha256()) == 0) return failed("signing an authority");
  Authority out;
  HANSA_TRY(out.certificate, text_of(made));
  HANSA_TRY(out.key, text_of(key));
  return out;
}

Result<std::string> issue_certificate(const Authority& authority, const CertificateSubject& subject,
                                      const std::string& public_key, io::WallTime now) {
  if (subject.hosts.size() >= max_names) {
    return make_error(ErrorCode::too_many, "a certificate has at most " + std::to_string(max_names) + " names");
  }
  HANSA_TRY(const Certificate issuer, parse_certificate(authority.certificate));
  HANSA_TRY(const Key issuer_key, parse_key(authority.key));
  HANSA_TRY(const Key key, parse_public_key(public_key));
  HANSA_TRY(const Certificate made, begin_certificate(subject.node, key.get(), now, certificate_life));
  X509* raw = made.get();
  if (X509_set_issuer_name(raw, X509_get_subject_name(issuer.get())) != 1) return failed("issuing a certificate");
  HANSA_CHECK(add_extension(raw, issuer.get(), NID_basic_constraints, "critical,CA:FALSE"));
  HANSA_CHECK(add_extension(raw, issuer.get(), NID_key_usage, "critical,digitalSignature"));
  HANSA_CHECK(add_extension(raw, issuer.get(), NID_ext_key_usage, "serverAuth,clientAuth"));
  HANSA_CHECK(add_extension(raw, issuer.get(), NID_subject_key_identifier, "hash"));
  HANSA_CHECK(add_extension(raw, issuer.get(), NID_authority_key_identifier, "keyid"));
  HANSA_CHECK(add_names(raw, subject));
  if (X509_sign(raw, issuer_key.get(), EVP_sha256()) == 0) return failed("signing a certificate");
  HANSA_TRY(const std::string text, text_of(made));
  return text + authority.certificate;
}

Result<CertificateInfo> inspect_certificate(const std::string& pem) {
  HANSA_TRY(const Certificate certificate, parse_certificate(pem));
  return CertificateInfo{.from = wall_of(X509_get0_notBefore(certificate.get())),
                         .until = wall_of(X509_get0_notAfter(certificate.get())),
                         .names = names_of(certificate)};
}

Result<bool> names_all(const std::string& pem, const std::vector<std::string>& hosts) {
  HANSA_TRY(const Certificate certificate, parse_certificate(pem));
  const auto named = [&certificate](const std::string& host) {
    return X509_check_ip_asc(certificate.get(), host.c_str(), 0) == 1 ||
           X509_check_host(certificate.get(), host.data(), host.size(), 0, nullptr) == 1;
  };
  const bool all = std::ranges::all_of(hosts, named);
  ERR_clear_error();
  return all;
}

bool renewal_due(const CertificateInfo& info, io::WallTime now) {
  return now < info.from || info.until - now <= (info.until - info.from) / renew_fraction;
}

Result<std::string> authority_fingerprint(const std::string& pem) {
  HANSA_TRY(const Certificate certificate, parse_certificate(pem));
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned length = 0;
  if (X509_digest(certificate.get(), EVP_sha256(), hash.data(), &length) != 1) return failed("hashing a certificate");
  return hex_encode({reinterpret_cast<const std::byte*>(hash.data()), length});
}

}  // namespace hansa::pki
