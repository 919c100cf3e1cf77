// sqlite::Store: the MetadataStore of a single node: truth and view are one SQLite file and change in one transaction
// with synchronous=FULL. A commit is durable when it returns. Commits that wait together share one fsync (group
// commit), each keeping a revision of its own and its own outcome. A barrier is free.
//
// A lease lives as long as its object (its ttl is not used: liveness of this process needs no clock); its keys go soon
// after. Leased keys do not outlive the process: opening deletes them. A put under a lease that ended is invalid.
//
// A commit that fails on the way is an error and will never take effect; only where the disk does not let the store
// make sure of that its outcome is unknown. Later commits work as soon as the disk does. A flipped bit that a read
// meets is ErrorCode::corrupt; damage found while opening says what to do.
#pragma once

#include <memory>
#include <vector>

#include "io/clock.h"
#include "io/executor.h"
#include "meta/feed.h"
#include "meta/sqlite/database.h"
#include "meta/store.h"

namespace hansa::meta::sqlite {

struct StoreOptions {
  DatabaseOptions database;
  std::size_t max_waiting = 10'000;       // commits in the queue; more are refused: too_many
  std::size_t max_group = 200;            // commits in one transaction
  std::size_t history = default_history;  // revisions kept for follow(), as far as they take no more than:
  std::size_t history_bytes = default_history_bytes;
  // Where the writer runs: in the server a thread of its own; in the simulator inline on the executor's pool.
  bool own_thread = true;
};

class Store : public MetadataStore {
 public:
  // `projections`, `disk`, `clock` and `log` outlive the store.
  static Result<std::unique_ptr<Store>> open(io::Disk& disk, io::Clock& clock, Logger& log, StoreOptions options,
                                             std::vector<Projection*> projections);

  // Like snapshot(), with the projected tables.
  virtual Result<std::unique_ptr<ReadTransaction>> read() = 0;
  // Ends the writer after the commits already queued; later ones are unavailable.
  virtual void close() = 0;
};

}  // namespace hansa::meta::sqlite
