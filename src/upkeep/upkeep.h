// Upkeep: what a node does in the background: advances the slow clock, collects what nothing needs, sweeps bytes that
// no record names, expires uploads, checks stored bytes.
//
// P7: collection never takes what is reachable from an acknowledged manifest, or was uploaded, mounted or confirmed by
// HEAD within the grace time; it never blocks a push and may be stopped at any point. Ages are counted in ticks of
// grace / 8, measured here on the monotonic clock; no wall time is read (P10).
//
// In a cluster every node runs it: one at a time advances the clock and one sweeps records, while each expires its own
// uploads, loads references into its own view and sweeps its own bytes.
//
// Thread rule: run() and the loops on one executor; collect() and scrub() from any executor, one of each at a time.
// Everything given outlives it; close the scope that runs the loops first.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "blob/store.h"
#include "catalog/catalog.h"
#include "io/clock.h"
#include "io/scope.h"
#include "upkeep/retention.h"
#include "upkeep/survey.h"
#include "upkeep/task_leader.h"

namespace hansa::upkeep {

inline constexpr io::Duration smallest_grace = std::chrono::seconds(4);

struct Options {
  bool collect = true;
  io::Duration grace = std::chrono::hours(1);       // storage.gcDelay
  io::Duration interval = std::chrono::hours(1);    // between cycles, storage.gcInterval
  io::Duration untagged_grace{};                    // of manifests, storage.retention.delay; 0: as `grace`
  Retention retention = {};                         // with dry_run, periodic cycles only tell what would go
  io::Duration scrub_interval{};                    // 0: no periodic scrub
  std::uint64_t scrub_bytes_per_second = 50 * MiB;  // of the periodic scrub
  // Of the current tick, by the process before (a clean stop kept it). Zero in a cluster, where the others may have
  // advanced the clock meanwhile.
  io::Duration measured{};
};

struct Ports {
  meta::MetadataStore& store;
  catalog::Catalog& catalog;
  blob::BlobStore& blobs;
  blob::BlobMaintenance& maintenance;
  io::Clock& clock;
  Logger& log;
  std::function<io::Task<Result<std::size_t>>()> expire_uploads;
  // Whether bytes that no record names may go now: not while the metadata store's own past is in doubt. Null: always.
  std::function<bool()> may_sweep = nullptr;
  // Opens a manifest's body, wherever it lies (cluster::Copies::obtain). Absent: in `blobs` alone.
  std::function<io::Task<Result<std::shared_ptr<blob::BlobReader>>>(oci::Digest)> open_body = nullptr;
};

io::Duration tick_length(const Options& options);

struct PutBack {  // by an undo
  std::uint64_t manifests = 0;
  std::uint64_t tags = 0;
  std::uint64_t files = 0;       // of this node's trash
  std::uint64_t impossible = 0;  // manifests and tags that refer to what is gone
};

// The right to do what one may do at a time; ask mine(). Gives it back when dropped.
class Turn {
 public:
  explicit Turn(std::atomic<bool>& flag) : flag_(flag), mine_(!flag.exchange(true)) {}
  ~Turn() {
    if (mine_) flag_ = false;
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  bool mine() const { return mine_; }

 private:
  std::atomic<bool>& flag_;
  bool mine_;
};

class Upkeep {
 public:
  Upkeep(Ports ports, Options options);

  // Starts the loops.
  void run(io::TaskScope& scope);

  // One cycle: repositories, then bytes, then the trash. conflict while one is under way.
  io::Task<Result<void>> collect();
  // What collect() would begin with, as lines for people; nothing is changed. conflict as above.
  io::Task<Result<void>> dry_run(std::function<void(const std::string&)> tell);
  // Puts back what collection removed, by retention or by age, and still remembers: for a grace time and a quarter of
  // it at least. Not what clients deleted (P8). `only`: one repository. Tells what is impossible. conflict as above.
  io::Task<Result<PutBack>> undo(std::optional<oci::RepositoryName> only, std::function<void(const std::string&)> tell);
  // Every blob's bytes against its digest. Reports after each; at most `rate` bytes a second (0: as fast as it goes).
  io::Task<Result<blob::ScrubReport>> scrub(std::function<void(const blob::ScrubReport&)> progress, std::uint64_t rate);

