#include "registry/mac.h"

#include "oci/digest.h"

namespace hansa::registry {
namespace {
constexpr std::size_t block = 64;  // of SHA-256, bytes

oci::Digest keyed_hash(std::string_view key, char pad, ConstBytes message) {
  std::string start(block, pad);
  for (std::size_t i = 0; i < key.size(); ++i) start[i] = static_cast<char>(start[i] ^ key[i]);
  oci::Hasher hasher(oci::Algorithm::sha256);
  hasher.update(as_bytes(start));
  hasher.update(message);
  return hasher.digest();
}
}  // namespace

std::string hmac_sha256_hex(std::string_view key, std::string_view message) {
  std::string short_key(key);
  if (key.size() > block) {
    short_key = as_text(oci::Digest::compute(oci::Algorithm::sha256, as_bytes(key)).hash());
  }
  const auto inner = keyed_hash(short_key, 0x36, as_bytes(message));
  return keyed_hash(short_key, 0x5c, inner.hash()).hex();
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned>(static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]));
  }
  return difference == 0;
}

}  // namespace hansa::registry
