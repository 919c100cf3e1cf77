#include "io/asio/posix_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace hansa::io::asio {
namespace {

// One pread or pwrite moves at most this much: the kernel's own limit is just under 2 GiB.
constexpr std::size_t kMaxTransfer = 1 * GiB;

// A call that may be interrupted by a signal before it has done anything.
template <class Call>
auto retry(Call call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace

Descriptor::~Descriptor() {
  // No error is lost here: nothing relies on bytes that were not synced.
  if (fd_ >= 0) ::close(fd_);
}

Error path_error(const char* what, const std::string& path) {
  const int code = errno;
  return errno_error(code, std::string(what) + " " + path);
}

Result<std::size_t> PosixFile::read(std::uint64_t offset, Bytes out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const std::size_t count = std::min(out.size() - done, kMaxTransfer);
    const ssize_t moved =
        retry([&] { return ::pread(fd_.get(), out.data() + done, count, static_cast<off_t>(offset + done)); });
    if (moved < 0) return path_error("read", path_);
    if (moved == 0) break;
    done += static_cast<std::size_t>(moved);
  }
  return done;
}

Result<void> PosixFile::write(std::uint64_t offset, ConstBytes data) {
  std::size_t done = 0;
  while (done < data.size()) {
    const std::size_t count = std::min(data.size() - done, kMaxTransfer);
    const ssize_t moved =
        retry([&] { return ::pwrite(fd_.get(), data.data() + done, count, static_cast<off_t>(offset + done)); });
    if (moved < 0) return path_error("write", path_);
    if (moved == 0) return make_error(ErrorCode::io, "write " + path_ + ": the file takes no bytes");
    done += static_cast<std::size_t>(moved);
  }
  return {};
}

Result<void> PosixFile::sync() {
  if (retry([&] { return ::fdatasync(fd_.get()); }) < 0) return path_error("fdatasync", path_);
  return {};
}

void PosixFile::start_writeback(std::uint64_t offset, std::uint64_t length) {
  // A hint: an error of the disk shows in sync().
  ::sync_file_range(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(length), SYNC_FILE_RANGE_WRITE);
}

Result<void> PosixFile::truncate(std::uint64_t length) {
  if (retry([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(length)); }) < 0) {
    return path_error("truncate", path_);
  }
  return {};
}

Result<std::uint64_t> PosixFile::size() {
  struct stat info{};
  if (::fstat(fd_.get(), &info) < 0) return path_error("stat", path_);
  return static_cast<std::uint64_t>(info.st_size);
}

}  // namespace hansa::io::asio
