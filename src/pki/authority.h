// The cluster's certificate authority and the certificates that it issues: EC P-256, SHA-256, PEM. Values in memory;
// files are the cluster folder's (cluster_folder.h). Keys come from OpenSSL's generator, never from io::Random.
//
// A member's certificate serves and calls (server and client usage). It names the hosts and addresses given, and the
// member itself as "<node id>.node.hansa", the name that peers ask for. A chain is the certificate followed by the
// authority's: a machine that joins checks that one by its fingerprint. Wall time decides validity: certificates are
// an exception to P10.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "io/time.h"

namespace hansa::pki {

inline constexpr io::Duration authority_life = std::chrono::hours(24 * 3650);
inline constexpr io::Duration certificate_life = std::chrono::hours(24 * 90);
inline constexpr io::Duration clock_skew = std::chrono::hours(1);  // certificates are valid since so long ago
inline constexpr std::string_view node_suffix = ".node.hansa";
inline constexpr std::size_t max_names = 64;  // of one certificate

struct Authority {
  std::string certificate;  // PEM
  std::string key;          // PEM; whoever has it can issue
};
Result<Authority> create_authority(io::WallTime now);

// A new private key, PEM.
Result<std::string> make_key();
// Its public half, PEM. invalid: no private key.
Result<std::string> public_key_of(const std::string& key);

struct CertificateSubject {
  std::string node;                // id
  std::vector<std::string> hosts;  // names and IP addresses that it is reached by
};
// The chain for the owner of `public_key`. invalid: a name or a key that cannot be used.
Result<std::string> issue_certificate(const Authority& authority, const CertificateSubject& subject,
                                      const std::string& public_key, io::WallTime now);

struct CertificateInfo {
  io::WallTime from;
  io::WallTime until;
  std::vector<std::string> names;  // alternative names, in order
};
// Of the first certificate of a PEM text. corrupt(file): there is none.
Result<CertificateInfo> inspect_certificate(const std::string& pem);
// Whether the first certificate of a PEM text is good for all of these host names and IP addresses. corrupt(file).
Result<bool> names_all(const std::string& pem, const std::vector<std::string>& hosts);
// A third of its life or less is left (or it is not valid yet: the clock was wrong when it was issued).
bool renewal_due(const CertificateInfo& info, io::WallTime now);

// SHA-256 of the authority's certificate (DER), 64 lower-case hexadecimal digits.
Result<std::string> authority_fingerprint(const std::string& pem);

}  // namespace hansa::pki
