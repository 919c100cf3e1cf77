// Which member sends a blob's bytes to a client (choose_source of the design). Pure functions.
//
// The least loaded member sends. Among those whose load differs by less than a few requests, rendezvous hashing
// (highest random weight) of what is wanted decides, so that without load the same bytes come from the same member's
// page cache.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "io/peer_network.h"
#include "oci/digest.h"

namespace hansa::cluster {

// Blobs (or parts of them) below this are answered in place: a redirect costs a round trip, often a connection.
inline constexpr std::uint64_t redirect_least = 1024 * 1024;  // bytes
// Ranges of a large blob spread over members by this grid, so that one that is fetched in parts does too.
inline constexpr std::uint64_t range_bucket = 16ULL * 1024 * 1024;  // bytes
// A load that is higher by so many requests of the present size is the same load.
inline constexpr std::uint64_t load_slack = 2;

struct Source {
  io::NodeId id;
  std::uint64_t load = 0;  // bytes that it was asked to send lately, and sends
};

// What is wanted, for rendezvous hashing: the digest and the bucket in which `offset` lies.
std::string source_key(const oci::Digest& digest, std::uint64_t offset);

// The index of the one that sends `bytes` for this key; nullopt: there are none.
std::optional<std::size_t> choose_source(std::span<const Source> sources, std::string_view key, std::uint64_t bytes);

// Whether a client may be sent to that address: http(s)://host[:port], and no plain HTTP for one that came over TLS.
// Private and loopback addresses written as numbers are not redirected to: clients refuse that (go-containerregistry),
// since a server could make them fetch what lies in their own network. Name such members by `cluster.node.url`.
bool may_redirect_to(std::string_view url, bool secure);

}  // namespace hansa::cluster
