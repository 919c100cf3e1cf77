// make_registry: the Registry on a catalogue and a blob store, of one node or of a member of a cluster. What is given
// outlives it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/shares.h"
#include "blob/store.h"
#include "catalog/catalog.h"
#include "catalog/pull_counter.h"
#include "cluster/copies.h"
#include "cluster/relay.h"
#include "cluster/sources.h"
#include "io/random.h"
#include "registry/registry.h"

namespace hansa::registry {

// What makes a registry one of several. Everything outlives it.
struct ClusterParts {
  cluster::Copies& copies;
  cluster::Relays& relays;
  io::PeerNetwork& peers;
  const cluster::Membership& members;
  const cluster::Pulses& pulses;
  cluster::Sources& sources;
  std::string node;  // this one's id
};

struct RegistryOptions {
  // For the MACs of upload sessions and of tickets; kept over restarts; the cluster's.
  std::string secret;
  std::size_t max_uploads = default_uploads;  // open sessions
  // Of one user, or of one address where nobody logged in; 0: no limit.
  std::size_t max_uploads_per_client = share_of_one(default_uploads);
  std::uint64_t max_upload_bytes = 0;                   // of all open sessions; 0: no limit but the disk
  std::uint64_t max_upload_bytes_per_client = 0;        // of one user's or address's; the same
  std::size_t manifest_cache = default_manifest_cache;  // bytes of manifest bodies kept in memory
  // How long after the last barrier that passed a member without a quorum still answers from its view, marked (P6).
  io::Duration max_staleness = std::chrono::hours(1);
  catalog::PullCounter* pulls = nullptr;  // told of every manifest that was read; null: nobody counts
};

// A Registry with the powers that the node needs.
class RegistryService : public Registry {
 public:
  virtual io::Task<Result<std::size_t>> expire_uploads() = 0;
  virtual std::size_t open_uploads() const = 0;
  virtual UploadRefusals refused_uploads() const = 0;
  virtual std::uint64_t stale_answers() const = 0;  // since the start, given from the view without a quorum (P6)
  // Registers the verbs manifest.find and upload.*; of a member of a cluster.
  virtual void serve(cluster::PeerDispatch& dispatch) = 0;
};

std::unique_ptr<RegistryService> make_registry(catalog::Catalog& catalog, blob::BlobStore& blobs, io::Random& random,
                                               Logger& log, RegistryOptions options,
                                               std::optional<ClusterParts> cluster = std::nullopt);

}  // namespace hansa::registry
