#include "registry/ticket.h"

#include <charconv>

#include "pki/mac.h"

namespace hansa::registry {
namespace {

constexpr int hexadecimal = 16;

std::string number_text(std::int64_t number) {
  char text[20];
  const auto [end, error] = std::to_chars(std::begin(text), std::end(text), number, hexadecimal);
  return std::string(std::begin(text), end);
}

// No part holds a line break, so parts cannot be shifted into each other.
std::string mac_of(std::string_view secret, std::string_view expiry, const oci::RepositoryName& repository,
                   const oci::Digest& digest) {
  return pki::hmac_sha256_hex(secret,
                              "hansa ticket\n" + repository.text() + "\n" + digest.text() + "\n" + std::string(expiry));
}

std::int64_t seconds_of(io::WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

Error refused(std::string_view why) {
  return make_error(
      ErrorCode::denied, Subject::blob,
      "the ticket of this redirect " + std::string(why) + "; ask the node again that gave it, with your credentials");
}

}  // namespace

std::string make_ticket(std::string_view secret, const oci::RepositoryName& repository, const oci::Digest& digest,
                        io::WallTime now) {
  const std::string expiry = number_text(seconds_of(now + ticket_life));
  return expiry + "." + mac_of(secret, expiry, repository, digest);
}

Result<void> check_ticket(std::string_view secret, std::string_view ticket, const oci::RepositoryName& repository,
                          const oci::Digest& digest, io::WallTime now) {
  const auto dot = ticket.find('.');
  if (dot == std::string_view::npos) return refused("is malformed");
  const std::string_view expiry = ticket.substr(0, dot);
  // The MAC first: what it does not vouch for says nothing.
  if (!pki::equal_in_constant_time(mac_of(secret, expiry, repository, digest), ticket.substr(dot + 1))) {
    return refused("is not for this blob");
  }
  std::int64_t until = 0;
  const auto [end, error] = std::from_chars(expiry.data(), expiry.data() + expiry.size(), until, hexadecimal);
  if (error != std::errc() || end != expiry.data() + expiry.size()) return refused("is malformed");
  const std::int64_t left = until - seconds_of(now);
  if (left < 0) return refused("has expired");
  if (std::chrono::seconds(left) > longest_ticket) return refused("is of a clock that is far ahead");
  return {};
}

}  // namespace hansa::registry
