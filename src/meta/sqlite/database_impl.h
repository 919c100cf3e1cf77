// The connections behind database.h. Private to this room.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "meta/sqlite/database.h"
#include "meta/sqlite/vfs.h"

namespace hansa::meta::sqlite {

// An Error from a result code: page checksums and malformed files are corrupt, a full disk out_of_space.
Error sqlite_error(sqlite3* connection, int code, std::string_view doing);

class RealConnection final : public Connection {
 public:
  enum class Role : std::uint8_t { writer, reader };
  static Result<std::unique_ptr<RealConnection>> open(Vfs& vfs, const DatabaseOptions& options, Role role);
  ~RealConnection() override;
  RealConnection(const RealConnection&) = delete;
  RealConnection& operator=(const RealConnection&) = delete;

  Result<Statement> prepare(std::string_view sql) override;
  Result<void> execute(std::string_view sql) override;
  std::int64_t changes() const override;
  std::int64_t last_insert_id() const override;

  // Copies the whole database into `target`, which nobody else uses; this one may be written meanwhile.
  Result<void> copy_to(RealConnection& target);

 private:
  explicit RealConnection(sqlite3* handle) : handle_(handle) {}
  sqlite3* handle_;
  std::map<std::string, sqlite3_stmt*, std::less<>> statements_;
};

// The readers of one database, handed out one transaction at a time. Thread-safe. More than options.readers at once
// open connections that are closed afterwards, so that nobody waits for another's snapshot.
class ReaderPool {
 public:
  ReaderPool(Vfs& vfs, DatabaseOptions options) : vfs_(vfs), options_(std::move(options)) {}
  Result<std::unique_ptr<ReadTransaction>> begin();

 private:
  class Transaction;
  Result<std::unique_ptr<RealConnection>> take();
  void give_back(std::unique_ptr<RealConnection> connection);

  Vfs& vfs_;
  DatabaseOptions options_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<RealConnection>> idle_;
};

// First key after all keys with `prefix`; empty: there is none.
std::string end_of_prefix(std::string_view prefix);

}  // namespace hansa::meta::sqlite
