#include "blob/disk/open_blob.h"

#include <algorithm>
#include <array>
#include <vector>

#include "blob/crc32c.h"

namespace hansa::blob::disk {
namespace {

// Boot time, so that a machine that slept for a week checks anew.
std::uint32_t second_of(io::BootTime now) {
  return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(now.since_boot).count()) + 1;
}

}  // namespace

OpenBlob::OpenBlob(oci::Digest digest, std::unique_ptr<io::File> file, std::uint64_t size, ChunkSums sums)
    : digest_(digest),
      file_(std::move(file)),
      size_(size),
      sums_(std::move(sums)),
      checked_(std::make_unique<std::atomic<std::uint32_t>[]>(sums_.size())) {}

OpenBlob::Chunks OpenBlob::chunks_of(std::uint64_t offset, std::uint64_t length) const {
  if (length == 0 || offset >= size_) return {};
  const std::uint64_t last = offset + std::min(length, size_ - offset) - 1;
  return {.first = offset / chunk_size, .end = last / chunk_size + 1};
}

std::size_t OpenBlob::length_of(std::size_t chunk) const {
  return std::min<std::uint64_t>(chunk_size, size_ - chunk * chunk_size);
}

bool OpenBlob::fresh(std::size_t chunk, std::uint32_t now, io::Duration every) const {
  const std::uint32_t at = checked_[chunk].load(std::memory_order_relaxed);
  return at != 0 && std::chrono::seconds(now - at) < every;
}

Error OpenBlob::damage() const {
  return make_error(ErrorCode::corrupt, Subject::blob,
                    "the stored bytes of " + digest_.text() + " are damaged; push the blob again to heal it");
}

Result<void> OpenBlob::check(std::size_t chunk, Bytes buffer, std::uint32_t now) {
  const Bytes bytes = buffer.first(length_of(chunk));
  HANSA_TRY(const auto got, file_->read(chunk * chunk_size, bytes));
  if (got != bytes.size() || crc32c(bytes) != sums_[chunk]) return damage();
  checked_[chunk].store(now, std::memory_order_relaxed);
  return {};
}

bool OpenBlob::is_verified(std::uint64_t offset, std::uint64_t length, io::BootTime now, io::Duration every) const {
  const std::uint32_t second = second_of(now);
  const Chunks range = chunks_of(offset, length);
  for (std::size_t chunk = range.first; chunk < range.end; ++chunk) {
    if (!fresh(chunk, second, every)) return false;
  }
  return true;
}

Result<void> OpenBlob::verify(std::uint64_t offset, std::uint64_t length, io::BootTime now, io::Duration every) {
  const std::uint32_t second = second_of(now);
  const Chunks range = chunks_of(offset, length);
  std::vector<std::byte> buffer;
  for (std::size_t chunk = range.first; chunk < range.end; ++chunk) {
    if (fresh(chunk, second, every)) continue;
    buffer.resize(chunk_size);
    HANSA_CHECK(check(chunk, buffer, second));
  }
  return {};
}

Result<std::size_t> OpenBlob::read(std::uint64_t offset, Bytes out, io::BootTime now, io::Duration every) {
  if (offset >= size_) return std::size_t{0};
  out = out.first(std::min<std::uint64_t>(out.size(), size_ - offset));
  const std::uint32_t second = second_of(now);
  const Chunks range = chunks_of(offset, out.size());
  std::vector<std::byte> buffer;
  std::size_t done = 0;
  for (std::size_t chunk = range.first; chunk < range.end; ++chunk) {
    const std::size_t skip = offset + done - chunk * chunk_size;
    const Bytes part = out.subspan(done, std::min(out.size() - done, length_of(chunk) - skip));
    if (fresh(chunk, second, every)) {
      HANSA_TRY(const auto got, file_->read(offset + done, part));
      if (got != part.size()) return damage();
    } else if (part.size() == length_of(chunk)) {
      HANSA_CHECK(check(chunk, part, second));
    } else {
      buffer.resize(chunk_size);
      HANSA_CHECK(check(chunk, buffer, second));
      std::ranges::copy(Bytes(buffer).subspan(skip, part.size()), part.begin());
    }
    done += part.size();
  }
  return done;
}

void OpenBlob::mark_verified(io::BootTime now) {
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
