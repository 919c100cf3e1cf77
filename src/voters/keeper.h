// ManagedEtcd: the etcd that Hansa keeps for its cluster. On every member: runs this machine's voter, if it is one, and
// asks for a seat, if it may be. On the one that leads the task "etcd": carries out the planner's next step.
//
// A voter whose data is missing, of another disk or of another cluster never starts etcd (H3): what is there is put
// aside and a new seat is asked for; so does one that the others removed, and one that an old copy of the disk brought
// back (fence.h; process.h, forgot_entries). etcd goes on when Hansa stops. A machine whose address changed is the same
// voter: etcd is started anew there and the others are told.
//
// Thread rule: the node's executor. What is given outlives it.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "catalog/catalog.h"
#include "io/random.h"
#include "io/scope.h"
#include "meta/etcd/channel.h"
#include "upkeep/task_leader.h"
#include "voters/fence.h"
#include "voters/plan.h"
#include "voters/process.h"

namespace hansa::voters {

inline constexpr io::Duration keeper_interval = std::chrono::milliseconds(500);
inline constexpr io::Duration repair_delay = std::chrono::minutes(10);
inline constexpr io::Duration change_deadline = std::chrono::seconds(5);  // of a change of etcd's members
inline constexpr io::Duration slow_disk = std::chrono::milliseconds(10);  // of a probe: warned of

struct KeeperOptions {
  EtcdSettings etcd;
  std::string node;     // this member's id
  std::string disk;     // nonce of its disk, as disk.json had it before this start
  std::string cluster;  // nonce
  std::size_t voters = 3;
  std::vector<std::string> endpoints;  // client URLs as last known
  io::Duration snapshot_interval{};    // 0: none
  std::size_t snapshots_kept = 24;
  std::string snapshot_folder;
};

class ManagedEtcd {
 public:
  struct Ports {
    io::Disk& disk;
    io::Clock& clock;
    Logger& log;
    meta::etcd::MaintenanceFactory maintenance;
    meta::etcd::ChannelFactory channels;
  };
  ManagedEtcd(Ports ports, KeeperOptions options);

  // Whether open() would start etcd on data that is there: the others are to be asked before. Blocks.
  Result<bool> must_ask();
  // See fence.h. An old copy is not started by open(). conflict: another process is alive as this node.
  io::Task<Result<void>> fence(OwnStart own, std::string prefix);
  // Adopts the etcd that runs, or starts it on the data that is its own. Blocks.
  Result<void> open();
  // The nonce that this start gave the disk: what etcd's data an old copy brought along is nobody's. Before run().
  void set_disk(std::string disk) { options_.disk = std::move(disk); }
  // For the metadata store: this machine's own first, then those known.
  std::vector<meta::etcd::ChannelSettings> endpoints() const;
  // Client URLs, as last learned.
  std::vector<std::string> known() const;

  // Once the node takes part. `tell` hears at each look where etcd is: voters come and go, and a store that knew only
  // those of its start would end with the last of them.
  using Tell = std::function<void(std::vector<meta::etcd::ChannelSettings>)>;
  void run(io::TaskScope& scope, meta::MetadataStore& store, catalog::Catalog& catalog, Tell tell);
  // The node stops: its store and catalogue are not used any more. The loops have ended.
  void forget() { task_.reset(); }
  // This machine's certificate was renewed: channels are opened anew. Any thread.
  void renew_channels() { ++issue_; }
  // Of the last look, as JSON for cluster status; empty before the first.
  std::string status_json() const;
  bool may_stop(const std::string& node) const;
  std::vector<std::string> degraded() const;
  // Nodes without whose voter there would be no quorum.
  std::set<std::string> needed() const;

 private:
  Result<bool> owns_data();
  Result<bool> owns_marker();
  Result<void> start_again();
  meta::etcd::ChannelSettings settings_of(const std::string& url) const;
  io::Task<void> seat_loop();
  io::Task<Result<void>> mind_seat();
  io::Task<Result<bool>> was_removed(EtcdMarker marker);
  io::Task<Result<void>> tell_address(EtcdMarker marker);
  io::Task<Result<void>> ask(const std::optional<Seat>& seat);
  io::Task<Result<void>> sit(Seat seat);
  io::Task<Result<std::string>> initial_cluster(Seat seat);
  io::Task<Result<void>> put_seat(std::string node, SeatRecord record, catalog::Revision mod);
  io::Task<void> lead_loop();
  io::Task<Result<bool>> lead_once();
  VoterStep due_step() const;
  io::Task<Result<void>> look();
  void learn(const meta::etcd::MembersReply& reply);
  io::Task<Result<void>> carry_out(VoterStep step);
  io::Task<Result<void>> defragment(VoterPicture picture, std::uint64_t member);
  io::Task<Result<void>> disarm(meta::etcd::MaintenanceChannel& channel);
  io::Task<Result<meta::etcd::MembersReply>> members();
  Result<std::shared_ptr<meta::etcd::MaintenanceChannel>> maintenance(const meta::etcd::ChannelSettings& settings);
  io::Task<void> snapshot_loop();
  io::Task<Result<void>> snapshot_once();

  Ports p_;
  KeeperOptions options_;
  EtcdProcess process_;
  catalog::Catalog* catalog_ = nullptr;
  std::unique_ptr<upkeep::TaskLeader> task_;
  Tell tell_;
  // To voters as last seen, kept: a connection to each for every look would cost a handshake.
  std::vector<std::pair<meta::etcd::ChannelSettings, std::shared_ptr<meta::etcd::MaintenanceChannel>>> channels_;
  std::shared_ptr<meta::etcd::MaintenanceChannel> answering_;  // it gave the list of members
  std::atomic<std::uint64_t> issue_ = 0;
  std::map<std::string, io::MonotonicTime> dead_since_;      // nodes
  std::map<std::uint64_t, io::MonotonicTime> silent_since_;  // voters
  bool address_told_ = false;
  bool old_copy_ = false;
  std::string failed_last_;  // why the last change did not work
  mutable std::mutex mutex_;
  std::vector<std::string> known_;
  VoterPicture picture_;
  bool looked_ = false;
};

}  // namespace hansa::voters
