#include "meta/sqlite/writer.h"

#include <algorithm>

namespace hansa::meta::sqlite {
namespace {

constexpr std::int64_t database_format = 1;
constexpr std::size_t fill_page = 500;  // records read at a time when a projection is filled

Error over_limit(std::string_view what, std::size_t have, std::size_t limit) {
  return make_error(ErrorCode::invalid, "a commit has " + std::to_string(have) + " " + std::string(what) +
                                            "; the limit is " + std::to_string(limit));
}

std::string head_value(const std::string& operation, std::size_t changes) {
  return R"({"op":")" + operation + R"(","n":)" + std::to_string(changes) + "}";
}

}  // namespace

Result<void> check_limits(const Commit& commit) {
  // One write is `head`.
  const std::size_t writes = commit.puts.size() + commit.deletes.size() + 1;
  if (commit.compares.size() > max_compares) return over_limit("compares", commit.compares.size(), max_compares);
  if (writes > max_writes) return over_limit("writes", writes, max_writes);
  std::size_t bytes = 0;
  std::vector<std::string_view> written;
  for (const auto& put : commit.puts) {
    bytes += put.key.size() + put.value.size();
    written.push_back(put.key);
  }
  for (const auto& key : commit.deletes) written.push_back(key);
  for (const auto& compare : commit.compares) bytes += compare.key.size();
  if (bytes > max_commit_bytes) return over_limit("bytes", bytes, max_commit_bytes);
  for (const auto key : written) {
    if (key.empty() || key.size() > max_key_bytes) return over_limit("bytes in a key", key.size(), max_key_bytes);
    if (key == head_key) return make_error(ErrorCode::invalid, "the key \"head\" belongs to the store");
  }
  std::ranges::sort(written);
  const auto twice = std::ranges::adjacent_find(written);
  if (twice != written.end()) {
    return make_error(ErrorCode::invalid, "a commit writes the key \"" + std::string(*twice) + "\" twice");
  }
  const auto& op = commit.operation;
  if (op.empty() || op.find_first_of("\"\\") != std::string::npos) {
    return make_error(ErrorCode::invalid, "a commit needs an operation id without quotes");
  }
  return {};
}

// ---- opening ----------------------------------------------------------------------------------------------------

Result<void> Writer::open() {
  HANSA_TRY(connection_, RealConnection::open(vfs_, options_, RealConnection::Role::writer));
  HANSA_CHECK(create_tables());
  HANSA_TRY(const auto format, get_meta("format"));
  if (format > database_format) {
    return make_error(ErrorCode::unsupported, "the database " + options_.path + " has format " +
                                                  std::to_string(format) + " and was written by a newer version");
  }
  HANSA_TRY(const auto revision, get_meta("revision"));
  revision_ = static_cast<Revision>(revision);
  HANSA_CHECK(drop_leased_keys());
  return prepare_projections();
}

Result<void> Writer::create_tables() {
  return connection_->execute(
      "BEGIN IMMEDIATE;"
      "CREATE TABLE IF NOT EXISTS meta(k TEXT PRIMARY KEY, v INTEGER) WITHOUT ROWID;"
      "CREATE TABLE IF NOT EXISTS kv(k TEXT PRIMARY KEY, v BLOB NOT NULL, c INTEGER NOT NULL, m INTEGER NOT NULL,"
      " n INTEGER NOT NULL, l INTEGER NOT NULL) WITHOUT ROWID;"
      "CREATE INDEX IF NOT EXISTS kv_lease ON kv(l) WHERE l<>0;"
      "INSERT OR IGNORE INTO meta VALUES('format',1),('revision',0);"
      "COMMIT;");
}

Result<std::int64_t> Writer::get_meta(std::string_view key) {
  HANSA_TRY(auto read, connection_->prepare("SELECT v FROM meta WHERE k=?1"));
  read.bind(1, key);
  HANSA_TRY(const bool row, read.step());
  return row ? read.column_int(0) : 0;
}

Result<void> Writer::set_meta(std::string_view key, std::int64_t value) {
  HANSA_TRY(auto write, connection_->prepare("INSERT OR REPLACE INTO meta(k,v) VALUES(?1,?2)"));
  return write.bind(1, key).bind(2, value).run();
}

Result<void> Writer::prepare_projections() {
  for (auto* projection : projections_) {
    const std::string key = "projection:" + std::string(projection->name());
    HANSA_TRY(const auto version, get_meta(key));
    if (version == projection->schema_version()) continue;
    HANSA_CHECK(connection_->execute("BEGIN IMMEDIATE"));
    auto filled = fill(*projection);
    if (filled) filled = set_meta(key, projection->schema_version());
    if (filled) filled = connection_->execute("COMMIT");
    if (!filled) {
      roll_back();
      return std::move(filled).error().with_context("filling the tables of " + std::string(projection->name()));
    }
  }
  return {};
}

// Records in key order, as one change set each: what apply() sees in the life of a store, only without history.
Result<void> Writer::fill(Projection& projection) {
  HANSA_CHECK(projection.create(*connection_));
  std::string after;
  while (true) {
    std::vector<KeyValue> page;
    {
      HANSA_TRY(auto read, connection_->prepare("SELECT k,v,c,m,n FROM kv WHERE k>?1 ORDER BY k LIMIT ?2"));
      read.bind(1, std::string_view(after)).bind(2, static_cast<std::int64_t>(fill_page));
      while (true) {
        HANSA_TRY(const bool row, read.step());
        if (!row) break;
        page.push_back({std::string(read.column_text(0)), std::string(as_text(read.column_blob(1))),
                        static_cast<Revision>(read.column_int(2)), static_cast<Revision>(read.column_int(3)),
                        static_cast<std::uint64_t>(read.column_int(4))});
      }
    }
    if (page.empty()) return {};
    after = page.back().key;
    ChangeSet changes{.revision = revision_, .changes = {}};
    for (auto& record : page) changes.changes.push_back({.now = std::move(record), .deleted = false});
    HANSA_CHECK(projection.apply(*connection_, changes));
  }
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
  // The projections are not consulted: they are filled or applied after this.
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
  connection_.reset();
  HANSA_TRY(connection_, RealConnection::open(vfs_, options_, RealConnection::Role::writer));
  HANSA_TRY(const auto revision, get_meta("revision"));
  revision_ = static_cast<Revision>(revision);
  return {};
}

std::vector<Writer::Outcome> Writer::apply(std::span<const Commit> commits) {
  if (connection_ == nullptr) {
    if (auto opened = reopen(); !opened) {
      connection_.reset();
      std::vector<Outcome> outcomes(commits.size());
      for (auto& outcome : outcomes) outcome.result = opened.error();
      return outcomes;
    }
  }
  auto attempt = try_apply(commits);
  if (attempt && !attempt->commit_failed) return std::move(attempt->outcomes);
  std::vector<Outcome> outcomes(commits.size());
  if (attempt) {
    // COMMIT failed: what was written may still be found after a crash. Later commits plan from what is visible.
    for (std::size_t i = 0; i < commits.size(); ++i) {
      auto& planned = attempt->outcomes[i].result;
      const bool conflicted = planned && planned->status == CommitStatus::conflict;
      // A conflict with a commit of the same group is as unknown as that one.
      outcomes[i].result =
          CommitOutcome{.status = conflicted && i == 0 ? CommitStatus::conflict : CommitStatus::unknown, .revision = 0};
    }
    log_.error("a metadata commit failed half-way; opening the database anew", {{"path", options_.path}});
    connection_.reset();
    return outcomes;
  }
  if (commits.size() > 1) {
    // One of them may be to blame alone.
    for (std::size_t i = 0; i < commits.size(); ++i) outcomes[i] = std::move(apply(commits.subspan(i, 1))[0]);
    return outcomes;
  }
  log_.warn("a metadata commit was refused", {{"error", attempt.error().message}});
  outcomes[0].result = attempt.error();
  return outcomes;
}

Result<Writer::Attempt> Writer::try_apply(std::span<const Commit> commits) {
  Attempt attempt;
  attempt.outcomes.reserve(commits.size());
  if (auto begun = connection_->execute("BEGIN IMMEDIATE"); !begun) {
    connection_.reset();  // whatever state it is in, the next commit opens the file anew
    return begun.error();
  }
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
  if (auto stored = set_meta("revision", static_cast<std::int64_t>(next)); !stored) {
    roll_back();
    return stored.error();
  }
  if (auto done = connection_->execute("COMMIT"); !done) {
    log_.error("COMMIT failed", {{"error", done.error().message}});
    attempt.commit_failed = true;
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
