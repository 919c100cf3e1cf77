// Database: SQLite as Hansa uses it: opened through a VFS on the Disk port (so that the simulator tears its files
// too), WAL, one writer, a pool of readers with cached statements, a checksum on every page: a flipped bit is
// ErrorCode::corrupt, never an answer.
//
// The only files of the project that include sqlite3.h are .cc files of the rooms that rooms.txt names.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "io/disk.h"
#include "meta/store.h"

struct sqlite3;
struct sqlite3_stmt;

namespace hansa::meta::sqlite {

// A prepared statement, borrowed from its connection's cache. Columns count from 0, parameters from 1. Text and blobs
// bound must stay alive until reset; what column_* returns lives until the next step or reset. Resets when dropped.
class Statement {
 public:
  explicit Statement(sqlite3_stmt* statement, sqlite3* connection);
  ~Statement();
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;

  Statement& bind(int index, std::int64_t value);
  Statement& bind(int index, std::string_view text);
  Statement& bind(int index, ConstBytes blob);
  Statement& bind_null(int index);

  Result<bool> step();  // true: a row stands ready; false: done
  Result<void> run();   // steps to the end, rows dropped
  void reset();

  std::int64_t column_int(int index) const;
  std::string_view column_text(int index) const;
  ConstBytes column_blob(int index) const;
  bool column_null(int index) const;

 private:
  sqlite3_stmt* statement_;
  sqlite3* connection_;
};

// One connection; used by one thread at a time.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual Result<Statement> prepare(std::string_view sql) = 0;  // cached by text
  virtual Result<void> execute(std::string_view sql) = 0;       // several statements, no results
  virtual std::int64_t changes() const = 0;                     // rows changed by the last statement
  virtual std::int64_t last_insert_id() const = 0;
};

// Tables derived from the records, kept in step with them: apply() runs inside the transaction that writes them.
// When name or schema_version are new to a database, the tables are dropped and filled from all records.
class Projection {
 public:
  virtual ~Projection() = default;
  virtual std::string_view name() const = 0;
  virtual int schema_version() const = 0;
  virtual Result<void> create(Connection& connection) = 0;  // tables, empty; drops old ones first
  virtual Result<void> apply(Connection& connection, const ChangeSet& changes) = 0;
  // The records were read anew, up to `revision`: what happened since the last change set is known by its end only, so
  // ages that the tables keep begin now. In the transaction that ends the loading.
  virtual Result<void> history_lost(Connection& connection, Revision revision);
};

// A read transaction on a pooled connection: records and projected tables at one revision. Short-lived; one thread;
// never held across a suspension. A long one keeps the WAL from being reset (trap T7).
class ReadTransaction : public Snapshot {
 public:
  virtual Connection& connection() = 0;
};

struct DatabaseOptions {
  std::string path;  // absolute; the folder exists
  std::size_t readers = 8;
  std::int64_t cache_bytes = 64 * 1024 * 1024;  // page cache of all connections together
  int checkpoint_pages = 1000;                  // the WAL is copied into the database each time it has grown by so many
  bool full_sync = true;                        // synchronous=FULL: this file is the truth; NORMAL for views
};

class Store;  // store.h: MetadataStore on one Database: truth and view in one file

}  // namespace hansa::meta::sqlite
