#include "auth/basic.h"

#include <algorithm>
#include <optional>

#include "auth/htpasswd.h"

namespace hansa::auth {
namespace {

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

std::optional<std::string> base64_decode(std::string_view text) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  unsigned held = 0;
  unsigned bits = 0;
  for (const char c : text) {
    const int value = base64_value(c);
    if (value < 0) return std::nullopt;
    held = (held << 6U | static_cast<unsigned>(value)) & 0xFFFFU;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out += static_cast<char>(held >> bits & 0xFFU);
    }
  }
  return out;
}

Error refused(std::string_view why) {
  return make_error(ErrorCode::unauthenticated, Subject::request, std::string(why));
}

}  // namespace

Result<UserPassword> parse_basic(std::string_view field) {
  if (field.size() > max_authorization) return refused("the Authorization field is too long");
  constexpr std::string_view scheme = "basic";
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  const bool basic = field.size() > scheme.size() && field[scheme.size()] == ' ' &&
                     std::ranges::equal(field.substr(0, scheme.size()), scheme, {}, lower);
  if (!basic) return refused("only the Basic scheme of authentication is known here");
  field.remove_prefix(scheme.size());
  while (field.starts_with(' ')) field.remove_prefix(1);
  while (field.ends_with(' ')) field.remove_suffix(1);
  const auto plain = base64_decode(field);
  if (!plain) return refused("the Authorization field is not valid base64");
  const std::size_t colon = plain->find(':');
  if (colon == std::string::npos) return refused("the Authorization field holds no \"user:password\"");
  UserPassword result{plain->substr(0, colon), plain->substr(colon + 1)};
  if (result.user.size() > max_user || result.password.size() > max_password) {
    return refused("the user's name or the password is too long");
  }
  return result;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    const auto code = static_cast<unsigned char>(c);
    out += code < 0x20 || code == 0x7F ? ' ' : c;
  }
  return out + '"';
}

}  // namespace hansa::auth
