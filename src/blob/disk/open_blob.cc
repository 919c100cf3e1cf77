#include "blob/disk/open_blob.h"

#include <algorithm>
#include <array>
#include <vector>

#include "blob/crc32c.h"

namespace hansa::blob::disk {
namespace {

std::uint32_t second_of(io::MonotonicTime now) {
  return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(now.since_origin).count()) + 1;
}

}  // namespace

OpenBlob::OpenBlob(oci::Digest digest, std::unique_ptr<io::File> file, std::uint64_t size, ChunkSums sums)
    : digest_(digest),
      file_(std::move(file)),
      size_(size),
      sums_(std::move(sums)),
      checked_(std::make_unique<std::atomic<std::uint32_t>[]>(sums_.size())) {}

bool OpenBlob::fresh(std::size_t chunk, std::uint32_t now, io::Duration every) const {
  const std::uint32_t at = checked_[chunk].load(std::memory_order_relaxed);
  return at != 0 && std::chrono::seconds(now - at) < every;
}

bool OpenBlob::is_verified(std::uint64_t offset, std::uint64_t length, io::MonotonicTime now,
                           io::Duration every) const {
  if (length == 0) return true;
  const std::uint32_t second = second_of(now);
  const std::size_t last = std::min<std::size_t>((offset + length - 1) / chunk_size, sums_.size() - 1);
  for (std::size_t chunk = offset / chunk_size; chunk <= last; ++chunk) {
    if (!fresh(chunk, second, every)) return false;
  }
  return true;
}

Result<void> OpenBlob::verify(std::uint64_t offset, std::uint64_t length, io::MonotonicTime now, io::Duration every) {
  if (length == 0 || size_ == 0) return {};
  const std::uint32_t second = second_of(now);
  std::vector<std::byte> buffer(chunk_size);
  const std::size_t last = std::min<std::size_t>((offset + length - 1) / chunk_size, sums_.size() - 1);
  for (std::size_t chunk = offset / chunk_size; chunk <= last; ++chunk) {
    if (fresh(chunk, second, every)) continue;
    const std::uint64_t start = chunk * chunk_size;
    const std::size_t expected = std::min<std::uint64_t>(chunk_size, size_ - start);
    HANSA_TRY(const auto got, file_->read(start, Bytes(buffer).first(expected)));
    if (got != expected || crc32c(Bytes(buffer).first(expected)) != sums_[chunk]) {
      return make_error(ErrorCode::corrupt, Subject::blob,
                        "the stored bytes of " + digest_.text() + " are damaged; push the blob again to heal it");
    }
    checked_[chunk].store(second, std::memory_order_relaxed);
  }
  return {};
}

void OpenBlob::mark_verified(io::MonotonicTime now) {
  for (std::size_t chunk = 0; chunk < sums_.size(); ++chunk) {
    checked_[chunk].store(second_of(now), std::memory_order_relaxed);
  }
}

std::shared_ptr<OpenBlob> OpenBlobs::find(const oci::Digest& digest) {
  const std::lock_guard guard(mutex_);
  const auto known = index_.find(digest);
  if (known == index_.end()) return nullptr;
  newest_first_.splice(newest_first_.begin(), newest_first_, known->second);
  return *known->second;
}

void OpenBlobs::insert(std::shared_ptr<OpenBlob> blob) {
  const std::lock_guard guard(mutex_);
  if (const auto known = index_.find(blob->digest()); known != index_.end()) drop_at(known->second);
  memory_ += blob->memory();
  newest_first_.push_front(std::move(blob));
  index_.emplace(newest_first_.front()->digest(), newest_first_.begin());
  while (newest_first_.size() > max_blobs_ || (memory_ > max_memory_ && newest_first_.size() > 1)) {
    drop_at(std::prev(newest_first_.end()));
  }
}

void OpenBlobs::drop(const oci::Digest& digest) {
  const std::lock_guard guard(mutex_);
  if (const auto known = index_.find(digest); known != index_.end()) drop_at(known->second);
}

void OpenBlobs::drop_at(List::iterator at) {
  memory_ -= (*at)->memory();
  index_.erase((*at)->digest());
  newest_first_.erase(at);
}

}  // namespace hansa::blob::disk
