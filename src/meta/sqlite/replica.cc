#include "meta/sqlite/replica.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "meta/sqlite/database_impl.h"
#include "meta/sqlite/record_tables.h"
#include "meta/sqlite/vfs_state.h"

namespace hansa::meta::sqlite {
namespace {

constexpr std::size_t sums_page = 1000;  // records hashed in one read transaction (trap T7)
constexpr std::size_t stray_page = 500;  // records compared at a time while loading
constexpr std::string_view origin_table =
    "CREATE TABLE IF NOT EXISTS origin(one INTEGER PRIMARY KEY CHECK(one=1), name TEXT NOT NULL);";

// Two independent sums of one record's hash; adding is the same in every order.
struct Sum {
  std::uint64_t low = 0;
  std::uint64_t high = 0;

  void add(const KeyValue& record) {
    std::string text = record.key;
    text += '\0';
    text.append(reinterpret_cast<const char*>(&record.mod), sizeof record.mod);
    text += record.value;
    text.append((8 - text.size() % 8) % 8, '\0');  // whole words
    text.append(reinterpret_cast<const char*>(&record.version), sizeof record.version);
    constexpr std::uint64_t one_seed = 0x9e3779b97f4a7c15ULL;
    constexpr std::uint64_t other_seed = 0xd1b54a32d192ed03ULL;
    low += page_sum(as_bytes(text), one_seed);
    high += page_sum(as_bytes(text), other_seed);
  }
  std::string text() const {
    const std::array<std::uint64_t, 2> words{high, low};
    return hex_encode(as_bytes(std::string_view(reinterpret_cast<const char*>(words.data()), sizeof words)));
  }
};

std::string_view first_part(std::string_view key) {
  return key.substr(0, key.find('/'));
}

class RealReplica final : public Replica {
 public:
  RealReplica(io::Disk& disk, io::Clock& clock, Logger& log, DatabaseOptions options,
              std::vector<Projection*> projections)
      : log_(log),
        options_(view_options(std::move(options))),
        vfs_(disk, clock),
        readers_(vfs_, options_),
        projections_(std::move(projections)) {}

  Result<void> open() {
    HANSA_TRY(const bool unclean, vfs_.settle(options_.path));
    if (unclean) log_.debug("the view was not closed; its log is read again", {{"path", options_.path}});
    return connect();
  }

  ReplicaPosition position() const override {
    const std::lock_guard guard(mutex_);
    return position_;
  }
  Result<std::unique_ptr<ReadTransaction>> read() override { return readers_.begin(); }

  Result<void> apply(std::span<const ChangeSet> changes) override;
  Result<void> begin_load() override;
  Result<void> load(std::span<const KeyValue> page) override;
  Result<ChangeSet> finish_load(Revision revision, std::string origin) override;
  Result<void> discard() override;
  Result<void> set_origin(std::string origin) override;
  Result<void> copy_to(const std::string& path) override;
  Result<std::vector<std::pair<std::string, std::string>>> sums() override;

 private:
  static DatabaseOptions view_options(DatabaseOptions options) {
    options.full_sync = false;
    return options;
  }
  Result<void> connect();
  Result<void> ensure() { return connection_ ? Result<void>{} : connect(); }
  // `work` in one transaction; after any error the connection is given up, so that nothing half-done is built upon.
  template <class Work>
  Result<void> transaction(Work work);
  Result<void> write(const ChangeSet& changes);
  Result<void> write_origin(const std::string& origin);
  Result<void> publish();
  Result<void> merge(std::span<const KeyValue> page, bool last);
  Result<std::vector<KeyValue>> existing(const std::string& to, bool last);