  std::uint64_t swept_records() const { return swept_records_; }
  std::uint64_t swept_blobs() const { return swept_blobs_; }
  std::uint64_t expired_tags() const { return expired_tags_; }
  // Time measured of the current tick: to be kept at a clean stop.
  io::Duration measured() const;

 private:
  io::Task<void> tick_loop();
  io::Task<void> collect_loop();
  io::Task<void> scrub_loop();
  io::Task<void> references_loop();
  io::Task<Result<void>> advance_tick();
  bool still_measuring();
  io::Task<Result<void>> load_references();
  io::Task<Result<void>> load_one(catalog::Snapshot::Unloaded entry);
  // Ends with the first error of `visit`.
  using Visit = std::function<io::Task<Result<void>>(oci::RepositoryName)>;
  io::Task<Result<void>> each_repository(Visit visit);
  io::Task<Result<void>> sweep_or_tell(oci::RepositoryName name);
  io::Task<Result<void>> sweep_repository(oci::RepositoryName name);
  io::Task<Result<void>> sweep_chunks(oci::RepositoryName name, catalog::SweepRules rules,
                                      std::vector<catalog::SweepItem> items);
  io::Task<Result<void>> sweep_bytes();
  // Commits what `plan` removes, then pauses in favour of pushes. How many records went; 0 where every race was lost.
  io::Task<Result<std::size_t>> remove_records(catalog::Planner plan);
  io::Task<Result<void>> tell_log();
  // expire.cc. Where a repository has too much to be judged, what was not judged stays, with a warning.
  struct Judgement {
    catalog::SweepRules rules;
    std::set<oci::Digest> kept;  // untagged manifests that stay whatever their age
  };
  catalog::SweepRules rules_for(const oci::RepositoryName& name) const;
  io::Task<Result<Judgement>> judge(oci::RepositoryName name);
  // What may go of the next page; `cursor` moves on, and is empty after the last.
  io::Task<Result<std::vector<catalog::SweepItem>>> next_removals(const oci::RepositoryName& name,
                                                                  const Judgement& judgement,
                                                                  std::optional<catalog::SweepCursor>& cursor);
  io::Task<Result<std::vector<Expiring>>> expiring_of(oci::RepositoryName name);
  io::Task<Result<void>> expire_repository(oci::RepositoryName name);
  io::Task<Result<std::size_t>> expire_tags(oci::RepositoryName name, std::vector<Expiring> expiring);
  io::Task<Result<void>> tell_repository(oci::RepositoryName name, const std::function<void(const std::string&)>& tell);
  // put_back.cc
  io::Task<Result<void>> put_back(oci::RepositoryName name, const std::function<void(const std::string&)>& tell,
                                  PutBack& done);
  io::Task<Result<void>> put_back_manifests(const oci::RepositoryName& name,
                                            const std::function<void(const std::string&)>& tell, PutBack& done);
  Result<std::vector<oci::Digest>> unnamed_of(const std::vector<blob::StoredBlob>& page);
  io::Task<Result<std::string>> read_body(oci::Digest digest);

  Ports ports_;
  Options options_;
  TaskLeader ticker_;
  TaskLeader collector_;
  std::atomic<std::int64_t> tick_started_{};  // monotonic nanoseconds, less what was measured before
  catalog::TickNumber measured_tick_ = 0;     // which tick that is
  std::atomic<bool> collecting_ = false;
  std::atomic<bool> scrubbing_ = false;
  std::atomic<std::uint64_t> swept_records_ = 0;
  std::atomic<std::uint64_t> swept_blobs_ = 0;
  std::atomic<std::uint64_t> expired_tags_ = 0;
};

}  // namespace hansa::upkeep
