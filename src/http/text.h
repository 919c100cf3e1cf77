// Small pure functions on the text of HTTP messages.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hansa::http {

constexpr char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
// 0-15, or -1.
constexpr int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  const char l = lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

// Compares field names and tokens: ASCII letters without case.
bool same_name(std::string_view a, std::string_view b);

// Without spaces and tabs at both ends.
std::string_view trimmed(std::string_view text);

// Is `token` one of the comma-separated elements of a field value?
bool has_token(std::string_view list, std::string_view token);

// A decimal number without sign or spaces that fits; nothing else.
std::optional<std::uint64_t> parse_decimal(std::string_view text);

// "%2f" becomes "/". A broken escape and %00 are ErrorCode::invalid.
Result<std::string> percent_decode(std::string_view text);

// "/v2/a%2Fb" becomes {"v2", "a/b"}. REQUIRES: path begins with '/'.
Result<std::vector<std::string>> split_path(std::string_view path);

// "Tue, 24 Nov 2026 03:25:00 GMT" (RFC 9110, 5.6.7).
std::string http_date(std::int64_t unix_seconds);

// The standard phrase of a status, "Unknown" if there is none.
std::string_view reason_phrase(int status);

}  // namespace hansa::http
