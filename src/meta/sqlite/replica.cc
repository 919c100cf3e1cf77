#include "meta/sqlite/replica.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "meta/sqlite/record_sums.h"
#include "meta/sqlite/record_tables.h"
#include "meta/sqlite/view_file.h"

namespace hansa::meta::sqlite {
namespace {

constexpr std::size_t sums_page = 1000;  // records read at a time
constexpr std::size_t stray_page = 500;  // records compared at a time while loading
constexpr std::string_view origin_table =
    "CREATE TABLE IF NOT EXISTS origin(one INTEGER PRIMARY KEY CHECK(one=1), name TEXT NOT NULL);";

class RealReplica final : public Replica {
 public:
  RealReplica(io::Disk& disk, io::Clock& clock, Logger& log, DatabaseOptions options,
              std::vector<Projection*> projections)
      : log_(log), file_(disk, clock, log, view_options(std::move(options))), projections_(std::move(projections)) {}
  ~RealReplica() override { abandon_load(); }

  Result<void> open();

  ReplicaPosition position() const override {
    const std::lock_guard guard(mutex_);
    return position_;
  }
  Result<std::unique_ptr<ReadTransaction>> read() override { return file_.read(); }

  Result<void> apply(std::span<const ChangeSet> changes) override;
  Result<void> begin_load() override;
  Result<void> load(std::span<const KeyValue> page) override;
  Result<ChangeSet> finish_load(Revision revision, std::string origin) override;
  Result<void> discard() override;
  Result<void> set_origin(std::string origin) override;
  Result<void> copy_to(const std::string& path) override { return file_.copy_to(path); }
  Result<ReplicaSums> sums() override;

 private:
  static DatabaseOptions view_options(DatabaseOptions options) {
    options.full_sync = false;
    return options;
  }
  Result<void> connect(bool check);
  Result<void> ensure();
  // `work` in one transaction; after any error the connection is given up, so that nothing half-done is built upon.
  template <class Work>
  Result<void> transaction(Work work);
  // After an error. A damaged file is put aside, if nobody reads it now; else at the next use.
  void give_up_connection(const Error& error);
  Result<void> write(const ChangeSet& changes);
  Result<void> write_origin(const std::string& origin);
  Result<void> publish();
  template <class Work>
  Result<void> load_step(Work work);
  Result<void> split_load();
  void abandon_load();
  Result<void> merge(std::span<const KeyValue> page, bool last);
  Result<std::vector<KeyValue>> existing(const std::string& to, bool last);
  Result<void> add_untold(Revision revision);

