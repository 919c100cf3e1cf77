// Vfs: lets SQLite reach files only through io::Disk, so that the simulator can lose, tear and flip what SQLite wrote.
//
//  - Every page of a main database ends in 8 bytes of checksum over its bytes and its number (SQLite leaves them free:
//    SQLITE_FCNTL_RESERVE_BYTES). A page that fails it is SQLITE_IOERR_DATA, which Database reports as corrupt. Pages
//    in the WAL are summed in memory when they are written or first read (recovery checks them on its own).
//  - Locks and the WAL index live in this process's memory, shared by the connections of one Vfs: another process is
//    kept out by the directory lock of the node.
//  - The first sync of a handle also syncs the folder: the name may be newer than the last power cut.
//  - A process that died after a failed sync leaves a WAL whose bytes may be in the system's memory only, and the
//    system then says that there is nothing to sync. settle() writes it again before SQLite reads it (P1).
//  - SQLite draws the salts of WAL headers from its process-wide generator, not from here: they never decide anything.
//
// One Vfs per Database; register before the first connection, destroy after the last. Thread-safe as SQLite asks.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "io/clock.h"
#include "io/disk.h"

struct sqlite3_vfs;

namespace hansa::meta::sqlite {

inline constexpr int page_size = 4096;  // bytes; fixed, so that a flipped header cannot change it
inline constexpr int page_reserve = 8;  // bytes of checksum at a page's end

class Vfs {
 public:
  Vfs(io::Disk& disk, io::Clock& clock);
  ~Vfs();
  Vfs(const Vfs&) = delete;
  Vfs& operator=(const Vfs&) = delete;
  const char* name() const { return name_.c_str(); }

  struct PathState;  // what all handles of one path share
  io::Disk& disk() { return disk_; }
  io::Clock& clock() { return clock_; }
  std::shared_ptr<PathState> state_of(const std::string& path);

  // Before the first connection to `path`. True: there was a WAL, so the last process did not close the database.
  Result<bool> settle(const std::string& path);

  // A lock was released; wait_for_unlock() returns then, or after `microseconds`.
  void unlocked() { unlocked_.notify_all(); }
  void wait_for_unlock(int microseconds);

 private:
  io::Disk& disk_;
  io::Clock& clock_;
  std::string name_;
  std::unique_ptr<sqlite3_vfs> vfs_;
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<PathState>> states_;
  std::mutex sleeping_;
  std::condition_variable unlocked_;
};

}  // namespace hansa::meta::sqlite
