#include "blob/disk/staged.h"

#include <functional>
#include <vector>

#include "io/wait.h"

namespace hansa::blob::disk {
namespace {
constexpr std::uint64_t writeback_step = 8 * MiB;  // so that the last fsync is short (trap T5)
constexpr std::size_t read_step = MiB;
}  // namespace

io::Task<Result<void>> DiskStaged::append(ConstBytes data) {
  auto work = [this, data] { return append_now(data); };
  co_return co_await io::blocking(io::Pool::disk, std::move(work));
}

Result<void> DiskStaged::append_now(ConstBytes data) {
  if (data.empty()) return {};
  if (auto written = file_->write(size_, data); !written) {
    // The length is what it was before; if even that fails, reopening hashes what is really there.
    auto restored = file_->truncate(size_);
    if (!restored) return std::move(restored).error().with_context(written.error().message);
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

Result<void> DiskStaged::read_all(const std::function<void(ConstBytes)>& use) {
  std::vector<std::byte> buffer(read_step);
  HANSA_TRY(const auto length, file_->size());
  for (std::uint64_t at = 0; at < length;) {
    HANSA_TRY(const auto got, file_->read(at, buffer));
    if (got == 0) return make_error(ErrorCode::io, "the staged file " + path_ + " ended early");
    use(Bytes(buffer).first(got));
    at += got;
  }
  return {};
}

Result<void> DiskStaged::rehash() {
  hasher_ = oci::Hasher(hasher_.algorithm());
  summer_ = ChunkSummer();
  size_ = 0;
  return read_all([this](ConstBytes data) {
    hasher_.update(data);
    summer_.update(data);
    size_ += data.size();
  });
}

Result<oci::Digest> DiskStaged::digest_by(oci::Algorithm algorithm) {
  oci::Hasher hasher(algorithm);
  HANSA_CHECK(read_all([&hasher](ConstBytes data) { hasher.update(data); }));
  return hasher.digest();
}

}  // namespace hansa::blob::disk
