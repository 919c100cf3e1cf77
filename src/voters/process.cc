#include "voters/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

extern char** environ;

namespace hansa::voters {
namespace {

constexpr std::size_t max_small_file = 64 * KiB;
constexpr std::size_t log_tail_bytes = 2 * KiB;
constexpr std::uint64_t panic_bytes = 64 * KiB;  // of its log: what it said last, and the stacks behind that
constexpr int probe_writes = 50;
constexpr int look_again_ms = 20;
constexpr io::Duration early_end = std::chrono::milliseconds(300);  // an etcd that ends so soon did not start

Result<std::string> read_small(io::Disk& disk, const std::string& path) {
  HANSA_TRY(auto file, disk.open(path, io::OpenMode::read));
  HANSA_TRY(const auto size, file->size());
  std::string text(std::min<std::uint64_t>(size, max_small_file), '\0');
  HANSA_TRY(const auto got, file->read(0, Bytes(reinterpret_cast<std::byte*>(text.data()), text.size())));
  text.resize(got);
  return text;
}

Result<void> write_small(io::Disk& disk, const std::string& folder, const std::string& path, std::string_view text) {
  const std::string fresh = path + ".new";
  HANSA_TRY(auto file, disk.open(fresh, io::OpenMode::create));
  HANSA_CHECK(file->truncate(0));
  HANSA_CHECK(file->write(0, as_bytes(text)));
  HANSA_CHECK(file->sync());
  HANSA_CHECK(disk.rename(fresh, path));
  return disk.sync_directory(folder);
}

// /proc files have no size; their content is small.
std::string read_proc(int pid, const char* name) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + name;
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  std::string text(max_small_file, '\0');
  const ssize_t got = ::read(file, text.data(), text.size());
  ::close(file);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

// State and start time (in ticks since boot) of a process; nullopt: there is none.
struct ProcessStat {
  char state = '?';
  std::string started;
};
std::optional<ProcessStat> stat_of(int pid) {
  const std::string text = read_proc(pid, "stat");
  const auto end = text.rfind(')');  // the name before it may hold anything
  if (end == std::string::npos || end + 2 >= text.size()) return std::nullopt;
  ProcessStat out{.state = text[end + 2], .started = {}};
  constexpr int started_field = 19;  // of those after the state
  std::size_t at = end + 2;
  for (int i = 0; i < started_field; ++i) at = text.find(' ', at) + 1;
  out.started = text.substr(at, text.find(' ', at) - at);
  return out;
}

// Of a process's command line.
std::set<std::string> words_of(int pid) {
  const std::string line = read_proc(pid, "cmdline");
  std::set<std::string> words;
  for (std::size_t from = 0; from < line.size();) {
    const auto end = std::min(line.find('\0', from), line.size());
    words.insert(line.substr(from, end - from));
    from = end + 1;
  }
  return words;
}

void add(std::vector<std::string>& out, std::string_view name, const std::string& value) {
  out.push_back("--" + std::string(name) + "=" + value);
}

// Where it listens and what it tells the others of that.
std::vector<std::string> address_arguments(const EtcdSettings& settings) {
  const std::string listen = settings.listen.empty() ? settings.host : settings.listen;
  const auto at = [&listen](std::uint16_t port) { return "https://" + listen + ":" + std::to_string(port); };
  std::vector<std::string> out;
  add(out, "listen-client-urls", at(settings.client_port));
  add(out, "advertise-client-urls", client_url(settings));
  add(out, "listen-peer-urls", at(settings.peer_port));
  add(out, "initial-advertise-peer-urls", peer_url(settings));
  return out;
}

// The pause of a blocking wait.
void wait_a_little() {
  ::poll(nullptr, 0, look_again_ms);
}

}  // namespace

std::string client_url(const EtcdSettings& settings) {
  return "https://" + settings.host + ":" + std::to_string(settings.client_port);
}
std::string peer_url(const EtcdSettings& settings) {
  return "https://" + settings.host + ":" + std::to_string(settings.peer_port);
}

Result<std::optional<EtcdMarker>> read_marker(io::Disk& disk, const std::string& data_dir) {
  const std::string path = data_dir + "/marker.json";
  auto text = read_small(disk, path);
  if (!text && text.error().code == ErrorCode::not_found) return std::optional<EtcdMarker>{};
  if (!text) return std::move(text).error();
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  EtcdMarker marker;
  const std::pair<const char*, std::string*> fields[] = {
      {"member", &marker.member}, {"disk", &marker.disk}, {"cluster", &marker.cluster}};
  for (const auto& [name, out] : fields) {
    if (!json.is_object() || !json.contains(name) || !json[name].is_string()) {
      return make_error(ErrorCode::corrupt, Subject::file,
                        path +
                            " cannot be understood; it says whose etcd data this folder holds. Restore it, or move "
                            "the folder away: this node then takes part anew");
    }
    *out = json[name].get<std::string>();
  }
  return std::optional<EtcdMarker>(std::move(marker));
}

Result<void> write_marker(io::Disk& disk, const std::string& data_dir, const EtcdMarker& marker) {
  const nlohmann::json json = {{"member", marker.member}, {"disk", marker.disk}, {"cluster", marker.cluster}};
  return write_small(disk, data_dir, data_dir + "/marker.json", json.dump(1) + "\n");
}

bool tells_of_forgotten_entries(std::string_view log) {
  const auto at = log.rfind("panic: tocommit(");
  if (at == std::string_view::npos) return false;
  const std::string_view panic = log.substr(at);
  if (!panic.substr(0, panic.find('\n')).contains("is out of range [lastIndex(")) return false;
  return !panic.contains("\n{");  // what an etcd that was started later says, be it of the same data or of others
}

std::vector<std::string> etcd_arguments(const EtcdSettings& settings, EtcdStart start, const std::string& members,
                                        unsigned minor) {
  std::vector<std::string> out{settings.binary};
  add(out, "name", settings.name);
  add(out, "data-dir", settings.data_dir + "/member");
  std::ranges::move(address_arguments(settings), std::back_inserter(out));
  if (start == EtcdStart::founding || start == EtcdStart::joining) {
    add(out, "initial-cluster", members);
  }
  // Also with data: should they turn out to be none, etcd must not found a cluster of its own on them (H3).
  if (start != EtcdStart::force_alone) {
    add(out, "initial-cluster-state", start == EtcdStart::founding ? "new" : "existing");
  }
  if (start == EtcdStart::force_alone) out.emplace_back("--force-new-cluster");
  for (const std::string prefix : {"", "peer-"}) {
    add(out, prefix + "cert-file", settings.certificate);
    add(out, prefix + "key-file", settings.key);
    add(out, prefix + "trusted-ca-file", settings.ca);
    out.push_back("--" + prefix + "client-cert-auth=true");
  }
  add(out, "quota-backend-bytes", std::to_string(settings.quota));
  add(out, "auto-compaction-mode", "periodic");
  add(out, "auto-compaction-retention", "24h");
  add(out, "heartbeat-interval", "100");
  add(out, "election-timeout", "1000");
  constexpr unsigned features_by_gate = 6;  // from 3.6 on
  if (minor >= features_by_gate) {
    add(out, "feature-gates", "InitialCorruptCheck=true");
    add(out, "corrupt-check-time", "1h");
  } else {
    out.emplace_back("--experimental-initial-corrupt-check=true");
    add(out, "experimental-corrupt-check-time", "1h");
  }
  constexpr unsigned logger_is_zap = 5;
  if (minor < logger_is_zap) add(out, "logger", "zap");
  add(out, "log-outputs", "stderr");
  return out;
}

EtcdProcess::EtcdProcess(io::Disk& disk, io::Clock& clock, EtcdSettings settings)
    : disk_(disk), clock_(clock), settings_(std::move(settings)) {}

Result<std::string> EtcdProcess::version() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errno_error(errno, "pipe");
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::array<char*, 3> words{settings_.binary.data(), const_cast<char*>("--version"), nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, settings_.binary.c_str(), &actions, nullptr, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string text(KiB, '\0');
  const ssize_t got = error == 0 ? ::read(ends[0], text.data(), text.size()) : 0;
  ::close(ends[0]);
  if (error == 0) ::waitpid(pid, nullptr, 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  constexpr std::string_view start = "etcd Version: ";
  const auto at = text.find(start);
  if (at == std::string::npos) {
    return make_error(ErrorCode::not_found, Subject::config,
                      settings_.binary +
                          " is not an etcd program that runs here; install etcd-server, or name the "
                          "program in cluster.metadata.managed.binary");
  }
  const auto from = at + start.size();
  return text.substr(from, text.find('\n', from) - from);
}

std::optional<int> EtcdProcess::running() {
  const auto text = read_small(disk_, path("etcd.pid"));
  if (!text) return std::nullopt;
  int pid = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), pid);
  if (error != std::errc{} || pid <= 1 || end == text->data() + text->size()) return std::nullopt;
  static_cast<void>(::waitpid(pid, nullptr, WNOHANG));  // a child of ours that ended
  const std::string started(end + 1, text->data() + text->size());
  const auto stat = stat_of(pid);
  if (!stat || stat->state == 'Z' || !started.starts_with(stat->started + "\n")) return std::nullopt;
  // A copy of the folder names the etcd of the one that it was copied from.
  // One that was started a moment ago has no words yet: the new image's arguments come after the old one is gone.
  const auto words = words_of(pid);
  if (!words.empty() && !words.contains("--data-dir=" + path("member"))) return std::nullopt;
  return pid;
}

