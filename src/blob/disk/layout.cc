#include "blob/disk/layout.h"

#include <algorithm>
#include <charconv>

namespace hansa::blob::disk {

std::string Layout::algorithm_folder(oci::Algorithm algorithm) const {
  return blobs() + "/" + std::string(oci::to_string(algorithm));
}

std::string Layout::folder(const oci::Digest& digest) const {
  return algorithm_folder(digest.algorithm()) + "/" + digest.hex().substr(0, 2);
}

std::string Layout::file(const oci::Digest& digest) const {
  return folder(digest) + "/" + digest.hex();
}

std::string Layout::trashed(const oci::Digest& digest, std::uint64_t tick) const {
  return trash() + "/" + std::to_string(tick) + "-" + std::string(oci::to_string(digest.algorithm())) + "-" +
         digest.hex();
}

std::string Layout::quarantined(const oci::Digest& digest, std::string_view nonce) const {
  return quarantine() + "/" + std::string(oci::to_string(digest.algorithm())) + "-" + digest.hex() + "-" +
         std::string(nonce);
}

std::optional<std::uint64_t> tick_of_trash(std::string_view name) {
  std::uint64_t tick = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), tick);
  if (error != std::errc{} || end == name.data() + name.size() || *end != '-') return std::nullopt;
  return tick;
}

std::optional<oci::Digest> digest_of_trash(std::string_view name) {
  const std::size_t first = name.find('-');
  const std::size_t second = first == std::string_view::npos ? first : name.find('-', first + 1);
  if (second == std::string_view::npos || !tick_of_trash(name)) return std::nullopt;
  std::string text(name.substr(first + 1));
  text[second - first - 1] = ':';
  auto digest = oci::Digest::parse(text);
  if (!digest) return std::nullopt;
  return *std::move(digest);
}

bool is_staging_id(std::string_view id) {
  constexpr std::size_t max_id = 128;
  return !id.empty() && id.size() <= max_id && std::ranges::all_of(id, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

}  // namespace hansa::blob::disk
