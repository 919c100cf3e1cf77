// SharedLooks: what those find who passed one barrier together (meta::Fence::round). When a crowd pulls one tag, the
// first of a round reads the catalogue and the others take what it saw, as if they had looked at that moment: after
// their barrier and before their answer, so that reads stay linearizable. Nothing outlives its round: no commit makes
// anything stale. Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>

#include "catalog/snapshot.h"
#include "oci/name.h"

namespace hansa::registry {

class SharedLooks {
 public:
  // Null for round 0, which nobody shares.
  std::optional<catalog::ManifestState> find(std::uint64_t round, const oci::RepositoryName& repository,
                                             const oci::Reference& reference);
  // From a snapshot that was taken behind the barrier of this round.
  void put(std::uint64_t round, const oci::RepositoryName& repository, const oci::Reference& reference,
           const catalog::ManifestState& state);

 private:
  struct Look {
    std::uint64_t round = 0;
    oci::RepositoryName repository;
    oci::Reference reference;
    catalog::ManifestState state;
  };
  static constexpr std::size_t places = 64;  // by hash, one look in each: only what is hot has to find its place
  Look& place(const oci::RepositoryName& repository, const oci::Reference& reference);

  std::mutex mutex_;
  std::array<Look, places> looks_;
};

}  // namespace hansa::registry
