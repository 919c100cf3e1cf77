// What the handles of one path share: in-process file locks, the WAL index's memory and the sums of WAL pages.
// Private to the VFS. Every method is thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/bytes.h"
#include "meta/sqlite/vfs.h"

namespace hansa::meta::sqlite {

// A sum in which a change of any one word always shows: each step is a bijection of the state.
std::uint64_t page_sum(ConstBytes bytes, std::uint64_t seed);

struct Vfs::PathState {
  explicit PathState(Vfs& owner) : vfs_(owner) {}

  // SQLite's five lock levels (SQLITE_LOCK_NONE...EXCLUSIVE). `owner` is the handle. Return SQLite result codes.
  int lock(const void* owner, int level);
  void unlock(const void* owner, int level);
  bool reserved() const;

  // The WAL index: regions of memory and eight locks.
  int map_region(int region, int size, bool extend, void** out);
  int lock_shm(const void* owner, int first, int count, bool exclusive);
  void unlock_shm(const void* owner, int first, int count, bool exclusive);
  void unmap(const void* owner, bool forget);

  // The file was created and its folder was not synced since. Of the path, not of the handle: any connection may be
  // the one that creates the file, and any may be the first to sync it.
  std::atomic<bool> new_name = false;

  // Sums of WAL pages by file offset.
  void remember(std::uint64_t offset, ConstBytes page);
  void forget_range(std::uint64_t offset, std::uint64_t length);
  void forget_from(std::uint64_t offset);
  bool matches(std::uint64_t offset, ConstBytes page);  // true where nothing is known; then it is remembered

 private:
  static constexpr int shm_locks = 8;  // SQLITE_SHM_NLOCK
  struct ShmLock {
    const void* exclusive = nullptr;
    std::map<const void*, int> shared;
  };
  Vfs& vfs_;
  mutable std::mutex mutex_;
  std::map<const void*, int> levels_;  // level of each handle that holds one
  std::vector<std::unique_ptr<char[]>> regions_;
  std::array<ShmLock, shm_locks> shm_;
  std::map<std::uint64_t, std::uint64_t> sums_;
};

}  // namespace hansa::meta::sqlite
