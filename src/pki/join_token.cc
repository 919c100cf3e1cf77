#include "pki/join_token.h"

#include <charconv>
#include <optional>

#include "pki/mac.h"

namespace hansa::pki {
namespace {

constexpr std::string_view scheme = "hansa://";
constexpr std::size_t digest_digits = 64;

struct Parts {
  std::uint64_t generation = 0;
  std::int64_t expiry = 0;  // seconds
  std::string_view fingerprint;
  std::string_view mac;
};

template <class T>
bool take_number(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

bool is_digest(std::string_view text) {
  return text.size() == digest_digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string_view cut(std::string_view& text) {
  const auto dot = text.find('.');
  const std::string_view out = text.substr(0, dot);
  text = dot == std::string_view::npos ? std::string_view{} : text.substr(dot + 1);
  return out;
}

std::optional<Parts> take_apart(std::string_view token) {
  Parts out;
  if (token.size() > max_join_url) return std::nullopt;
  if (!take_number(cut(token), out.generation) || !take_number(cut(token), out.expiry)) return std::nullopt;
  out.fingerprint = cut(token);
  out.mac = token;
  if (!is_digest(out.fingerprint) || !is_digest(out.mac)) return std::nullopt;
  return out;
}

std::string signed_part(std::uint64_t generation, std::int64_t expiry, std::string_view fingerprint) {
  return std::to_string(generation) + "." + std::to_string(expiry) + "." + std::string(fingerprint);
}

std::string mac_of(std::string_view secret, const std::string& text) {
  return hmac_sha256_hex(secret, "hansa join token\n" + text);
}

Error refused(const std::string& why) {
  return make_error(ErrorCode::denied,
                    "the join token " + why + "; `hansa cluster token` on a member prints one that is good");
}

std::int64_t seconds(io::WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

}  // namespace

std::string make_join_token(std::string_view secret, std::string_view fingerprint, std::uint64_t generation,
                            io::WallTime expiry) {
  const std::string text = signed_part(generation, seconds(expiry), fingerprint);
  return text + "." + mac_of(secret, text);
}

std::string join_url(std::string_view address, std::string_view token) {
  return std::string(scheme) + std::string(address) + "/#" + std::string(token);
}

Result<JoinUrl> parse_join_url(std::string_view url) {
  const auto bad = [](const std::string& why) {
    return make_error(ErrorCode::invalid, Subject::config,
                      "this is no join URL (" + why +
                          "); it looks like hansa://HOST:PORT/#TOKEN, and "
                          "`hansa cluster token` on a member prints it");
  };
  if (url.size() > max_join_url) return bad("it is too long");
  if (!url.starts_with(scheme)) return bad("it does not begin with hansa://");
  url.remove_prefix(scheme.size());
  const auto mark = url.find('#');
  if (mark == std::string_view::npos) return bad("it has no #TOKEN; quote it in a shell");
  std::string_view address = url.substr(0, mark);
  if (address.ends_with('/')) address.remove_suffix(1);
  const auto colon = address.rfind(':');
  unsigned port = 0;
  constexpr unsigned max_port = 65'535;
  if (colon == std::string_view::npos || colon == 0 || !take_number(address.substr(colon + 1), port) || port == 0 ||
      port > max_port || address.find_first_of("/@? ") != std::string_view::npos) {
    return bad("it has no HOST:PORT");
  }
  const std::string_view token = url.substr(mark + 1);
  const auto parts = take_apart(token);
  if (!parts) return bad("its token is cut off or changed");
  return JoinUrl{
      .address = std::string(address), .fingerprint = std::string(parts->fingerprint), .token = std::string(token)};
}

Result<void> check_join_token(std::string_view token, std::string_view secret, std::string_view fingerprint,
                              std::uint64_t generation, io::WallTime now) {
  const auto parts = take_apart(token);
  if (!parts) return refused("is cut off or changed");
  const std::string expected = mac_of(secret, signed_part(parts->generation, parts->expiry, parts->fingerprint));
  if (!equal_in_constant_time(expected, parts->mac)) return refused("is not of this cluster, or was changed");
  if (parts->fingerprint != fingerprint) return refused("is of an authority that this cluster no longer has");
  if (parts->generation != generation) return refused("was revoked");
  if (seconds(now) >= parts->expiry) return refused("has expired");
  return {};
}

}  // namespace hansa::pki
