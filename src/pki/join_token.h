// Join URLs: hansa://HOST:PEERPORT/#<token>, printed by a member and given to `hansa serve --join`. The token says by
// its fingerprint which authority the member must show, and until when it lets a machine in; a MAC under the cluster's
// secret keeps it from being made up. Raising the cluster's token generation voids all that were made before.
//
//   <generation>.<expiry, seconds since 1970>.<sha256 of the authority>.<MAC>
//
// Expiry reads the wall clock: tokens are an exception to P10.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "io/time.h"

namespace hansa::pki {

inline constexpr io::Duration join_token_life = std::chrono::hours(24);
inline constexpr std::size_t max_join_url = 1024;  // bytes

struct JoinUrl {
  std::string address;      // "host:port" of a member's peer listener
  std::string fingerprint;  // of the cluster's authority, 64 hexadecimal digits
  std::string token;
};

// `secret` and `fingerprint` as in the cluster folder; REQUIRES: they are not empty.
std::string make_join_token(std::string_view secret, std::string_view fingerprint, std::uint64_t generation,
                            io::WallTime expiry);
std::string join_url(std::string_view address, std::string_view token);

// invalid(config): it is no join URL, with what it should look like. Proves nothing about the token.
Result<JoinUrl> parse_join_url(std::string_view url);

// denied: made up, for another cluster, of an older generation, or expired; the message says which, but for what
// cannot be told apart.
Result<void> check_join_token(std::string_view token, std::string_view secret, std::string_view fingerprint,
                              std::uint64_t generation, io::WallTime now);

}  // namespace hansa::pki
