// The Authorization field of HTTP's Basic scheme (RFC 7617).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace hansa::auth {

inline constexpr std::size_t max_authorization = 8 * 1024;  // bytes of the field

struct UserPassword {
  std::string user;
  std::string password;
};

// "Basic dXNlcjpwYXNz"; the scheme's name without regard to case. unauthenticated: another scheme, no base64, no ':',
// or over a limit. The message never holds what was sent.
Result<UserPassword> parse_basic(std::string_view field);

// A quoted-string for WWW-Authenticate.
std::string quoted(std::string_view text);

}  // namespace hansa::auth
