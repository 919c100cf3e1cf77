// SimDisk: a file system in memory that forgets like a real one. What was written is seen at once by all, but only
// what was synced survives a crash; names and bytes are synced apart (see io/disk.h).
//
//   SimDisk disk(world, "node-1");
//   disk.crash();                                    // power cut and power back
//   disk.stop(Loss::unsynced); ...; disk.start();    // off in between: every call fails, so old tasks write nothing
//   disk.stop(Loss::nothing); ...                    // kill -9: the kernel lives on, the process's files are gone
//   disk.fail({.call = Call::sync, .nth = 3});       // the third sync from now fails with EIO
//   for (n = 1; ...; ++n) disk.fail({.nth = n});     // every n-th call of a workload
//   disk.set_capacity(1 * MiB);  disk.set_delay(1ms, 50ms);  disk.flip("/data/blob", 17);
//
// A crash. Every open file is dead for good (ErrorCode::io) and locks are free. Of each file every unsynced 4 KiB page
// is kept, lost or torn at a 512-byte sector, and an unsynced length is the old one, the new one or between. Of the
// unsynced changes of names each directory keeps a beginning of its history; a rename between two directories happens
// in both or in neither.
// A failed sync() forgets: each dirty page reached the disk, or did not, or half of it did, and is clean now. Reads
// still show what was written, and a later sync() succeeds without writing it. A failed write leaves a part.
//
// All draws come from the world's seed and the disk's name. Thread-safe, but then threads decide the order of draws.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "io/disk.h"
#include "sim/ports/random.h"
#include "sim/ports/world.h"

namespace hansa::sim {

enum class Call : std::uint8_t {
  any,  // in a Fault: of whatever kind
  open,
  read,
  write,
  sync,
  truncate,
  size,
  rename,
  link,
  remove,
  make_directories,
  sync_directory,
  list,
  info,
  space,
  lock,
};
inline constexpr std::size_t kCalls = 16;

struct Fault {
  Call call = Call::any;
  std::uint64_t nth = 1;           // of the calls of that kind from now on
  ErrorCode code = ErrorCode::io;  // or out_of_space
  bool for_ever = false;           // and every later one too: the disk is broken
};

enum class Loss : std::uint8_t { nothing, unsynced };

inline constexpr std::uint64_t kPage = 4 * KiB;
inline constexpr std::uint64_t kSector = 512;

struct SimInode;  // disk_tree.h
struct SimTree;

class SimDisk final : public io::Disk {
 public:
  SimDisk(World& world, std::string_view name);
  ~SimDisk() override;

  void crash() {
    stop(Loss::unsynced);
    start();
  }
  void stop(Loss loss);
  void start();

  void fail(Fault fault);
  void clear_faults();
  // Calls so far, faults included; Call::any: of all kinds.
  std::uint64_t calls(Call call) const;
  // Bytes that all files together may hold; none: no limit.
  void set_capacity(std::optional<std::uint64_t> bytes);
  // Every call made by blocking work takes a time drawn from this range.
  void set_delay(io::Duration least, io::Duration most);
  // Inverts one bit of the byte at `offset`, on the platter and in memory. The file exists and is long enough.
  void flip(const std::string& path, std::uint64_t offset);
  // What a copy of the disk would have now: what is on the platter.
  std::unique_ptr<SimTree> image() const;
  // The disk is what it was then; null: a new, empty one. REQUIRES: off, between stop() and start().
  void set_back(std::unique_ptr<SimTree> image);
  std::size_t memory() const;  // bytes of this process that its files take
  // Whether there is such a file, also while the machine is off. No call of the disk.
  bool has(const std::string& path) const;
  // Calls from an event that is not blocking work stop the process: they would block an event loop.
  void forbid_on_loop() { forbid_on_loop_ = true; }

  Result<std::unique_ptr<io::File>> open(const std::string& path, io::OpenMode mode) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> link(const std::string& from, const std::string& to) override;
  Result<void> remove(const std::string& path) override;
  Result<void> make_directories(const std::string& path) override;
  Result<void> sync_directory(const std::string& path) override;
  Result<std::vector<io::DirectoryEntry>> list(const std::string& path) override;
  Result<io::FileInfo> info(const std::string& path) override;
  Result<io::DiskSpace> space(const std::string& path) override;
  Result<std::unique_ptr<io::DirectoryLock>> lock(const std::string& directory) override;

 private:
  friend class SimFile;
  friend class SimLock;

  // Counts the call and says whether it fails; with mutex_ held.
  Result<void> begin(Call call, const std::string& path);
  Result<void> check_alive(std::uint64_t life, const std::string& path) const;

  World& world_;
  mutable std::mutex mutex_;
  SimRandom random_;
  std::unique_ptr<SimTree> tree_;
  std::uint64_t life_ = 1;  // a handle of an earlier life is dead
  bool on_ = true;
  bool forbid_on_loop_ = false;
  std::set<const SimInode*> locked_;
  std::list<Fault> faults_;  // nth counts down
  std::array<std::uint64_t, kCalls> counts_{};
  std::optional<std::uint64_t> capacity_;
  io::Duration delay_least_{};
  io::Duration delay_most_{};
};

}  // namespace hansa::sim
