// Backup, restore and recover of a managed cluster's metadata. Blobs are not in it: a restored catalogue names blobs
// that must be found on the members' disks or in a copy of them.
//
//   <file>        etcd's snapshot, with etcd's own SHA-256 at its end, checked when written and before it is used
//   <file>.json   what it is of: BackupInfo
//
// Restore and recover both make a new cluster: new nonce, secret and authority, so whoever still runs from before is
// refused, by the peers and by etcd (H2d, H3). They can be run again after a crash.
//
// backup and recover suspend; restore blocks: use it from a pool or at start-up.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/random.h"
#include "io/task.h"
#include "meta/etcd/channel.h"
#include "voters/process.h"

namespace hansa::voters {

inline constexpr io::Duration snapshot_deadline = std::chrono::minutes(10);
inline constexpr io::Duration recover_patience = std::chrono::seconds(60);  // for etcd to answer alone

struct BackupInfo {
  std::string cluster;          // nonce of the cluster that it is of
  meta::Revision revision = 0;  // everything up to it is in the snapshot, perhaps more
  std::string head;             // value of the key `head` at that revision; empty: none
  std::uint64_t size = 0;       // of the snapshot, bytes
  std::string version;          // of the etcd that made it
  std::int64_t wall_ms = 0;     // for people only
};
std::string encode(const BackupInfo& info);
Result<BackupInfo> decode_backup(std::string_view text);  // corrupt(file)

// Writes <file> and <file>.json; the latter last, so that a backup with it is whole. `prefix`: of every key.
struct BackupSource {
  std::shared_ptr<meta::etcd::Channel> channel;
  std::shared_ptr<meta::etcd::MaintenanceChannel> maintenance;
  std::string prefix = "hansa/";
  std::string cluster;
};
io::Task<Result<BackupInfo>> backup(io::Disk& disk, io::Clock& clock, BackupSource source, std::string file);

// Whether the snapshot is whole: corrupt(file) if its checksum does not fit.
Result<void> check_snapshot(io::Disk& disk, const std::string& file);

struct ClusterPlace {  // the machine on which a cluster begins anew
  std::string root;
  std::string node;
  std::string disk;                // nonce of its disk
  std::vector<std::string> hosts;  // for its certificate
};
struct NewCluster {
  std::string cluster;             // its nonce
  std::vector<std::string> notes;  // what the operator must know and do, a line each
};

// A bare root becomes the first member of a new cluster with the backup's metadata; etcd is not started. `tool`:
// etcdutl, or etcdctl before 3.6. exists: the root or the data folder is in use. corrupt(file): the backup.
Result<NewCluster> restore(io::Disk& disk, io::Clock& clock, io::Random& random, ClusterPlace place,
                           EtcdSettings settings, std::string tool, std::string file);

// On a voter that survived the loss of the quorum: its data becomes a cluster of one. `say` gets a line per step.
// precondition: this machine has no data of its own to go on from.
struct RecoverPorts {
  io::Disk& disk;
  io::Clock& clock;
  io::Random& random;
  meta::etcd::MaintenanceFactory channels;
  std::function<void(const std::string&)> say;
};
io::Task<Result<NewCluster>> recover(RecoverPorts ports, ClusterPlace place, EtcdSettings settings);

}  // namespace hansa::voters
