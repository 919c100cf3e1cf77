#include "meta/sqlite/database.h"

#include <sqlite3.h>

#include <limits>

#include "base/assert.h"
#include "meta/sqlite/database_impl.h"

namespace hansa::meta::sqlite {

Error sqlite_error(sqlite3* connection, int code, std::string_view doing) {
  const int extended = connection != nullptr ? sqlite3_extended_errcode(connection) : code;
  std::string message(doing);
  message += ": ";
  message += connection != nullptr ? sqlite3_errmsg(connection) : sqlite3_errstr(code);
  ErrorCode kind = ErrorCode::io;
  if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB || extended == SQLITE_IOERR_DATA || code == SQLITE_IOERR_DATA) {
    kind = ErrorCode::corrupt;
    message += " (a page of the database is damaged)";
  } else if (code == SQLITE_FULL) {
    kind = ErrorCode::out_of_space;
  } else if (code == SQLITE_BUSY || code == SQLITE_LOCKED) {
    kind = ErrorCode::unavailable;
  } else if (code == SQLITE_CONSTRAINT || code == SQLITE_ERROR || code == SQLITE_MISUSE) {
    kind = ErrorCode::internal;
  }
  return make_error(kind, std::move(message));
}

// ---- Statement --------------------------------------------------------------------------------------------------

Statement::Statement(sqlite3_stmt* statement, sqlite3* connection) : statement_(statement), connection_(connection) {}
Statement::Statement(Statement&& other) noexcept
    : statement_(std::exchange(other.statement_, nullptr)), connection_(other.connection_) {}
Statement::~Statement() {
  if (statement_ != nullptr) {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }
}

namespace {
void check_bound(int code) {
  HANSA_ASSERT(code == SQLITE_OK, "a parameter exists and the statement is reset");
}
}  // namespace

Statement& Statement::bind(int index, std::int64_t value) {
  check_bound(sqlite3_bind_int64(statement_, index, value));
  return *this;
}
Statement& Statement::bind(int index, std::string_view text) {
  // A null pointer would bind NULL; empty text is text.
  const char* data = text.data() != nullptr ? text.data() : "";
  check_bound(sqlite3_bind_text64(statement_, index, data, text.size(), SQLITE_STATIC, SQLITE_UTF8));
  return *this;
}
Statement& Statement::bind(int index, ConstBytes blob) {
  const void* data = blob.data() != nullptr ? static_cast<const void*>(blob.data()) : "";
  check_bound(sqlite3_bind_blob64(statement_, index, data, blob.size(), SQLITE_STATIC));
  return *this;
}
Statement& Statement::bind_null(int index) {
  check_bound(sqlite3_bind_null(statement_, index));
  return *this;
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return sqlite_error(connection_, code & 0xff, "database");
}

Result<void> Statement::run() {
  while (true) {
    HANSA_TRY(const bool row, step());
    if (!row) break;
  }
  reset();
  return {};
}

void Statement::reset() {
  sqlite3_reset(statement_);
}

std::int64_t Statement::column_int(int index) const {
  return sqlite3_column_int64(statement_, index);
}
std::string_view Statement::column_text(int index) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, index));
  return text == nullptr ? std::string_view{}
                         : std::string_view(text, static_cast<std::size_t>(sqlite3_column_bytes(statement_, index)));
}
ConstBytes Statement::column_blob(int index) const {
  const auto* data = static_cast<const std::byte*>(sqlite3_column_blob(statement_, index));
  return {data, data == nullptr ? 0 : static_cast<std::size_t>(sqlite3_column_bytes(statement_, index))};
}
bool Statement::column_null(int index) const {
  return sqlite3_column_type(statement_, index) == SQLITE_NULL;
}

// ---- Connection -------------------------------------------------------------------------------------------------

namespace {
std::string pragmas(const DatabaseOptions& options, RealConnection::Role role) {
  // The writer sees every page it changes; readers share the rest.
  const std::int64_t parts = role == RealConnection::Role::writer ? 2 : 2 * static_cast<std::int64_t>(options.readers);
  const std::int64_t cache_kib = std::max<std::int64_t>(options.cache_bytes / parts / 1024, 256);
  std::string text = "PRAGMA cache_size=-" + std::to_string(cache_kib) + ";PRAGMA temp_store=MEMORY;";
  if (role == RealConnection::Role::reader) return text + "PRAGMA query_only=1;";
  text += "PRAGMA page_size=" + std::to_string(page_size) + ";PRAGMA journal_mode=WAL;";
  text += options.full_sync ? "PRAGMA synchronous=FULL;" : "PRAGMA synchronous=NORMAL;";
  text += "PRAGMA wal_autocheckpoint=" + std::to_string(options.checkpoint_pages) + ";";
  return text + "PRAGMA journal_size_limit=8388608;";
}
}  // namespace

