#include "meta/sqlite/record_tables.h"

namespace hansa::meta::sqlite {
namespace {

constexpr std::int64_t database_format = 1;
constexpr std::size_t fill_page = 500;  // records read at a time when a projection is filled

// A database up to this size is looked through after an unclean end (tens of milliseconds); a larger one would make
// the node late. The checksums of the pages watch over both.
constexpr std::int64_t max_checked_pages = 16'384;

// Records in key order, as change sets: what apply() sees in the life of a store, only without history.
Result<void> fill(Connection& connection, Projection& projection, Revision revision) {
  HANSA_CHECK(projection.create(connection));
  std::string after;
  while (true) {
    HANSA_TRY(auto page, records_after(connection, after, fill_page));
    if (page.empty()) return {};
    after = page.back().key;
    ChangeSet changes{.revision = revision, .changes = {}};
    for (auto& record : page) changes.changes.push_back({.now = std::move(record), .deleted = false});
    HANSA_CHECK(projection.apply(connection, changes));
  }
}

}  // namespace

Result<void> Projection::history_lost(Connection&, Revision) {
  return {};
}

Result<void> create_record_tables(Connection& connection, std::string_view path) {
  HANSA_CHECK(connection.execute(
      "BEGIN IMMEDIATE;"
      "CREATE TABLE IF NOT EXISTS meta(k TEXT PRIMARY KEY, v INTEGER) WITHOUT ROWID;"
      "CREATE TABLE IF NOT EXISTS kv(k TEXT PRIMARY KEY, v BLOB NOT NULL, c INTEGER NOT NULL, m INTEGER NOT NULL,"
      " n INTEGER NOT NULL, l INTEGER NOT NULL) WITHOUT ROWID;"
      "CREATE INDEX IF NOT EXISTS kv_lease ON kv(l) WHERE l<>0;"
      "INSERT OR IGNORE INTO meta VALUES('format',1),('revision',0);"
      "COMMIT;"));
  HANSA_TRY(const auto format, get_meta(connection, "format"));
  if (format <= database_format) return {};
  return make_error(ErrorCode::unsupported, "the database " + std::string(path) + " has format " +
                                                std::to_string(format) + " and was written by a newer version");
}

Result<void> check_structure(Connection& connection) {
  {
    HANSA_TRY(auto count, connection.prepare("PRAGMA page_count"));
    HANSA_TRY(const bool row, count.step());
    if (!row || count.column_int(0) > max_checked_pages) return {};
  }
  HANSA_TRY(auto read, connection.prepare("PRAGMA quick_check(1)"));
  HANSA_TRY(const bool row, read.step());
  if (row && read.column_text(0) == "ok") return {};
  return make_error(ErrorCode::corrupt, "its structure is broken: " + std::string(read.column_text(0)));
}

Result<std::int64_t> get_meta(Connection& connection, std::string_view key) {
  HANSA_TRY(auto read, connection.prepare("SELECT v FROM meta WHERE k=?1"));
  read.bind(1, key);
  HANSA_TRY(const bool row, read.step());
  return row ? read.column_int(0) : 0;
}

Result<void> set_meta(Connection& connection, std::string_view key, std::int64_t value) {
  HANSA_TRY(auto write, connection.prepare("INSERT OR REPLACE INTO meta(k,v) VALUES(?1,?2)"));
  return write.bind(1, key).bind(2, value).run();
}

Result<std::vector<KeyValue>> records_after(Connection& connection, std::string_view after, std::size_t limit) {
  std::vector<KeyValue> page;
  HANSA_TRY(auto read, connection.prepare("SELECT k,v,c,m,n FROM kv WHERE k>?1 ORDER BY k LIMIT ?2"));
  read.bind(1, after).bind(2, static_cast<std::int64_t>(limit));
  while (true) {
    HANSA_TRY(const bool row, read.step());
    if (!row) return page;
    page.push_back({std::string(read.column_text(0)), std::string(as_text(read.column_blob(1))),
                    static_cast<Revision>(read.column_int(2)), static_cast<Revision>(read.column_int(3)),
                    static_cast<std::uint64_t>(read.column_int(4))});
  }
}

Result<void> prepare_projections(Connection& connection, std::span<Projection* const> projections, Revision revision) {
  for (auto* projection : projections) {
    const std::string key = "projection:" + std::string(projection->name());
    HANSA_TRY(const auto version, get_meta(connection, key));
    if (version == projection->schema_version()) continue;
    HANSA_CHECK(connection.execute("BEGIN IMMEDIATE"));
    auto filled = fill(connection, *projection, revision);
    if (filled) filled = set_meta(connection, key, projection->schema_version());
    if (filled) filled = connection.execute("COMMIT");
    if (filled) continue;
    static_cast<void>(connection.execute("ROLLBACK").has_value());  // the error may have rolled back already
    return std::move(filled).error().with_context("filling the tables of " + std::string(projection->name()));
  }
  return {};
}

}  // namespace hansa::meta::sqlite
