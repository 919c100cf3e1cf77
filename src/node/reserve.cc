#include "node/reserve.h"

#include <algorithm>
#include <vector>

namespace hansa::node {
namespace {

std::string path_of(const std::string& root) {
  return root + "/reserve";
}

std::uint64_t size_on(const io::DiskSpace& space, std::uint64_t bytes) {
  return std::min(bytes, space.total / reserve_share);
}

// Zeros that were written take their place; a hole would not.
Result<void> write_zeros(io::Disk& disk, const std::string& path, std::uint64_t bytes) {
  constexpr std::size_t piece = 256 * KiB;
  const std::vector<std::byte> zeros(std::min<std::uint64_t>(piece, bytes));
  HANSA_TRY(auto file, disk.open(path, io::OpenMode::create));
  HANSA_CHECK(file->truncate(0));
  for (std::uint64_t at = 0; at < bytes; at += zeros.size()) {
    HANSA_CHECK(file->write(at, ConstBytes(zeros).first(std::min<std::uint64_t>(zeros.size(), bytes - at))));
  }
  return file->sync();
}

}  // namespace

void use_reserve(io::Disk& disk, Logger& log, const std::string& root, std::uint64_t bytes) {
  const auto space = disk.space(root);
  if (!space || space->available >= size_on(*space, bytes)) return;
  if (!disk.remove(path_of(root))) return;  // there is none
  log.warn("the disk is full; the space that is kept for a start is used: make room", {{"root", root}});
}

Result<void> keep_reserve(io::Disk& disk, const std::string& root, std::uint64_t bytes) {
  HANSA_TRY(const auto space, disk.space(root));
  const std::uint64_t size = size_on(space, bytes);
  const auto there = disk.info(path_of(root));
  if (there && there->size == size) return {};
  if (size == 0 || space.available / plenty < size) return {};
  const auto made = write_zeros(disk, path_of(root), size);
  if (made) return {};
  (void)disk.remove(path_of(root));
  return made;
}

}  // namespace hansa::node