Result<std::unique_ptr<RealConnection>> RealConnection::open(Vfs& vfs, const DatabaseOptions& options, Role role) {
  sqlite3* handle = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                    (role == Role::writer ? SQLITE_OPEN_CREATE : 0);
  const int code = sqlite3_open_v2(options.path.c_str(), &handle, flags, vfs.name());
  std::unique_ptr<RealConnection> connection(new RealConnection(handle));
  if (code != SQLITE_OK) return sqlite_error(handle, code & 0xff, "cannot open the database " + options.path);
  int reserve = page_reserve;
  sqlite3_file_control(handle, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
  constexpr int busy_milliseconds = 5000;
  sqlite3_busy_timeout(handle, busy_milliseconds);
  auto done = connection->execute(pragmas(options, role));
  if (!done) return std::move(done).error().with_context("the database " + options.path);
  return connection;
}

RealConnection::~RealConnection() {
  for (auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close_v2(handle_);
}

Result<Statement> RealConnection::prepare(std::string_view sql) {
  if (auto known = statements_.find(sql); known != statements_.end()) {
    HANSA_ASSERT(sqlite3_stmt_busy(known->second) == 0, "a statement is not used inside its own loop");
    return Statement(known->second, handle_);
  }
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                      &statement, nullptr);
  if (code != SQLITE_OK) return sqlite_error(handle_, code & 0xff, std::string(sql));
  statements_.emplace(std::string(sql), statement);
  return Statement(statement, handle_);
}

Result<void> RealConnection::execute(std::string_view sql) {
  const std::string text(sql);
  const int code = sqlite3_exec(handle_, text.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return sqlite_error(handle_, code & 0xff, "database");
  return {};
}

std::int64_t RealConnection::changes() const {
  return sqlite3_changes64(handle_);
}
std::int64_t RealConnection::last_insert_id() const {
  return sqlite3_last_insert_rowid(handle_);
}

Result<void> RealConnection::copy_to(RealConnection& target) {
  sqlite3_backup* backup = sqlite3_backup_init(target.handle_, "main", handle_, "main");
  if (backup == nullptr) return sqlite_error(target.handle_, sqlite3_errcode(target.handle_), "copying the database");
  const int code = sqlite3_backup_step(backup, -1);
  sqlite3_backup_finish(backup);
  if (code == SQLITE_DONE) return {};
  return sqlite_error(target.handle_, code & 0xff, "copying the database");
}

// ---- readers ----------------------------------------------------------------------------------------------------

std::string end_of_prefix(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

class ReaderPool::Transaction final : public ReadTransaction {
 public:
  Transaction(ReaderPool& pool, std::unique_ptr<RealConnection> connection)
      : pool_(pool), connection_(std::move(connection)) {}
  ~Transaction() override {
    if (!began_) return;
    // A connection whose transaction cannot be ended is not used again.
    auto commit = connection_->prepare("COMMIT");
    if (!commit || !commit->run()) return;
    pool_.give_back(std::move(connection_));
  }

  Result<void> begin() {
    HANSA_TRY(auto start, connection_->prepare("BEGIN"));
    HANSA_CHECK(start.run());
    began_ = true;
    // The first read fixes the revision that everything after it sees.
    HANSA_TRY(auto read, connection_->prepare("SELECT v FROM meta WHERE k='revision'"));
    HANSA_TRY(const bool row, read.step());
    revision_ = row ? static_cast<Revision>(read.column_int(0)) : 0;
    return {};
  }

  Revision revision() const override { return revision_; }
  Connection& connection() override { return *connection_; }

  Result<std::unique_ptr<KeyValue>> get(std::string_view key) override {
    HANSA_TRY(auto read, connection_->prepare("SELECT k,v,c,m,n FROM kv WHERE k=?1"));
    read.bind(1, key);
    HANSA_TRY(const bool row, read.step());
    if (!row) return std::unique_ptr<KeyValue>();
    return std::make_unique<KeyValue>(record_of(read));
  }

  Result<std::vector<KeyValue>> range(std::string_view prefix, std::string_view after, std::size_t limit) override {
    std::vector<KeyValue> result;
    const std::string end = end_of_prefix(prefix);
    if (!end.empty() && after >= end) return result;
    // One lower bound, the tighter one: SQLite would use only one of two, and perhaps the other.
    const bool past = after >= prefix;
    std::string sql = "SELECT k,v,c,m,n FROM kv WHERE k";
    sql += past && !after.empty() ? ">?1" : ">=?1";
    if (!end.empty()) sql += " AND k<?3";
    HANSA_TRY(auto read, connection_->prepare(sql + " ORDER BY k LIMIT ?2"));
    constexpr std::size_t most = std::numeric_limits<std::int64_t>::max();
    read.bind(1, past ? after : prefix).bind(2, static_cast<std::int64_t>(std::min(limit, most)));
    if (!end.empty()) read.bind(3, std::string_view(end));
    while (true) {
      HANSA_TRY(const bool row, read.step());
      if (!row) return result;
      result.push_back(record_of(read));
    }
  }

 private:
  static KeyValue record_of(const Statement& read) {
    KeyValue record;
    record.key = read.column_text(0);
    record.value = as_text(read.column_blob(1));
    record.create = static_cast<Revision>(read.column_int(2));
    record.mod = static_cast<Revision>(read.column_int(3));
    record.version = static_cast<std::uint64_t>(read.column_int(4));
    return record;
  }

  ReaderPool& pool_;
  std::unique_ptr<RealConnection> connection_;
  Revision revision_ = 0;
  bool began_ = false;
};

Result<std::unique_ptr<RealConnection>> ReaderPool::take() {
  {
    const std::lock_guard guard(mutex_);
    if (!idle_.empty()) {
      auto connection = std::move(idle_.back());
      idle_.pop_back();
      return connection;
    }
  }
  return RealConnection::open(vfs_, options_, RealConnection::Role::reader);
}

void ReaderPool::give_back(std::unique_ptr<RealConnection> connection) {
  const std::lock_guard guard(mutex_);
  if (idle_.size() < options_.readers) idle_.push_back(std::move(connection));
}

Result<std::unique_ptr<ReadTransaction>> ReaderPool::begin() {
  HANSA_TRY(auto connection, take());
  auto transaction = std::make_unique<Transaction>(*this, std::move(connection));
  HANSA_CHECK(transaction->begin());
  return std::unique_ptr<ReadTransaction>(std::move(transaction));
}

}  // namespace hansa::meta::sqlite
