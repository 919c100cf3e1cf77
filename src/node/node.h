// Node: one registry node assembled from given ports. Owns the stores, the catalogue, the use cases and the upkeep
// tasks, and their order of start and stop. The server and the simulator run the same Node (nothing here is global, so
// several live in one process).
//
// Thread rule: start() and stop() on the executor's thread; registry() and the rest from any executor's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "base/shares.h"
#include "blob/store.h"
#include "catalog/catalog.h"
#include "cluster/holder.h"
#include "cluster/route.h"
#include "io/clock.h"
#include "io/disk.h"
#include "io/executor.h"
#include "io/peer_network.h"
#include "io/random.h"
#include "io/task.h"
#include "io/traffic.h"
#include "meta/etcd/store.h"
#include "meta/feed.h"
#include "registry/registry.h"
#include "upkeep/retention.h"
#include "upkeep/upkeep.h"

namespace hansa::node {

// Where the members' peer listeners are, as the node knows them: filled by the node, asked by the peer network, which
// is older. Thread-safe.
class PeerDirectory {
 public:
  using Find = std::function<std::optional<std::string>(const io::NodeId&)>;
  void set(Find find) {
    const std::lock_guard guard(mutex_);
    find_ = std::move(find);
  }
  bool is_set() const {
    const std::lock_guard guard(mutex_);
    return find_ != nullptr;
  }
  std::optional<std::string> find(const io::NodeId& id) const {
    const std::lock_guard guard(mutex_);
    return find_ ? find_(id) : std::nullopt;
  }

 private:
  mutable std::mutex mutex_;
  Find find_;
};

// All outlive the node. `executor` runs the background tasks.
struct Ports {
  io::Disk& disk;
  io::Clock& clock;
  io::Random& random;
  io::Executor& executor;
  Logger& log;
  const io::Traffic* traffic = nullptr;  // what the listeners count; null: nobody counts
  // Of a member of a cluster only.
  io::PeerNetwork* peers = nullptr;
  PeerDirectory* directory = nullptr;  // null: the network knows by itself
  meta::etcd::ChannelFactory channels = nullptr;
};

// What the keeper of a managed etcd says of its voters, for status and may-stop.
struct VotersWord {
  std::string json = "{}";
  std::set<std::string> needed;  // nodes without whose voter there would be no quorum
  std::vector<std::string> degraded;
};

// What makes a node a member of a cluster: its metadata is in etcd, its view in <root>/view.db.
struct ClusterOptions {
  std::vector<meta::etcd::ChannelSettings> endpoints;
  std::string prefix = "hansa/";
  std::uint64_t quota = 2 * GiB;  // of etcd, bytes
  std::string url;                // where clients reach this node
  std::string peer;               // where members reach it, host:port
  std::string cluster;            // its nonce, where Hansa keeps etcd; else empty
  std::string secret;             // the same on all members: signs upload sessions
  io::Duration max_staleness = std::chrono::hours(1);
  cluster::Route route = cluster::Route::redirect;
  std::uint64_t fill_rate = 0;                   // bytes a second for copies that nobody waits for; 0: no limit
  std::size_t fills = cluster::default_fills;    // such copies at a time
  std::map<std::string, std::string> rules;      // hashes of the rules that must agree on all members, by name
  std::function<VotersWord()> voters = nullptr;  // null: the etcd is somebody else's
};

struct Options {
  std::string root;  // absolute; made if absent. Holds hansa.db, blobs/, staging/, trash/, disk.json
  bool gc = true;
  io::Duration gc_delay = std::chrono::hours(1);     // grace time; raised to 4 s if smaller
  io::Duration gc_interval = std::chrono::hours(1);  // one cycle
  io::Duration verify_every = std::chrono::hours(24);
  io::Duration untagged_grace{};  // of manifests that nothing holds; 0: as gc_delay
  upkeep::Retention retention = {};
  io::Duration scrub_interval{};                                                 // 0: no periodic scrub
  std::size_t max_uploads = registry::default_uploads;                           // open sessions
  std::size_t max_uploads_per_client = share_of_one(registry::default_uploads);  // of a user or an address; 0: no limit
  std::uint64_t max_upload_bytes = 0;                                            // of open sessions; 0: no limit
  std::uint64_t max_upload_bytes_per_client = 0;                                 // of a user's or an address's
  std::size_t manifest_cache = registry::default_manifest_cache;                 // bytes of bodies kept in memory
  std::size_t history_bytes = meta::default_history_bytes;  // of changes kept in memory for followers
  bool own_metadata_thread = true;                          // false in the simulator
  std::uint64_t reserve = 0;  // bytes of the disk that are kept for a start (node/reserve.h); 0: none
  std::optional<ClusterOptions> cluster;
};

struct Status {
  bool ready = false;
  std::uint64_t uploads = 0;  // open sessions
  registry::UploadRefusals refused_uploads;
  std::uint64_t repositories = 0;
  std::uint64_t manifests = 0;
  std::uint64_t swept_records = 0;  // since the start
  std::uint64_t swept_blobs = 0;    // since the start
  std::uint64_t expired_tags = 0;   // by retention, since the start
  std::uint64_t corrupt_blobs = 0;
  std::uint64_t disk_total = 0;                     // bytes
  std::uint64_t disk_available = 0;                 // bytes
  std::optional<meta::etcd::StoreHealth> metadata;  // of a member of a cluster
  std::uint64_t view_differences = 0;               // found between views since the start
  std::uint64_t members = 1;                        // that are not gone, this one included
  std::uint64_t members_alive = 1;
  std::uint64_t redirects = 0;      // of clients to other members since the start
  cluster::HolderProgress repair;   // of a member of a cluster
  std::uint64_t fetched_blobs = 0;  // from other members since the start
  std::uint64_t fetched_bytes = 0;
};

class Node {
 public:
  virtual ~Node() = default;
  // Locks the root (conflict if another process has it), opens the stores, repairs what a crash left, starts upkeep. A
  // member of a cluster waits for the metadata store as long as it takes; cancel the task to give up.
  static io::Task<Result<std::unique_ptr<Node>>> start(Ports ports, Options options);
  // This node stops soon: the other members send nobody here any more. Everything is still answered.
  virtual void stand_aside() = 0;
  // Ends upkeep, closes the stores. No call of the registry may be under way.
  virtual io::Task<void> stop() = 0;

