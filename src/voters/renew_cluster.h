// A cluster that begins anew on one machine, without those that were in it before: a new nonce, secret and authority.
// Private to this room.
#pragma once

#include "voters/backup.h"

namespace hansa::voters {

// Writes the cluster folder for `nonce`: keys first, cluster.json last. Durable on return.
Result<void> write_new_cluster(io::Disk& disk, io::Clock& clock, io::Random& random, const ClusterPlace& place,
                               const EtcdSettings& settings, const std::string& nonce);

inline constexpr std::size_t nonce_bytes = 16;

}  // namespace hansa::voters
