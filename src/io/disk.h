// Disk: the file system, as far as Hansa uses it. Calls block: use them from a blocking pool or at start-up,
// never on an event loop. Thread-safe. Paths are absolute.
//
// Durability: File::sync() makes the file's bytes and length durable; a name (created, renamed, linked, removed) is
// durable only after sync_directory() of its folder. After a failed sync() the file's contents are unknown for good:
// a later successful sync() proves nothing, so the caller gives the file up (P1).
// ENOSPC is ErrorCode::out_of_space, a missing file not_found, an existing one exists, anything else io.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace hansa::io {

enum class OpenMode : std::uint8_t {
  read,            // existing file, for reading
  write,           // existing file, for reading and writing
  create,          // read and write, made if absent
  create_new,      // read and write, must not exist (ErrorCode::exists)
  create_private,  // as create; only its owner may read it from then on (keys, secrets)
};

// An open file. Reads and writes at an offset; safe from several threads at once.
class File {
 public:
  virtual ~File() = default;  // closes; never syncs
  // Bytes read; fewer than asked for only at the end of the file.
  virtual Result<std::size_t> read(std::uint64_t offset, Bytes out) = 0;
  // All bytes or an error; after an error the range holds anything.
  virtual Result<void> write(std::uint64_t offset, ConstBytes data) = 0;
  virtual Result<void> sync() = 0;
  // Starts write-back of a range without waiting, so that a later sync() is short. A hint, nothing more.
  virtual void start_writeback(std::uint64_t offset, std::uint64_t length) = 0;
  virtual Result<void> truncate(std::uint64_t length) = 0;
  virtual Result<std::uint64_t> size() = 0;
  // The descriptor for sendfile, owned by this object; -1 where there is none (simulator).
  virtual int descriptor() const = 0;
};

struct FileInfo {
  bool directory = false;
  std::uint64_t size = 0;
  std::uint64_t links = 1;
};

struct DirectoryEntry {
  std::string name;
  bool directory = false;
};

struct DiskSpace {
  std::uint64_t total = 0;      // bytes
  std::uint64_t available = 0;  // bytes that this process may still write
};

// Held until destroyed. Another process (or another holder here) is refused meanwhile.
class DirectoryLock {
 public:
  virtual ~DirectoryLock() = default;
};

class Disk {
 public:
  virtual ~Disk() = default;
  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  // Replaces `to` if it exists, atomically.
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  // Hard link; ErrorCode::exists if `to` does.
  virtual Result<void> link(const std::string& from, const std::string& to) = 0;
  // A file or an empty directory.
  virtual Result<void> remove(const std::string& path) = 0;
  // With all parents; fine if it exists. Every directory made is synced into its parent.
  virtual Result<void> make_directories(const std::string& path) = 0;
  virtual Result<void> sync_directory(const std::string& path) = 0;
  // Entries sorted by name, without "." and "..".
  virtual Result<std::vector<DirectoryEntry>> list(const std::string& path) = 0;
  virtual Result<FileInfo> info(const std::string& path) = 0;
  virtual Result<DiskSpace> space(const std::string& path) = 0;
  // Takes `directory`/.lock. ErrorCode::conflict, with the other holder's process id, if it is taken.
  virtual Result<std::unique_ptr<DirectoryLock>> lock(const std::string& directory) = 0;
};

}  // namespace hansa::io