  virtual registry::Registry& registry() = 0;
  virtual Status status() = 0;
  // Checks every blob's bytes, at most `rate` of them a second (0: as fast as it goes); `progress` after each blob. One
  // at a time: conflict if one is running.
  virtual io::Task<Result<blob::ScrubReport>> scrub(std::function<void(const blob::ScrubReport&)> progress,
                                                    std::uint64_t rate) = 0;
  // The members as JSON (cluster/status.h); a single node is its only member.
  virtual io::Task<Result<std::string>> cluster_status() = 0;
  // The store and the catalogue, for what the server keeps beside the node (voters). Valid until stop().
  virtual meta::MetadataStore& metadata() = 0;
  virtual catalog::Catalog& catalogue() = 0;
  // Where the metadata store of a cluster is now (etcd::Store::set_endpoints). A single node has none.
  virtual void set_metadata_endpoints(std::vector<meta::etcd::ChannelSettings> endpoints) = 0;
  // "drain ID", "forget ID", "may-stop [ID]", "clear-alarm": a sentence for the operator.
  virtual io::Task<Result<std::string>> cluster_operation(std::string verb, std::string id) = 0;
  // One collection cycle now, in addition to the periodic ones.
  virtual io::Task<Result<void>> collect() = 0;
  // What such a cycle would begin with, and the undo of those before: upkeep/upkeep.h.
  virtual io::Task<Result<void>> collect_dry(std::function<void(const std::string&)> tell) = 0;
  virtual io::Task<Result<upkeep::PutBack>> undo_collection(std::optional<oci::RepositoryName> only,
                                                            std::function<void(const std::string&)> tell) = 0;
};

}  // namespace hansa::node
