#include "blob/disk/staged.h"

#include "io/wait.h"

namespace hansa::blob::disk {
namespace {
constexpr std::uint64_t writeback_step = 8 * MiB;  // so that the last fsync is short (trap T5)
}  // namespace

io::Task<Result<void>> DiskStaged::append(ConstBytes data) {
  auto work = [this, data] { return append_now(data); };
  co_return co_await io::blocking(io::Pool::disk, std::move(work));
}

io::Task<Result<std::size_t>> DiskStagedReader::read(std::uint64_t offset, Bytes out) {
  auto work = [this, offset, out] { return file_->read(offset, out); };
  co_return co_await io::blocking(io::Pool::disk, std::move(work));
}

io::Task<Result<std::uint64_t>> DiskStagedReader::size() {
  auto work = [this] { return file_->size(); };
  co_return co_await io::blocking(io::Pool::disk, std::move(work));
}

Result<void> DiskStaged::settle() {
  if (!usable()) {
    return make_error(ErrorCode::conflict, Subject::upload,
                      "this upload was finished or given up after a failed write; begin a new one");
  }
  if (!has_tail_) return {};
  HANSA_CHECK(file_->truncate(size_));
  has_tail_ = false;
  return {};
}

Result<void> DiskStaged::append_now(ConstBytes data) {
  HANSA_CHECK(settle());
  if (data.empty()) return {};
  if (auto written = file_->write(size_, data); !written) {
    // Gives the space back at once; if even that fails, settle() does it before the next step.
    has_tail_ = !file_->truncate(size_).has_value();
    return written.error();
  }
  hasher_.update(data);
  summer_.update(data);
  size_ += data.size();
  if (size_ - flushed_ >= writeback_step) {
    file_->start_writeback(flushed_, size_ - flushed_);
    flushed_ = size_;
  }
  return {};
}

Result<void> DiskStaged::rehash() {
  HANSA_TRY(const auto length, file_->size());
  hasher_ = oci::Hasher(hasher_.algorithm());
  summer_ = ChunkSummer();
  size_ = 0;
  flushed_ = 0;
  HANSA_CHECK(read_all(*file_, length, [this](ConstBytes data) {
    hasher_.update(data);
    summer_.update(data);
    size_ += data.size();
  }));
  if (size_ != length) return make_error(ErrorCode::io, Subject::upload, "the staged file " + path_ + " ended early");
  return {};
}

Result<oci::Digest> DiskStaged::digest_by(oci::Algorithm algorithm) {
  oci::Hasher hasher(algorithm);
  HANSA_CHECK(read_all(*file_, size_, [&hasher](ConstBytes data) { hasher.update(data); }));
  return hasher.digest();
}

}  // namespace hansa::blob::disk
