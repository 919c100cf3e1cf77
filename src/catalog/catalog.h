// Catalog: the records, their view and the one way to change them. Use cases read through snapshot() and write through
// submit(), which turns a planner into exactly one commit or one refusal.
//
//   auto plan = [=](const Planning& p) { return plan_delete_blob(p, name, digest); };
//   HANSA_CO_TRY(auto done, co_await catalog.submit(plan));
//
// Thread rule: any executor's thread; submit resumes on the caller's. The store, the view and the ports outlive it; no
// submit may be under way when it is destroyed.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "base/log.h"
#include "catalog/plan.h"
#include "catalog/snapshot.h"
#include "catalog/view.h"
#include "io/clock.h"
#include "io/random.h"
#include "io/task.h"
#include "meta/sqlite/store.h"

namespace hansa::catalog {

inline constexpr int max_plan_attempts = 10;  // conflicts before unavailable
// An unknown commit is submitted again for so long before it is ambiguous: long enough for the store to choose another
// leader, short enough for a client to wait.
inline constexpr io::Duration settle_within = std::chrono::seconds(2);
inline constexpr io::Duration base_backoff = std::chrono::milliseconds(1);  // doubled each time, with jitter
inline constexpr io::Duration max_backoff = std::chrono::milliseconds(200);

using Planner = std::function<Result<Plan>(const Planning&)>;
// How much a planner looks at: a heavy one at hundreds of records, for which no event loop is held up.
enum class Weight : std::uint8_t { light, heavy };

struct Submitted {
  Revision revision = 0;  // of the commit; of the snapshot when nothing was to do
  bool changed = false;
  std::string operation;
};

class Catalog {
 public:
  using Read = std::function<Result<std::unique_ptr<meta::sqlite::ReadTransaction>>()>;

  // Truth and view in one SQLite file (one node).
  static Result<std::unique_ptr<Catalog>> open(meta::sqlite::Store& store, View& view, io::Clock& clock,
                                               io::Random& random, Logger& log);
  // Truth anywhere; `read` opens a transaction on the view that follows it.
  static Result<std::unique_ptr<Catalog>> open(meta::MetadataStore& store, Read read, View& view, io::Clock& clock,
                                               io::Random& random, Logger& log);
  ~Catalog();

  // The newest view; it ends before the catalogue does. Blocks for a short read at most.
  Result<Snapshot> snapshot();
  // A snapshot taken after it shows every commit acknowledged before it began.
  io::Task<Result<meta::Fence>> barrier();
  // Whether this process passed a barrier, of whatever call, that began within `span` (boot-time clock). Thread-safe.
  bool passed_within(io::Duration span) const;
  io::BootTime boot_time() const { return clock_.boot(); }
  io::WallTime wall_time() const { return clock_.wall(); }

  // Plan, commit, and settle:
  //  - a refusal is planned once more after a barrier (H9) and then returned;
  //  - a conflict waits until the view has what conflicted and plans again, up to max_plan_attempts: then unavailable;
  //  - an unknown outcome submits the identical commit again (H8); what cannot be told is ErrorCode::ambiguous.
  // The planner is called on the caller's thread, or if it is heavy on a pool's, possibly several times, each time with
  // a new operation id.
  io::Task<Result<Submitted>> submit(Planner planner, Weight weight = Weight::light);

  // Which repositories have changed; null where the view is a copy that may jump (see Changes).
  const Changes* changes() const { return changes_; }
  // Number of the newest tick that this process has seen; 0 before the first start. Cheap, thread-safe.
  TickNumber newest_tick() const { return newest_tick_.load(std::memory_order_acquire); }

 private:
  static constexpr std::int64_t never = -1;
  Catalog(meta::MetadataStore& store, Read read, View& view, io::Clock& clock, io::Random& random, Logger& log);
  Result<void> start();
  io::Task<Result<meta::CommitOutcome>> after_refusal(meta::Commit commit, Revision planned_at, Error refusal);
  // What became of an unknown commit that conflicts now: committed, conflict (it never happened: plan anew), unknown.
  Result<meta::CommitOutcome> judge(const meta::Commit& commit, Revision planned_at);
  io::Task<Result<meta::CommitOutcome>> commit(Plan plan, Revision planned_at);
  io::Task<Result<meta::CommitOutcome>> settle(meta::Commit commit, Revision planned_at);
  io::Task<Result<void>> backoff(int attempt);

  meta::MetadataStore& store_;
  Read read_;
  View& view_;
  const Changes* changes_ = nullptr;
  io::Clock& clock_;
  io::Random& random_;
  Logger& log_;
  TickCache ticks_;
  std::atomic<TickNumber> newest_tick_ = 0;
  std::atomic<std::int64_t> last_barrier_ = never;    // boot time at which the last one that passed began, nanoseconds
  std::unique_ptr<meta::Subscription> subscription_;  // last: ends before what its listener uses
};

}  // namespace hansa::catalog