  Logger& log_;
  DatabaseOptions options_;
  Vfs vfs_;
  ReaderPool readers_;
  std::vector<Projection*> projections_;
  std::unique_ptr<RealConnection> connection_;
  mutable std::mutex mutex_;
  ReplicaPosition position_;
  std::string load_after_;  // keys up to it are loaded
  ChangeSet load_changes_;  // what the load changed so far, values left out
};

Result<void> RealReplica::connect() {
  HANSA_TRY(connection_, RealConnection::open(vfs_, options_, RealConnection::Role::writer));
  const auto ready = [this]() -> Result<void> {
    HANSA_CHECK(create_record_tables(*connection_, options_.path));
    HANSA_CHECK(connection_->execute(origin_table));
    HANSA_TRY(const auto revision, get_meta(*connection_, "revision"));
    HANSA_CHECK(prepare_projections(*connection_, projections_, static_cast<Revision>(revision)));
    return publish();
  }();
  if (!ready) connection_.reset();
  return ready;
}

template <class Work>
Result<void> RealReplica::transaction(Work work) {
  HANSA_CHECK(ensure());
  auto done = connection_->execute("BEGIN IMMEDIATE");
  if (done) done = work();
  if (done) done = connection_->execute("COMMIT");
  if (done) return publish();
  static_cast<void>(connection_->execute("ROLLBACK").has_value());  // the error may have rolled back already
  connection_.reset();
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
  load_after_.clear();
  load_changes_ = {};
  return ensure();
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
  ChangeSet changes{.revision = position().revision, .changes = {}};
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
  for (auto& change : changes.changes) load_changes_.changes.push_back(std::move(change));
  return {};
}

Result<void> RealReplica::load(std::span<const KeyValue> page) {
  if (page.empty()) return {};
  HANSA_CHECK(transaction([&] { return merge(page, false); }));
  load_after_ = page.back().key;
  return {};
}

Result<ChangeSet> RealReplica::finish_load(Revision revision, std::string origin) {
  HANSA_CHECK(transaction([&]() -> Result<void> {
    HANSA_CHECK(merge({}, true));
    HANSA_CHECK(write_origin(origin));
    return set_meta(*connection_, "revision", static_cast<std::int64_t>(revision));
  }));
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

Result<void> RealReplica::copy_to(const std::string& path) {
  DatabaseOptions target = options_;
  target.path = path;
  HANSA_TRY(const auto from, RealConnection::open(vfs_, options_, RealConnection::Role::reader));
  HANSA_TRY(const auto to, RealConnection::open(vfs_, target, RealConnection::Role::writer));
  return from->copy_to(*to);
}

Result<std::vector<std::pair<std::string, std::string>>> RealReplica::sums() {
  std::map<std::string, Sum> sums;
  // One transaction, so that all is of one revision; the caller paces how often.
  HANSA_TRY(auto view, readers_.begin());
  std::string after;
  while (true) {
    HANSA_TRY(const auto page, records_after(view->connection(), after, sums_page));
    if (page.empty()) break;
    after = page.back().key;
    for (const auto& record : page) {
      const std::string_view part = first_part(record.key);
      if (part == "alive" || part == "task") continue;
      sums[std::string(part)].add(record);
    }
  }
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [part, sum] : sums) out.emplace_back(part, sum.text());
  return out;
}

}  // namespace

Result<std::unique_ptr<Replica>> Replica::open(io::Disk& disk, io::Clock& clock, Logger& log, DatabaseOptions options,
                                               std::vector<Projection*> projections) {
  auto replica = std::make_unique<RealReplica>(disk, clock, log, options, projections);
  auto opened = replica->open();
  if (opened) return std::unique_ptr<Replica>(std::move(replica));
  if (opened.error().code != ErrorCode::corrupt) return std::move(opened).error();
  replica.reset();
  log.error("the view is damaged; it is put aside and loaded anew",
            {{"path", options.path}, {"error", opened.error().message}});
  HANSA_CHECK(disk.rename(options.path, options.path + ".damaged"));
  for (const char* end : {"-wal", "-shm"}) {
    const auto removed = disk.remove(options.path + end);
    if (!removed && removed.error().code != ErrorCode::not_found) return removed.error();
  }
  auto fresh = std::make_unique<RealReplica>(disk, clock, log, std::move(options), std::move(projections));
  HANSA_CHECK(fresh->open());
  return std::unique_ptr<Replica>(std::move(fresh));
}

}  // namespace hansa::meta::sqlite
