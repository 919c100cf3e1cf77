#include "meta/sqlite/writer.h"

#include <algorithm>

#include "meta/sqlite/record_tables.h"

namespace hansa::meta::sqlite {

// ---- opening ----------------------------------------------------------------------------------------------------

Result<void> Writer::open(bool check) {
  HANSA_TRY(connection_, RealConnection::open(vfs_, options_, RealConnection::Role::writer));
  HANSA_CHECK(create_record_tables(*connection_, options_.path));
  HANSA_TRY(const auto revision, get_meta(*connection_, "revision"));
  revision_ = static_cast<Revision>(revision);
  if (check) HANSA_CHECK(check_structure(*connection_));
  HANSA_CHECK(prepare_projections(*connection_, projections_, revision_));
  return drop_leased_keys();
}

Result<std::vector<std::string>> Writer::leased_keys(LeaseId lease) {
  std::vector<std::string> keys;
  HANSA_TRY(auto read, connection_->prepare("SELECT k FROM kv WHERE l<>0 AND (l=?1 OR ?1=0) ORDER BY k"));
  read.bind(1, static_cast<std::int64_t>(lease));
  while (true) {
    HANSA_TRY(const bool row, read.step());
    if (!row) return keys;
    keys.emplace_back(read.column_text(0));
  }
}

Result<void> Writer::drop_leased_keys() {
  HANSA_TRY(auto keys, leased_keys(0));
  while (!keys.empty()) {
    const std::size_t count = std::min(keys.size(), max_writes - 1);
    Commit commit{.operation = "start", .compares = {}, .puts = {}, .deletes = {}};
    commit.deletes.assign(keys.end() - static_cast<std::ptrdiff_t>(count), keys.end());
    keys.resize(keys.size() - count);
    auto outcomes = apply({&commit, 1});
    if (!outcomes[0].result) return outcomes[0].result.error();
  }
  return {};
}

// ---- commits ----------------------------------------------------------------------------------------------------

void Writer::roll_back() {
  // An error may have rolled back already; then this one has nothing to do.
  auto ignored = connection_->execute("ROLLBACK");
  if (!ignored) log_.debug("rollback", {{"error", ignored.error().message}});
}

Result<void> Writer::reopen() {
  HANSA_TRY(auto fresh, RealConnection::open(vfs_, options_, RealConnection::Role::writer));
  connection_ = std::move(fresh);
  HANSA_CHECK(start_new_wal());
  HANSA_TRY(const auto revision, get_meta(*connection_, "revision"));
  revision_ = static_cast<Revision>(revision);
  doubtful_ = false;
  return {};
}

// What a failed sync has touched (bytes, and the length of the file) is never built upon: the frames that count go to
// the database file, and the WAL begins anew from nothing (P1).
Result<void> Writer::start_new_wal() {
  HANSA_TRY(auto checkpoint, connection_->prepare("PRAGMA wal_checkpoint(TRUNCATE)"));
  HANSA_TRY(const bool row, checkpoint.step());
  if (row && checkpoint.column_int(0) == 0) return checkpoint.run();
  return make_error(ErrorCode::unavailable, "the metadata log cannot be replaced while it is read; try again");
}

Result<void> Writer::begin() {
  if (doubtful_) HANSA_CHECK(reopen());
  auto begun = connection_->execute("BEGIN IMMEDIATE");
  if (!begun) doubtful_ = true;
  return begun;
}

// A transaction of our own takes the place of the failed one.
Result<void> Writer::forestall() {
  HANSA_CHECK(begin());
  auto done = [this]() -> Result<void> {
    HANSA_TRY(const auto count, get_meta(*connection_, "forestalled"));
    HANSA_CHECK(set_meta(*connection_, "forestalled", count + 1));
    return connection_->execute("COMMIT");
  }();
  if (done) return done;
  roll_back();
  doubtful_ = true;
  return done;
}

std::vector<Writer::Outcome> Writer::after_failed_commit(Attempt attempt) {
  const Error error = std::move(*attempt.commit_failed);
  log_.error("a metadata commit failed half-way", {{"path", options_.path}, {"error", error.message}});
  roll_back();
  doubtful_ = true;
  const Revision before = revision_;
  const auto settled = forestall();
  if (settled && revision_ != before) return std::move(attempt.outcomes);  // it had taken effect after all
  if (!settled) log_.error("its outcome is unknown", {{"path", options_.path}, {"error", settled.error().message}});
  bool definite = true;  // what was refused before anything was written stays refused
  for (auto& outcome : attempt.outcomes) {
    const bool conflict = outcome.result && outcome.result->status == CommitStatus::conflict;
    if (!conflict) definite = false;
    outcome.changes = {};
    if (conflict && definite) continue;
    if (settled) {
      outcome.result = error;
    } else {
      outcome.result = CommitOutcome{.status = CommitStatus::unknown, .revision = 0};
    }
  }
  return std::move(attempt.outcomes);
}

std::vector<Writer::Outcome> Writer::apply(std::span<const Commit> commits) {
  auto attempt = try_apply(commits);
  if (attempt && !attempt->commit_failed) return std::move(attempt->outcomes);
  if (attempt) return after_failed_commit(std::move(*attempt));
  std::vector<Outcome> outcomes(commits.size());
  if (commits.size() > 1 && !doubtful_) {
    // One of them may be to blame alone.
    for (std::size_t i = 0; i < commits.size(); ++i) outcomes[i] = std::move(apply(commits.subspan(i, 1))[0]);
    return outcomes;
  }
  log_.warn("metadata commits were refused", {{"count", commits.size()}, {"error", attempt.error().message}});
  for (auto& outcome : outcomes) outcome.result = attempt.error();
  return outcomes;
}

Result<Writer::Attempt> Writer::try_apply(std::span<const Commit> commits) {
  Attempt attempt;
  attempt.outcomes.reserve(commits.size());
  HANSA_CHECK(begin());
  Revision next = revision_;
  for (const auto& commit : commits) {
    auto outcome = apply_one(commit, next + 1);
    if (!outcome) {
      roll_back();
      return outcome.error();
    }
    if (outcome->result->status == CommitStatus::committed) ++next;
    attempt.outcomes.push_back(std::move(*outcome));
  }
  if (next == revision_) {
    roll_back();
    return attempt;
  }
  if (auto stored = set_meta(*connection_, "revision", static_cast<std::int64_t>(next)); !stored) {
    roll_back();
    return stored.error();
  }
  if (auto done = connection_->execute("COMMIT"); !done) {
    attempt.commit_failed = done.error();
    return attempt;
  }
  revision_ = next;
  return attempt;
}

Result<bool> Writer::compares_hold(const Commit& commit) {
  for (const auto& compare : commit.compares) {
    HANSA_TRY(auto read, connection_->prepare("SELECT c,m FROM kv WHERE k=?1"));
    read.bind(1, std::string_view(compare.key));
    HANSA_TRY(const bool row, read.step());
    Revision actual = 0;
    if (row) actual = static_cast<Revision>(read.column_int(compare.field == Compare::Field::create ? 0 : 1));
    if (actual != compare.equals) return false;
  }
  return true;
}

Result<Writer::Outcome> Writer::apply_one(const Commit& commit, Revision next) {
  Outcome outcome;
  HANSA_TRY(const bool holds, compares_hold(commit));
  if (!holds) {
    outcome.result = CommitOutcome{.status = CommitStatus::conflict, .revision = 0};
    return outcome;
  }
  outcome.changes.revision = next;
  for (const auto& one : commit.puts) {
    HANSA_TRY(auto change, put(one.key, one.value, one.lease, next));
    outcome.changes.changes.push_back(std::move(change));
  }
  for (const auto& key : commit.deletes) {
    HANSA_TRY(const bool removed, remove(key, outcome.changes));
    if (removed) outcome.changes.changes.back().now.mod = next;
  }
  const std::string head = head_value(commit.operation, outcome.changes.changes.size());
  HANSA_TRY(auto change, put(std::string(head_key), head, 0, next));
  outcome.changes.changes.push_back(std::move(change));
  std::ranges::sort(outcome.changes.changes, {}, [](const Change& c) -> const std::string& { return c.now.key; });
  for (auto* projection : projections_) HANSA_CHECK(projection->apply(*connection_, outcome.changes));
  outcome.result = CommitOutcome{.status = CommitStatus::committed, .revision = next};
  return outcome;
}

Result<Change> Writer::put(const std::string& key, std::string_view value, LeaseId lease, Revision next) {
  HANSA_TRY(auto write,
            connection_->prepare("INSERT INTO kv(k,v,c,m,n,l) VALUES(?1,?2,?3,?3,1,?4) ON CONFLICT(k) DO UPDATE SET "
                                 "v=excluded.v, m=excluded.m, n=n+1, l=excluded.l RETURNING c,n"));
  write.bind(1, std::string_view(key)).bind(2, as_bytes(value));
  write.bind(3, static_cast<std::int64_t>(next)).bind(4, static_cast<std::int64_t>(lease));
  HANSA_TRY(const bool row, write.step());
  if (!row) return make_error(ErrorCode::internal, "a put returned no row");
  Change change;
  change.now = {key, std::string(value), static_cast<Revision>(write.column_int(0)), next,
                static_cast<std::uint64_t>(write.column_int(1))};
  HANSA_CHECK(write.run());
  return change;
}

Result<bool> Writer::remove(const std::string& key, ChangeSet& changes) {
  HANSA_TRY(auto write, connection_->prepare("DELETE FROM kv WHERE k=?1"));
  HANSA_CHECK(write.bind(1, std::string_view(key)).run());
  if (connection_->changes() == 0) return false;
  Change change;
  change.now.key = key;
  change.deleted = true;
  changes.changes.push_back(std::move(change));
  return true;
}

}  // namespace hansa::meta::sqlite
