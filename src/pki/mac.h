// HMAC-SHA256 (RFC 2104) for tokens that a client carries and must not be able to make.
#pragma once

#include <string>
#include <string_view>

namespace hansa::pki {

// The whole 32 bytes as lower-case hexadecimal.
std::string hmac_sha256_hex(std::string_view key, std::string_view message);

// Compares in a time that depends on the lengths only.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace hansa::pki
