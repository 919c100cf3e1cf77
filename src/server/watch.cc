#include "server/watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace hansa::server {
namespace {

constexpr std::size_t event_buffer = 16 * 1024;  // bytes; one event has at most 16 + 256
constexpr std::string_view kubernetes_link = "..data";

}  // namespace

Result<std::unique_ptr<FileWatch>> FileWatch::open() {
  const int descriptor = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (descriptor < 0) {
    return errno_error(errno, "cannot watch files for changes (raise fs.inotify.max_user_instances)");
  }
  return std::unique_ptr<FileWatch>(new FileWatch(descriptor));
}

FileWatch::~FileWatch() {
  ::close(descriptor_);
}

void FileWatch::add(const std::vector<std::string>& files) {
  for (const auto& file : files) {
    if (file.empty()) continue;
    // The file itself: it may be mounted there by itself, so that its folder tells nothing of it.
    constexpr std::uint32_t own_events = IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF;
    static_cast<void>(::inotify_add_watch(descriptor_, file.c_str(), own_events));
    add_folder(file);
    std::error_code error;
    const auto target = std::filesystem::canonical(file, error);  // behind links
    if (!error && target != file) add_folder(target);
  }
}

void FileWatch::add_folder(const std::filesystem::path& file) {
  names_.insert(file.filename().string());
  const std::string folder = file.has_parent_path() ? file.parent_path().string() : ".";
  if (folders_.contains(folder)) return;
  constexpr std::uint32_t events = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE;
  if (::inotify_add_watch(descriptor_, folder.c_str(), events) >= 0) folders_.insert(folder);
}

bool FileWatch::take() {
  bool changed = false;
  alignas(inotify_event) std::array<char, event_buffer> buffer{};
  while (true) {
    const ssize_t got = ::read(descriptor_, buffer.data(), buffer.size());
    if (got <= 0) return changed;
    for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const char* name = event.len > 0 ? buffer.data() + at + sizeof event : "";
      const bool itself = event.len == 0 && (event.mask & IN_IGNORED) == 0;
      changed =
          changed || itself || names_.contains(name) || name == kubernetes_link || (event.mask & IN_Q_OVERFLOW) != 0;
      at += sizeof event + event.len;
    }
  }
}

}  // namespace hansa::server
