#include "cluster/choose.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace hansa::cluster {
namespace {

// FNV-1a with a finisher (SplitMix64): rendezvous hashing asks for even weights, not for secrecy.
std::uint64_t weight_of(std::string_view key, std::string_view id) {
  std::uint64_t hash = 0xcbf29ce484222325;
  const auto mix = [&hash](std::string_view text) {
    for (const char c : text) {
      hash ^= static_cast<unsigned char>(c);
      hash *= 0x100000001b3;
    }
    hash ^= 0xff;
    hash *= 0x100000001b3;
  };
  mix(key);
  mix(id);
  hash ^= hash >> 30;
  hash *= 0xbf58476d1ce4e5b9;
  hash ^= hash >> 27;
  hash *= 0x94d049bb133111eb;
  return hash ^ (hash >> 31);
}

// The four numbers of an IPv4 address; nullopt: it is a name.
std::optional<std::array<unsigned, 4>> parse_ipv4(std::string_view host) {
  std::array<unsigned, 4> out{};
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto dot = host.find('.');
    const std::string_view part = host.substr(0, dot);
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), out[i]);
    if (error != std::errc() || end != part.data() + part.size() || part.empty() || out[i] > 255) return std::nullopt;
    const bool last = i + 1 == out.size();
    if (last != (dot == std::string_view::npos)) return std::nullopt;
    host = last ? std::string_view() : host.substr(dot + 1);
  }
  return out;
}

bool is_private(std::string_view host) {
  // Whatever IPv6 address stands there: literal ones are rare, and refusing costs a detour only.
  if (host.starts_with('[')) return true;
  const auto address = parse_ipv4(host);
  if (!address) return false;
  const auto [a, b, c, d] = *address;
  return a == 0 || a == 10 || a == 127 || (a == 172 && b >= 16 && b < 32) || (a == 192 && b == 168) ||
         (a == 169 && b == 254) || (a == 100 && b >= 64 && b < 128);
}

}  // namespace

std::string source_key(const oci::Digest& digest, std::uint64_t offset) {
  return digest.text() + ":" + std::to_string(offset / range_bucket);
}

std::optional<std::size_t> choose_source(std::span<const Source> sources, std::string_view key, std::uint64_t bytes) {
  if (sources.empty()) return std::nullopt;
  const auto least = std::ranges::min_element(sources, {}, &Source::load)->load;
  const std::uint64_t slack =
      bytes > std::numeric_limits<std::uint64_t>::max() / load_slack ? bytes : bytes * load_slack;
  std::optional<std::size_t> best;
  std::uint64_t heaviest = 0;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (sources[i].load - least >= slack && sources[i].load != least) continue;
    const std::uint64_t weight = weight_of(key, sources[i].id.value());
    if (best && weight <= heaviest) continue;
    best = i;
    heaviest = weight;
  }
  return best;
}

bool may_redirect_to(std::string_view url, bool secure) {
  constexpr std::string_view plain = "http://";
  constexpr std::string_view tls = "https://";
  const bool is_tls = url.starts_with(tls);
  if (!is_tls && (secure || !url.starts_with(plain))) return false;
  std::string_view host = url.substr(is_tls ? tls.size() : plain.size());
  host = host.substr(0, host.find('/'));
  if (!host.starts_with('[')) host = host.substr(0, host.find(':'));
  return !host.empty() && !is_private(host);
}

}  // namespace hansa::cluster