  Logger& log_;
  ViewFile file_;
  std::vector<Projection*> projections_;
  std::unique_ptr<RealConnection> connection_;
  mutable std::mutex mutex_;
  ReplicaPosition position_;
  bool loading_ = false;                  // the connection's transaction is a load's
  std::size_t load_records_ = 0;          // in that transaction
  std::string load_after_;                // keys up to it are loaded
  ChangeSet load_changes_;                // what the load changed since its last part
  std::map<std::string, Change> untold_;  // parts that were committed, of loads that broke off too, by key
};

Result<void> RealReplica::open() {
  HANSA_TRY(const bool unclean, file_.open());
  if (unclean) log_.debug("the view was not closed; its log is read again");
  auto ready = connect(unclean);
  const auto senseless = [](ErrorCode code) { return code == ErrorCode::corrupt || code == ErrorCode::unsupported; };
  if (ready || !senseless(ready.error().code)) return ready;
  log_.warn("the view cannot be used", {{"error", ready.error().message}});
  HANSA_CHECK(file_.put_aside());
  HANSA_CHECK(connect(false));
  file_.set_whole();  // nobody has seen more
  return {};
}

Result<void> RealReplica::connect(bool check) {
  HANSA_TRY(connection_, file_.connect(RealConnection::Role::writer));
  const auto ready = [this, check]() -> Result<void> {
    HANSA_CHECK(create_record_tables(*connection_, file_.path()));
    if (check) HANSA_CHECK(check_structure(*connection_));
    HANSA_CHECK(connection_->execute(origin_table));
    HANSA_TRY(const auto revision, get_meta(*connection_, "revision"));
    HANSA_CHECK(prepare_projections(*connection_, projections_, static_cast<Revision>(revision)));
    return publish();
  }();
  if (!ready) connection_.reset();
  return ready;
}

Result<void> RealReplica::ensure() {
  abandon_load();
  if (file_.damaged()) {
    connection_.reset();
    HANSA_CHECK(file_.put_aside());
  }
  return connection_ ? Result<void>{} : connect(false);
}

void RealReplica::give_up_connection(const Error& error) {
  static_cast<void>(connection_->execute("ROLLBACK").has_value());  // the error may have rolled back already
  connection_.reset();
  if (error.code != ErrorCode::corrupt) return;
  file_.note_damage();
  auto begun = file_.put_aside();
  if (begun) begun = connect(false);
  if (!begun) log_.warn("the damaged view is put aside later", {{"error", begun.error().message}});
}

template <class Work>
Result<void> RealReplica::transaction(Work work) {
  HANSA_CHECK(ensure());
  auto done = connection_->execute("BEGIN IMMEDIATE");
  if (done) done = work();
  if (done) done = connection_->execute("COMMIT");
  if (done) done = publish();
  if (!done) give_up_connection(done.error());
  return done;
}

// Reads back what the last transaction left.
Result<void> RealReplica::publish() {
  ReplicaPosition now;
  HANSA_TRY(const auto revision, get_meta(*connection_, "revision"));
  now.revision = static_cast<Revision>(revision);
  {
    HANSA_TRY(auto read, connection_->prepare("SELECT v,n FROM kv WHERE k=?1"));
    read.bind(1, head_key);
    HANSA_TRY(const bool row, read.step());
    if (row) {
      now.head_operation = head_operation(as_text(read.column_blob(0)));
      now.head_version = static_cast<std::uint64_t>(read.column_int(1));
    }
  }
  {
    HANSA_TRY(auto read, connection_->prepare("SELECT name FROM origin"));
    HANSA_TRY(const bool row, read.step());
    if (row) now.origin = std::string(read.column_text(0));
  }
  const std::lock_guard guard(mutex_);
  position_ = std::move(now);
  return {};
}

Result<void> RealReplica::write(const ChangeSet& changes) {
  for (const Change& change : changes.changes) {
    if (change.deleted) {
      HANSA_TRY(auto remove, connection_->prepare("DELETE FROM kv WHERE k=?1"));
      HANSA_CHECK(remove.bind(1, std::string_view(change.now.key)).run());
      continue;
    }
    HANSA_TRY(auto put, connection_->prepare("INSERT OR REPLACE INTO kv(k,v,c,m,n,l) VALUES(?1,?2,?3,?4,?5,0)"));
    put.bind(1, std::string_view(change.now.key)).bind(2, as_bytes(change.now.value));
    put.bind(3, static_cast<std::int64_t>(change.now.create)).bind(4, static_cast<std::int64_t>(change.now.mod));
    HANSA_CHECK(put.bind(5, static_cast<std::int64_t>(change.now.version)).run());
  }
  for (auto* projection : projections_) HANSA_CHECK(projection->apply(*connection_, changes));
  return {};
}

Result<void> RealReplica::apply(std::span<const ChangeSet> changes) {
  HANSA_CHECK(ensure());
  if (!file_.whole()) return make_error(ErrorCode::unavailable, "the view begins anew: it must be loaded first");
  const Revision from = position().revision;
  const auto is_new = [from](const ChangeSet& set) { return set.revision > from; };
  if (std::ranges::none_of(changes, is_new)) return {};
  return transaction([&]() -> Result<void> {
    Revision last = from;
    for (const ChangeSet& set : changes) {
      if (set.revision <= last) continue;
      HANSA_CHECK(write(set));
      last = set.revision;
    }
    return set_meta(*connection_, "revision", static_cast<std::int64_t>(last));
  });
}

// ---- loading anew -----------------------------------------------------------------------------------------------

Result<void> RealReplica::begin_load() {
  HANSA_CHECK(ensure());
  load_after_.clear();
  load_changes_ = {};
  load_records_ = 0;
  auto begun = connection_->execute("BEGIN IMMEDIATE");
  if (!begun) {
    give_up_connection(begun.error());
    return begun;
  }
  loading_ = true;
  return {};
}

void RealReplica::abandon_load() {
  if (!loading_) return;
  loading_ = false;
  static_cast<void>(connection_->execute("ROLLBACK").has_value());
}

template <class Work>
Result<void> RealReplica::load_step(Work work) {
  if (!loading_) return make_error(ErrorCode::conflict, "no load of the view is under way: begin it again");
  auto done = work();
  if (done) return done;
  loading_ = false;
  give_up_connection(done.error());
  return done;
}

// What is loaded so far is committed; until the load ends, the file has no origin, so that a process which begins with
// it loads anew.
Result<void> RealReplica::split_load() {
  HANSA_CHECK(connection_->execute("DELETE FROM origin;COMMIT;"));
  for (auto& change : std::exchange(load_changes_, {}).changes) {
    std::string key = change.now.key;
    untold_.insert_or_assign(std::move(key), std::move(change));
  }
  HANSA_CHECK(publish());
  load_records_ = 0;
  return connection_->execute("BEGIN IMMEDIATE");
}

// Records of the file after load_after_, up to `to` (all of them if `last`).
Result<std::vector<KeyValue>> RealReplica::existing(const std::string& to, bool last) {
  std::vector<KeyValue> out;
  std::string after = load_after_;
  while (true) {
    HANSA_TRY(auto page, records_after(*connection_, after, stray_page));
    if (page.empty()) return out;
    after = page.back().key;
    for (auto& record : page) {
      if (!last && record.key > to) return out;
      record.value.clear();
      out.push_back(std::move(record));
    }
  }
}

Result<void> RealReplica::merge(std::span<const KeyValue> page, bool last) {
  HANSA_TRY(const auto old, existing(page.empty() ? std::string() : page.back().key, last));
  std::map<std::string_view, const KeyValue*> before;
  for (const auto& record : old) before.emplace(record.key, &record);
  // Later than all that the old state shows, though the end of the load is not known here.
  ChangeSet changes{.revision = position().revision + 1, .changes = {}};
  for (const auto& record : page) {
    changes.revision = std::max(changes.revision, record.mod);
    const auto known = before.find(record.key);
    const bool same = known != before.end() && known->second->mod == record.mod;
    if (!same) changes.changes.push_back({.now = record, .deleted = false});
    if (known != before.end()) before.erase(known);
  }
  for (const auto& [key, record] : before) {
    Change gone{.now = {}, .deleted = true};
    gone.now.key = std::string(key);
    gone.now.mod = changes.revision;
    changes.changes.push_back(std::move(gone));
  }
  std::ranges::sort(changes.changes, {}, [](const Change& change) -> const std::string& { return change.now.key; });
  if (changes.changes.empty()) return {};
  HANSA_CHECK(write(changes));
  load_records_ += changes.changes.size();
  for (auto& change : changes.changes) load_changes_.changes.push_back(std::move(change));
  return {};
}

Result<void> RealReplica::load(std::span<const KeyValue> page) {
  if (page.empty()) return {};
  return load_step([&]() -> Result<void> {
    const bool ordered = std::ranges::is_sorted(page, {}, &KeyValue::key) && page.front().key > load_after_;
    if (!ordered) return make_error(ErrorCode::invalid, "pages of a load come in key order");
    HANSA_CHECK(merge(page, false));
    load_after_ = page.back().key;
    return load_records_ >= load_transaction_limit ? split_load() : Result<void>{};
  });
}

// What parts changed that the last one did not; what is not there any more went with the file.
Result<void> RealReplica::add_untold(Revision revision) {
  std::set<std::string_view> told;
  for (const auto& change : load_changes_.changes) told.insert(change.now.key);
  std::vector<Change> more;
  for (const auto& [key, change] : untold_) {
    if (told.contains(key)) continue;
    HANSA_TRY(auto find, connection_->prepare("SELECT 1 FROM kv WHERE k=?1"));
    HANSA_TRY(const bool found, find.bind(1, std::string_view(key)).step());
    more.push_back(change);
    if (found) continue;
    more.back() = {.now = {}, .deleted = true};
    more.back().now.key = key;
    more.back().now.mod = revision;
  }
  std::ranges::move(more, std::back_inserter(load_changes_.changes));
  std::ranges::sort(load_changes_.changes, {},
                    [](const Change& change) -> const std::string& { return change.now.key; });
  return {};
}

Result<ChangeSet> RealReplica::finish_load(Revision revision, std::string origin) {
  HANSA_CHECK(load_step([&]() -> Result<void> {
    HANSA_CHECK(merge({}, true));
    HANSA_CHECK(add_untold(revision));
    for (auto* projection : projections_) HANSA_CHECK(projection->history_lost(*connection_, revision));
    HANSA_CHECK(write_origin(origin));
    HANSA_CHECK(set_meta(*connection_, "revision", static_cast<std::int64_t>(revision)));
    HANSA_CHECK(connection_->execute("COMMIT"));
    return publish();
  }));
  loading_ = false;
  file_.set_whole();
  untold_.clear();
  load_changes_.revision = revision;
  return std::exchange(load_changes_, {});
}

Result<void> RealReplica::write_origin(const std::string& origin) {
  HANSA_TRY(auto write, connection_->prepare("INSERT OR REPLACE INTO origin(one,name) VALUES(1,?1)"));
  return write.bind(1, std::string_view(origin)).run();
}

Result<void> RealReplica::set_origin(std::string origin) {
  return transaction([&] { return write_origin(origin); });
}

Result<void> RealReplica::discard() {
  return transaction([this]() -> Result<void> {
    HANSA_CHECK(connection_->execute("DELETE FROM kv;DELETE FROM origin;"));
    for (auto* projection : projections_) HANSA_CHECK(projection->create(*connection_));
    return set_meta(*connection_, "revision", 0);
  });
}

// ---- for peers --------------------------------------------------------------------------------------------------

Result<ReplicaSums> RealReplica::sums() {
  RecordSums sums;
  // One transaction, so that all is of one revision; the caller paces how often.
  HANSA_TRY(auto view, file_.read());
  std::string after;
  while (true) {
    HANSA_TRY(const auto page, records_after(view->connection(), after, sums_page));
    if (page.empty()) return ReplicaSums{.revision = view->revision(), .sums = sums.take()};
    after = page.back().key;
    for (const auto& record : page) sums.add(record);
  }
}

}  // namespace

void Replica::remove_files(io::Disk& disk, const std::string& path) {
  for (const char* part : {"", "-wal", "-shm"}) {
    static_cast<void>(disk.remove(path + part).has_value());  // mostly not there
  }
}

Result<std::unique_ptr<Replica>> Replica::open(io::Disk& disk, io::Clock& clock, Logger& log, DatabaseOptions options,
                                               std::vector<Projection*> projections) {
  auto replica = std::make_unique<RealReplica>(disk, clock, log, std::move(options), std::move(projections));
  HANSA_CHECK(replica->open());
  return std::unique_ptr<Replica>(std::move(replica));
}

}  // namespace hansa::meta::sqlite
