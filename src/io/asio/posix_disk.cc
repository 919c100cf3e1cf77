#include "io/asio/posix_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <string_view>

#include "io/asio/posix_file.h"

namespace hansa::io::asio {
namespace {

constexpr mode_t kFileMode = 0640;
constexpr mode_t kPrivateMode = 0600;
constexpr mode_t kDirectoryMode = 0750;
constexpr std::size_t kMaxPidText = 20;  // what is read of a lock file

int open_retry(const std::string& path, int flags, mode_t mode = kFileMode) {
  for (;;) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0 || errno != EINTR) return fd;
  }
}

int flags_of(OpenMode mode) {
  switch (mode) {
    case OpenMode::read: return O_RDONLY;
    case OpenMode::write: return O_RDWR;
    case OpenMode::create:
    case OpenMode::create_private: return O_RDWR | O_CREAT;
    case OpenMode::create_new: return O_RDWR | O_CREAT | O_EXCL;
  }
  return O_RDONLY;
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

class FlockedFile final : public DirectoryLock {
 public:
  explicit FlockedFile(Descriptor fd) : fd_(std::move(fd)) {}

 private:
  const Descriptor fd_;  // closing it drops the lock
};

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

class PosixDisk final : public Disk {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> link(const std::string& from, const std::string& to) override;
  Result<void> remove(const std::string& path) override;
  Result<void> make_directories(const std::string& path) override;
  Result<void> sync_directory(const std::string& path) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& path) override;
  Result<FileInfo> info(const std::string& path) override;
  Result<DiskSpace> space(const std::string& path) override;
  Result<std::unique_ptr<DirectoryLock>> lock(const std::string& directory) override;

 private:
  Result<void> make_one(const std::string& path);

  // A directory that another thread has made but not yet synced must not pass for durable.
  std::mutex making_directories_;
};

Result<std::unique_ptr<File>> PosixDisk::open(const std::string& path, OpenMode mode) {
  const bool secret = mode == OpenMode::create_private;
  Descriptor fd(open_retry(path, flags_of(mode), secret ? kPrivateMode : kFileMode));
  if (fd.get() < 0) return path_error("open", path);
  // One that was there already may be open to others.
  if (secret && ::fchmod(fd.get(), kPrivateMode) < 0) return path_error("chmod", path);
  if (mode == OpenMode::read) {  // only this mode opens directories
    struct stat info{};
    if (::fstat(fd.get(), &info) < 0) return path_error("stat", path);
    if (S_ISDIR(info.st_mode)) return errno_error(EISDIR, "open " + path);
  }
  return std::make_unique<PosixFile>(path, std::move(fd));
}

Result<void> PosixDisk::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return {};
  const int code = errno;
  return errno_error(code, "rename " + from + " to " + to);
}

Result<void> PosixDisk::link(const std::string& from, const std::string& to) {
  if (::link(from.c_str(), to.c_str()) == 0) return {};
  const int code = errno;
  return errno_error(code, "link " + from + " to " + to);
}

Result<void> PosixDisk::remove(const std::string& path) {
  if (::unlink(path.c_str()) == 0) return {};
  if (errno == EISDIR && ::rmdir(path.c_str()) == 0) return {};
  return path_error("remove", path);
}

Result<void> PosixDisk::make_one(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return {};
    return errno_error(ENOTDIR, "make directory " + path);
  }
  const std::string parent = parent_of(path);
  if (parent != path) HANSA_CHECK(make_one(parent));
  if (::mkdir(path.c_str(), kDirectoryMode) < 0 && errno != EEXIST) return path_error("make directory", path);
  return sync_directory(parent);
}

Result<void> PosixDisk::make_directories(const std::string& path) {
  const std::lock_guard lock(making_directories_);
  std::string clean = path;
  while (clean.size() > 1 && clean.back() == '/') clean.pop_back();
  return make_one(clean);
}

Result<void> PosixDisk::sync_directory(const std::string& path) {
  const Descriptor fd(open_retry(path, O_RDONLY | O_DIRECTORY));
  if (fd.get() < 0) return path_error("open directory", path);
  if (::fsync(fd.get()) < 0) return path_error("sync directory", path);
  return {};
}

Result<std::vector<DirectoryEntry>> PosixDisk::list(const std::string& path) {
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(path.c_str()));
  if (!directory) return path_error("list", path);
  std::vector<DirectoryEntry> entries;
  for (;;) {
    errno = 0;
    const dirent* found = ::readdir(directory.get());
    if (found == nullptr) break;
    const std::string_view name = found->d_name;
    if (name == "." || name == "..") continue;
    bool is_directory = found->d_type == DT_DIR;
    if (found->d_type == DT_UNKNOWN || found->d_type == DT_LNK) {
      struct stat info{};
      // It may have gone in the meantime; then it is listed as a file that is missing.
      is_directory = ::fstatat(::dirfd(directory.get()), found->d_name, &info, 0) == 0 && S_ISDIR(info.st_mode);
    }
    entries.push_back({std::string(name), is_directory});
  }
  if (errno != 0) return path_error("list", path);
  std::ranges::sort(entries, {}, &DirectoryEntry::name);
  return entries;
}

Result<FileInfo> PosixDisk::info(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) < 0) return path_error("stat", path);
  return FileInfo{.directory = S_ISDIR(info.st_mode),
                  .size = static_cast<std::uint64_t>(info.st_size),
                  .links = static_cast<std::uint64_t>(info.st_nlink)};
}

Result<DiskSpace> PosixDisk::space(const std::string& path) {
  struct statvfs info{};
  if (::statvfs(path.c_str(), &info) < 0) return path_error("statvfs", path);
  return DiskSpace{.total = std::uint64_t{info.f_blocks} * info.f_frsize,
                   .available = std::uint64_t{info.f_bavail} * info.f_frsize};
}

Result<std::unique_ptr<DirectoryLock>> PosixDisk::lock(const std::string& directory) {
  const std::string path = directory + "/.lock";
  Descriptor fd(open_retry(path, O_RDWR | O_CREAT));
  if (fd.get() < 0) return path_error("open", path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK) return path_error("lock", path);
    std::array<char, kMaxPidText> text{};
    const ssize_t size = ::pread(fd.get(), text.data(), text.size(), 0);
    const std::string pid(text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    return make_error(ErrorCode::conflict, Subject::file,
                      directory + " is in use by process " + (pid.empty() ? "(unknown)" : pid) +
                          ": stop it first, or use another directory");
  }
  const std::string pid = std::to_string(::getpid());
  if (::ftruncate(fd.get(), 0) < 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) {
    return path_error("write", path);
  }
  return std::make_unique<FlockedFile>(std::move(fd));
}

}  // namespace

std::unique_ptr<Disk> posix_disk() {
  return std::make_unique<PosixDisk>();
}

}  // namespace hansa::io::asio
