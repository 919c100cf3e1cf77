// An open file and a held lock of a SimDisk. Both belong to one life of the disk and are dead after a crash.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "sim/ports/disk.h"
#include "sim/ports/disk_tree.h"

namespace hansa::sim {

// Writes the dirty pages of a file to the platter as a crash or a failed sync does: each whole, in part or not at all.
// The file is clean afterwards.
void write_back_in_part(SimInode& file, SimRandom& random);
// As a sync that succeeds.
void write_back(SimInode& file);

class SimFile final : public io::File {
 public:
  // The disk outlives its files.
  SimFile(SimDisk& disk, std::shared_ptr<SimInode> inode, std::string path, bool writable)
      : disk_(disk), inode_(std::move(inode)), path_(std::move(path)), writable_(writable), life_(disk.life_) {}

  Result<std::size_t> read(std::uint64_t offset, Bytes out) override;
  Result<void> write(std::uint64_t offset, ConstBytes data) override;
  Result<void> sync() override;
  void start_writeback(std::uint64_t, std::uint64_t) override {}  // promises nothing, so it does nothing
  Result<void> truncate(std::uint64_t length) override;
  Result<std::uint64_t> size() override;
  int descriptor() const override { return -1; }

 private:
  Result<void> check_writable() const;
  // Bytes that may be added to all files together.
  std::uint64_t room() const;
  void set_length(std::uint64_t length);
  void put(std::uint64_t offset, ConstBytes data);

  SimDisk& disk_;
  const std::shared_ptr<SimInode> inode_;
  const std::string path_;
  const bool writable_;
  const std::uint64_t life_;
};

class SimLock final : public io::DirectoryLock {
 public:
  SimLock(SimDisk& disk, std::shared_ptr<SimInode> directory)
      : disk_(disk), directory_(std::move(directory)), life_(disk.life_) {}
  ~SimLock() override;

 private:
  SimDisk& disk_;
  const std::shared_ptr<SimInode> directory_;
  const std::uint64_t life_;
};

}  // namespace hansa::sim
