// Writer: applies commits to the database, many in one transaction, each with its own outcome. Private to this room.
// Used by one thread at a time.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "meta/sqlite/database_impl.h"
#include "meta/store.h"

namespace hansa::meta::sqlite {

// Refuses commits over the limits of meta/store.h, keys written twice, and writes of `head`. Pure.
Result<void> check_limits(const Commit& commit);

class Writer {
 public:
  struct Outcome {
    Result<CommitOutcome> result = CommitOutcome{};
    ChangeSet changes;  // empty unless committed
  };

  Writer(Vfs& vfs, DatabaseOptions options, std::vector<Projection*> projections, Logger& log)
      : vfs_(vfs), options_(std::move(options)), projections_(std::move(projections)), log_(log) {}

  // Opens or makes the database, fills projections that are new, removes leased keys of the last process.
  Result<void> open();
  Revision revision() const { return revision_; }

  // One transaction for all. An error of one commit's own making (a projection refuses it) does not touch the others.
  std::vector<Outcome> apply(std::span<const Commit> commits);

  // Keys held by a lease.
  Result<std::vector<std::string>> leased_keys(LeaseId lease);

 private:
  Result<void> create_tables();
  Result<void> prepare_projections();
  Result<void> fill(Projection& projection);
  Result<void> drop_leased_keys();
  Result<void> set_meta(std::string_view key, std::int64_t value);
  Result<std::int64_t> get_meta(std::string_view key);

  // Everything inside one BEGIN ... COMMIT; on an error before COMMIT nothing has happened.
  struct Attempt {
    std::vector<Outcome> outcomes;
    bool commit_failed = false;  // COMMIT itself failed: unknown
  };
  Result<Attempt> try_apply(std::span<const Commit> commits);
  Result<Outcome> apply_one(const Commit& commit, Revision next);
  Result<bool> compares_hold(const Commit& commit);
  Result<Change> put(const std::string& key, std::string_view value, LeaseId lease, Revision next);
  Result<bool> remove(const std::string& key, ChangeSet& changes);
  Result<void> reopen();
  void roll_back();

  Vfs& vfs_;
  DatabaseOptions options_;
  std::vector<Projection*> projections_;
  Logger& log_;
  std::unique_ptr<RealConnection> connection_;
  Revision revision_ = 0;  // of the last commit that took effect
};

}  // namespace hansa::meta::sqlite
