#include "sim/ports/disk_file.h"

#include <algorithm>
#include <cerrno>

namespace hansa::sim {
namespace {

// The first `count` bytes of a page, as far as both sides have them.
void copy_page(SimInode& file, std::uint64_t page, std::uint64_t count) {
  const std::uint64_t from = page * kPage;
  const std::uint64_t end = std::min({from + count, file.data.size(), file.platter.size()});
  if (from >= end) return;
  const auto source = file.data.begin() + static_cast<std::ptrdiff_t>(from);
  std::copy_n(source, end - from, file.platter.begin() + static_cast<std::ptrdiff_t>(from));
}

void clean(SimInode& file) {
  file.dirty.clear();
  file.length_dirty = false;
}

}  // namespace

void write_back(SimInode& file) {
  if (file.length_dirty) file.platter.resize(file.data.size());
  for (const std::uint64_t page : file.dirty) copy_page(file, page, kPage);
  clean(file);
}

void write_back_in_part(SimInode& file, SimRandom& random) {
  enum : std::uint8_t { lose_all, keep_all };
  const auto mood = random.below(4);
  if (mood == keep_all) return write_back(file);
  if (mood == lose_all) return clean(file);
  if (file.length_dirty) {
    const auto [low, high] = std::minmax(file.platter.size(), file.data.size());
    const std::array<std::uint64_t, 3> lengths{low, high, random.between(low, high)};
    file.platter.resize(lengths[random.below(lengths.size())]);
  }
  for (const std::uint64_t page : file.dirty) {
    switch (random.below(3)) {
      case 0: break;
      case 1: copy_page(file, page, kPage); break;
      default: copy_page(file, page, kSector * random.between(1, kPage / kSector - 1));
    }
  }
  clean(file);
}

Result<void> SimFile::check_writable() const {
  if (!writable_) return errno_error(EBADF, "change " + path_);
  return {};
}

std::uint64_t SimFile::room() const {
  if (!disk_.capacity_) return UINT64_MAX;
  const std::uint64_t used = disk_.tree_->used_bytes();
  return *disk_.capacity_ > used ? *disk_.capacity_ - used : 0;
}

void SimFile::set_length(std::uint64_t length) {
  const std::uint64_t old = inode_->data.size();
  if (length == old) return;
  inode_->data.resize(length);
  inode_->length_dirty = true;
  for (std::uint64_t page = old / kPage; page * kPage < length; ++page) inode_->dirty.insert(page);
}

void SimFile::put(std::uint64_t offset, ConstBytes data) {
  if (data.empty()) return;
  const std::uint64_t end = offset + data.size();
  set_length(std::max<std::uint64_t>(end, inode_->data.size()));
  std::ranges::copy(data, inode_->data.begin() + static_cast<std::ptrdiff_t>(offset));
  // A failed sync may have forgotten the length; bytes written beyond it bring it back, as they get new blocks.
  if (end > inode_->platter.size()) inode_->length_dirty = true;
  for (std::uint64_t page = offset / kPage; page * kPage < end; ++page) inode_->dirty.insert(page);
}

Result<std::size_t> SimFile::read(std::uint64_t offset, Bytes out) {
  const std::lock_guard lock(disk_.mutex_);
  HANSA_CHECK(disk_.check_alive(life_, path_));
  HANSA_CHECK(disk_.begin(Call::read, path_));
  if (offset >= inode_->data.size()) return std::size_t{0};
  const std::size_t count = std::min<std::size_t>(out.size(), inode_->data.size() - offset);
  std::copy_n(inode_->data.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
  return count;
}

Result<void> SimFile::write(std::uint64_t offset, ConstBytes data) {
  const std::lock_guard lock(disk_.mutex_);
  HANSA_CHECK(disk_.check_alive(life_, path_));
  HANSA_CHECK(check_writable());
  const auto begun = disk_.begin(Call::write, path_);
  if (!begun) {
    put(offset, data.first(disk_.random_.between(0, data.size())));
    return begun;
  }
  const std::uint64_t size = inode_->data.size();
  const std::uint64_t end = offset + data.size();
  const std::uint64_t growth = end > size && !data.empty() ? end - size : 0;
  const std::uint64_t room_left = room();
  if (growth > room_left) {
    const std::uint64_t last = size + room_left;
    if (last > offset) put(offset, data.first(last - offset));
    return errno_error(ENOSPC, "write " + path_);
  }
  put(offset, data);
  return {};
}

Result<void> SimFile::sync() {
  const std::lock_guard lock(disk_.mutex_);
  HANSA_CHECK(disk_.check_alive(life_, path_));
  const auto begun = disk_.begin(Call::sync, path_);
  if (begun) {
    write_back(*inode_);
  } else {
    write_back_in_part(*inode_, disk_.random_);
  }
  return begun;
}

Result<void> SimFile::truncate(std::uint64_t length) {
  const std::lock_guard lock(disk_.mutex_);
  HANSA_CHECK(disk_.check_alive(life_, path_));
  HANSA_CHECK(check_writable());
  HANSA_CHECK(disk_.begin(Call::truncate, path_));
  if (length > inode_->data.size() && length - inode_->data.size() > room()) {
    return errno_error(ENOSPC, "truncate " + path_);
  }
  set_length(length);
  return {};
}

Result<std::uint64_t> SimFile::size() {
  const std::lock_guard lock(disk_.mutex_);
  HANSA_CHECK(disk_.check_alive(life_, path_));
  HANSA_CHECK(disk_.begin(Call::size, path_));
  return std::uint64_t{inode_->data.size()};
}

SimLock::~SimLock() {
  const std::lock_guard lock(disk_.mutex_);
  if (life_ == disk_.life_) disk_.locked_.erase(directory_.get());
}

}  // namespace hansa::sim