bool EtcdProcess::listens_as_set() {
  const auto pid = running();
  if (!pid) return false;
  const auto words = words_of(*pid);
  const auto wanted = address_arguments(settings_);
  return std::ranges::all_of(wanted, [&words](const auto& word) { return words.contains(word); });
}

Result<bool> EtcdProcess::has_data() {
  const auto info = disk_.info(path("member/member/wal"));
  if (info) return true;
  if (info.error().code == ErrorCode::not_found) return false;
  return info.error();
}

Result<void> EtcdProcess::start(EtcdStart start, const std::string& members) {
  if (running()) return make_error(ErrorCode::exists, "etcd runs already in " + settings_.data_dir);
  HANSA_CHECK(disk_.make_directories(settings_.data_dir));
  HANSA_TRY(const std::string known, version());
  constexpr std::string_view three = "3.";
  unsigned minor = 0;
  if (known.starts_with(three)) std::from_chars(known.data() + three.size(), known.data() + known.size(), minor);
  auto arguments = etcd_arguments(settings_, start, members, minor);
  std::vector<char*> words;
  for (auto& word : arguments) words.push_back(word.data());
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, path("etcd.log").c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                     0640);
  ::posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, settings_.binary.c_str(), &actions, &attributes, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return errno_error(error, settings_.binary);
  const auto stat = stat_of(pid);
  const std::string text = std::to_string(pid) + " " + (stat ? stat->started : "?") + "\n";
  // An etcd that running() does not know would be nobody's, and its ports stay taken.
  if (auto kept = write_small(disk_, settings_.data_dir, path("etcd.pid"), text); !kept) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return std::move(kept).error().with_context("etcd was started and stopped again, for its process id was not kept");
  }
  const io::MonotonicTime began = clock_.monotonic();
  while (clock_.monotonic() - began < early_end) {
    if (!running()) {
      return make_error(ErrorCode::unavailable, "etcd ended as soon as it was started; its log (" + path("etcd.log") +
                                                    ") ends with:\n" + log_tail());
    }
    wait_a_little();
  }
  return {};
}

