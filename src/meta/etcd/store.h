// etcd::Store: the MetadataStore of a cluster. Truth is etcd; snapshots are of this node's own view, a SQLite file that
// follows one watch (meta/sqlite/replica.h). The rules, each with a counter-example in the design review:
//
//  - head (H2): every commit puts `<prefix>head`. A barrier is one linearizable read of it (a put on etcd older than
//    3.4.42, 3.5.28, 3.6.9) and passes once the view has applied that version of it. Barriers are shared: what arrives
//    while one is in flight shares the next; paced by the number of members; at most max_waiting wait (too_many).
//  - a jump in head's versions, or fewer events than it says, is a lost event: the view is loaded anew before the next
//    answer. A head behind the view's, or equal with another operation, is a store that went back in time: the view is
//    discarded and loaded anew, and an alarm stands until the operator clears it (health().alarm). Whether it went back
//    and then on, past the view, is looked up at the view's own revision before each watch.
//  - ends of leases carry no head: leased keys that etcd lacks while the view keeps them are found by looking, and then
//    the view is loaded anew.
//  - commits apply at most once: no commit is sent twice by itself; what may have happened is CommitStatus::unknown.
//    A committed one returns once this node's view shows it (or after view_wait, if the view lags).
//  - deletes of keys that are absent are left out by a compare, so that `n` in head counts events.
//  - leases, progress notifications and wall clocks decide nothing.
//  - at quota_limit of etcd's quota, commits that put more than they delete are out_of_space; removals go on (H15).
//
// Fail-over: endpoints are tried in turn, a working one is kept. A barrier or commit that cannot reach any ends within
// its deadline; after one failed, the next ones fail within fast_fail, until a probe in the background has succeeded.
//
// Thread rule: as MetadataStore. Applying the feed has a thread of its own unless own_thread is false.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/clock.h"
#include "io/executor.h"
#include "io/random.h"
#include "meta/etcd/channel.h"
#include "meta/feed.h"
#include "meta/sqlite/database.h"
#include "meta/store.h"

namespace hansa::meta::etcd {

struct StoreOptions {
  std::vector<ChannelSettings> endpoints;
  std::string prefix = "hansa/";  // of every key; the store's root
  sqlite::DatabaseOptions view;   // path of the view's file; full_sync is false for views
  bool own_thread = true;
  std::uint64_t quota_bytes = 2ULL * 1024 * 1024 * 1024;  // etcd's --quota-backend-bytes
  double quota_limit = 0.8;
  io::Duration barrier_deadline = std::chrono::seconds(3);
  io::Duration commit_deadline = std::chrono::milliseconds(3500);
  io::Duration fast_fail = std::chrono::milliseconds(700);
  io::Duration view_wait = std::chrono::seconds(1);
  io::Duration probe_interval = std::chrono::milliseconds(250);
  std::size_t max_waiting = 2000;
  // Members that pass barriers (pacing); called often, any thread.
  std::function<std::size_t()> members = [] { return std::size_t{1}; };
  // A copy of another member's view for one that the store's history no longer reaches back to, which `stale` shows:
  // the path of a file (Store::copy_view), removed by this store. Any error: etcd is read instead; so too without it.
  std::function<io::Task<Result<std::string>>(std::unique_ptr<sqlite::ReadTransaction> stale)> peer_view = nullptr;
  std::size_t history = default_history;  // change sets kept for follow(), as far as they take no more than:
  std::size_t history_bytes = default_history_bytes;
};

struct StoreHealth {
  bool reachable = false;     // the last barrier or probe succeeded
  bool passed_once = false;   // this process has passed a barrier
  io::BootTime last_barrier;  // when the last one that passed had begun (boot-time clock)
  Revision applied = 0;       // by the view
  Revision target = 0;        // newest revision known; catch-up is done when they meet
  bool loading = false;       // the view is being loaded anew
  std::uint64_t loaded_keys = 0;
  // Empty: none. "rewound": the store went back in time; "foreign": somebody else writes here; "corrupt": etcd says
  // that its members' data differs.
  std::string alarm;
  std::string version;          // of the server in use
  bool barrier_by_log = false;  // reads of an endpoint can be stale
  bool out_of_space = false;
  std::uint64_t barriers = 0;       // requests
  std::uint64_t barrier_reads = 0;  // engine reads made for them
  std::uint64_t commits = 0;
  std::uint64_t unknown = 0;
  std::uint64_t resyncs = 0;
  std::uint64_t copied_views = 0;  // loads from another member's view
  std::uint64_t db_size = 0;
};

// 128-bit sums of the hashes of (key, mod, value) by first path component ("manifest", "tag", ...), for comparing two
// views that stand at the same head version (trap T13).
struct ViewSums {
  std::uint64_t head_version = 0;
  Revision revision = 0;
  std::vector<std::pair<std::string, std::string>> sums;  // prefix, hexadecimal; in order
};

class Store : public MetadataStore {
 public:
  // Opens the view's file and starts following on `executor`; does not wait for etcd (see ready()). invalid: options.
  // `projections` and the ports outlive the store.
  static Result<std::unique_ptr<Store>> open(io::Disk& disk, io::Clock& clock, io::Random& random, Logger& log,
                                             io::Executor& executor, ChannelFactory channels, StoreOptions options,
                                             std::vector<sqlite::Projection*> projections);

  // Waits until the view has caught up with a barrier for the first time. unsupported: the server's version is too old;
  // unauthenticated, denied; cancelled. Unreachable servers are waited for.
  virtual io::Task<Result<void>> ready() = 0;

  virtual Result<std::unique_ptr<sqlite::ReadTransaction>> read() = 0;
  virtual StoreHealth health() const = 0;  // any thread, cheap
  virtual Result<ViewSums> sums() = 0;     // reads the whole view: on a pool
  // Writes a copy of the view's file (SQLite backup), for a peer whose view is too old.
  virtual Result<void> copy_view(const std::string& path) = 0;
  // Loads the view anew from etcd (divergence found).
  virtual void resync(std::string_view why) = 0;
  virtual void clear_alarm() = 0;
  // Where etcd is now; the same ones again cost nothing. None: the old ones stay.
  virtual void set_endpoints(std::vector<ChannelSettings> endpoints) = 0;
  // Ends following; later calls are unavailable. Await before destruction.
  virtual io::Task<void> close() = 0;
};

}  // namespace hansa::meta::etcd
