// Writer: applies commits to the database, many in one transaction, each with its own outcome. Private to this room.
// Used by one thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "meta/sqlite/database_impl.h"
#include "meta/store.h"

namespace hansa::meta::sqlite {

class Writer {
 public:
  struct Outcome {
    Result<CommitOutcome> result = CommitOutcome{};
    ChangeSet changes;  // empty unless committed
  };

  Writer(Vfs& vfs, DatabaseOptions options, std::vector<Projection*> projections, Logger& log)
      : vfs_(vfs), options_(std::move(options)), projections_(std::move(projections)), log_(log) {}

  // Opens or makes the database, fills projections that are new, removes leased keys of the last process.
  // `check`: the last process did not close it; a database of moderate size is then looked through.
  Result<void> open(bool check);
  Revision revision() const { return revision_; }

  // One transaction for all. An error of one commit's own making (a projection refuses it) does not touch the others.
  // When COMMIT itself fails, the place in the WAL is overwritten by another transaction: what failed can then never
  // come back, and its outcome is the error. Where even that fails, it is unknown.
  std::vector<Outcome> apply(std::span<const Commit> commits);

  // Keys held by a lease.
  Result<std::vector<std::string>> leased_keys(LeaseId lease);

 private:
  Result<void> drop_leased_keys();

  // Everything inside one BEGIN ... COMMIT; on an error before COMMIT nothing has happened.
  struct Attempt {
    std::vector<Outcome> outcomes;
    std::optional<Error> commit_failed;  // COMMIT itself failed
  };
  Result<void> begin();
  std::vector<Outcome> after_failed_commit(Attempt attempt);
  Result<void> forestall();
  Result<Attempt> try_apply(std::span<const Commit> commits);
  Result<Outcome> apply_one(const Commit& commit, Revision next);
  Result<bool> compares_hold(const Commit& commit);
  Result<Change> put(const std::string& key, std::string_view value, LeaseId lease, Revision next);
  Result<bool> remove(const std::string& key, ChangeSet& changes);
  Result<void> reopen();
  Result<void> start_new_wal();
  void roll_back();

  Vfs& vfs_;
  DatabaseOptions options_;
  std::vector<Projection*> projections_;
  Logger& log_;
  // Replaced, never dropped: while one connection is open the WAL index stays in memory, and with it the knowledge
  // which frames of the WAL count. A recovery from the file after a failed sync could believe frames that only the
  // system's memory holds.
  std::unique_ptr<RealConnection> connection_;
  bool doubtful_ = false;  // the connection saw a failed COMMIT or BEGIN; a new one takes its place at the next use
  Revision revision_ = 0;  // of the last commit that took effect
};

}  // namespace hansa::meta::sqlite