Result<void> EtcdProcess::stop(io::Duration patience) {
  const auto pid = running();
  if (!pid) return {};
  if (::kill(*pid, SIGTERM) != 0) return errno_error(errno, "stopping etcd");
  const io::MonotonicTime began = clock_.monotonic();
  while (running()) {
    if (clock_.monotonic() - began > patience && ::kill(*pid, SIGKILL) != 0) return errno_error(errno, "stopping etcd");
    wait_a_little();
  }
  return {};
}

Result<void> EtcdProcess::put_data_aside() {
  if (running()) return make_error(ErrorCode::conflict, "etcd runs in " + settings_.data_dir);
  HANSA_TRY(const bool data, has_data());
  if (!data) return {};
  for (unsigned i = 1;; ++i) {
    const std::string aside = path("member.old-") + std::to_string(i);
    if (disk_.info(aside)) continue;
    // What it says is of that data: were it left beside those that come next, it would be believed of them.
    auto log = disk_.rename(path("etcd.log"), aside + ".log");
    if (!log && log.error().code != ErrorCode::not_found) return log;
    HANSA_CHECK(disk_.rename(path("member"), aside));
    return disk_.sync_directory(settings_.data_dir);
  }
}

std::string EtcdProcess::end_of_log(std::uint64_t bytes) {
  auto file = disk_.open(path("etcd.log"), io::OpenMode::read);
  if (!file) return {};
  const auto size = (*file)->size();
  if (!size) return {};
  std::string text(bytes, '\0');
  const std::uint64_t from = *size > bytes ? *size - bytes : 0;
  const auto got = (*file)->read(from, Bytes(reinterpret_cast<std::byte*>(text.data()), text.size()));
  text.resize(got.value_or(0));
  return text;
}

std::string EtcdProcess::log_tail() {
  return end_of_log(log_tail_bytes);
}

bool EtcdProcess::forgot_entries() {
  return !running() && tells_of_forgotten_entries(end_of_log(panic_bytes));
}

Result<io::Duration> EtcdProcess::probe_disk() {
  HANSA_CHECK(disk_.make_directories(settings_.data_dir));
  const std::string name = path("probe");
  HANSA_TRY(auto file, disk_.open(name, io::OpenMode::create));
  std::vector<io::Duration> times;
  const std::string block(2 * KiB, 'x');
  for (int i = 0; i < probe_writes; ++i) {
    const io::MonotonicTime began = clock_.monotonic();
    HANSA_CHECK(file->write(static_cast<std::uint64_t>(i) * block.size(), as_bytes(block)));
    HANSA_CHECK(file->sync());
    times.push_back(clock_.monotonic() - began);
  }
  file.reset();
  HANSA_CHECK(disk_.remove(name));
  std::ranges::sort(times);
  return times.back();  // of fifty: the 98th percentile and above
}

}  // namespace hansa::voters
