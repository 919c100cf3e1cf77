#include "server/control.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "io/wait.h"

namespace hansa::server {
namespace {

constexpr int backlog = 4;
constexpr std::size_t longest_command = 4096;                              // bytes
constexpr std::size_t most_told = std::size_t{16} * 1024 * 1024;           // bytes of one answer
constexpr io::Duration between_progress = std::chrono::milliseconds(500);  // of the lines
constexpr timeval patience{.tv_sec = 5, .tv_usec = 0};                     // of one read or write of the socket

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// The address of a path of any length: the folder is reached through its descriptor.
struct Address {
  Descriptor folder;
  sockaddr_un socket{};
};

Result<Address> address_in(const std::string& root) {
  Address address{.folder = Descriptor(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC))};
  if (address.folder.get() < 0) return errno_error(errno, root);
  const std::string path = "/proc/self/fd/" + std::to_string(address.folder.get()) + "/" + std::string(control_name);
  address.socket.sun_family = AF_UNIX;
  std::memcpy(static_cast<char*>(address.socket.sun_path), path.c_str(), path.size() + 1);
  return address;
}

void set_patience(int socket) {
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

std::string read_command(int connection) {
  std::string command;
  char c = 0;
  while (command.size() < longest_command && ::recv(connection, &c, 1, 0) == 1 && c != '\n') command += c;
  return command;
}

void send_all(int connection, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(connection, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;  // the asker went away
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
}

// From an event loop: what does not fit is dropped, the next line tells more.
void send_some(int connection, const std::string& text) {
  static_cast<void>(::send(connection, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
}

std::string summary(const Result<blob::ScrubReport>& report) {
  if (!report) return "error " + report.error().message + "\n";
  std::string text;
  for (const auto& digest : report->corrupt) text += "corrupt " + digest.text() + "\n";
  for (const auto& digest : report->unreadable) text += "unreadable " + digest.text() + "\n";
  return text + "done " + std::to_string(report->checked) + " " + std::to_string(report->checked_bytes) + "\n";
}

}  // namespace

Result<std::unique_ptr<ControlSocket>> ControlSocket::open(const std::string& root) {
  const std::string path = root + "/" + std::string(control_name);
  // The caller holds the lock of the root, so a socket that lies there is of a process that is gone.
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return errno_error(errno, path);
  HANSA_TRY(const Address address, address_in(root));
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.get() < 0) return errno_error(errno, "socket");
  // Before bind(): the file gets the mode of the socket, so that nobody slips in between.
  if (::fchmod(socket.get(), 0600) != 0) return errno_error(errno, path);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address.socket), sizeof address.socket) != 0 ||
      ::listen(socket.get(), backlog) != 0) {
    return errno_error(errno, path);
  }
  return std::unique_ptr<ControlSocket>(new ControlSocket(socket.release(), path));
}

ControlSocket::~ControlSocket() {
  ::close(descriptor_);
  ::unlink(path_.c_str());
}

int ControlSocket::accept() const {
  return ::accept4(descriptor_, nullptr, nullptr, SOCK_CLOEXEC);
}

namespace {

io::Task<std::string> answer_scrub(int connection, const std::string& rate, ControlServices& services) {
  std::uint64_t bytes = 0;
  const auto [end, error] = std::from_chars(rate.data(), rate.data() + rate.size(), bytes);
  if (!rate.empty() && (error != std::errc{} || end != rate.data() + rate.size())) {
    co_return "error a scrub's rate is a number of bytes a second, not \"" + rate + "\"\n";
  }
  services.log.info("scrub asked for", {{"bytes a second", bytes}});
  io::MonotonicTime last{};
  std::function<void(const blob::ScrubReport&)> progress = [connection, &clock = services.clock,
                                                            &last](const blob::ScrubReport& now) {
    if (clock.monotonic() - last < between_progress) return;
    last = clock.monotonic();
    send_some(connection, "progress " + std::to_string(now.checked) + " " + std::to_string(now.checked_bytes) + "\n");
  };
  const auto report = co_await services.node.scrub(std::move(progress), bytes);
  co_return summary(report);
}

// Lines for the asker, up to a limit.
class Told {
 public:
  std::function<void(const std::string&)> sink() {
    return [this](const std::string& line) {
      if (text_.size() < most_told) {
        text_ += "told " + line + "\n";
      } else if (!std::exchange(full_, true)) {
        text_ += "told and more, which has no room here\n";
      }
    };
  }
  std::string end_with(const std::string& line) && { return std::move(text_) + line + "\n"; }

 private:
  std::string text_;
  bool full_ = false;
};

io::Task<std::string> answer_gc_run(ControlServices& services) {
  const node::Status before = services.node.status();
  const auto done = co_await services.node.collect();
  if (!done) co_return "error " + done.error().message + "\n";
  const node::Status after = services.node.status();
  co_return "answer retention removed " + std::to_string(after.expired_tags - before.expired_tags) +
      " tags; removed what nothing held: " + std::to_string(after.swept_records - before.swept_records) + " records, " +
      std::to_string(after.swept_blobs - before.swept_blobs) + " files\n";
}

io::Task<std::string> answer_gc_dry_run(ControlServices& services) {
  Told told;
  const auto done = co_await services.node.collect_dry(told.sink());
  if (!done) co_return std::move(told).end_with("error " + done.error().message);
  co_return std::move(told).end_with(
      "answer nothing was removed; what only those hold would go in later cycles, each after its own grace time");
}

io::Task<std::string> answer_gc_undo(std::string repository, ControlServices& services) {
  std::optional<oci::RepositoryName> only;
  if (!repository.empty()) {
    auto name = oci::RepositoryName::parse(repository);
    if (!name) co_return "error " + name.error().message + "\n";
    only = *std::move(name);
  }
  Told told;
  const auto done = co_await services.node.undo_collection(std::move(only), told.sink());
  if (!done) co_return std::move(told).end_with("error " + done.error().message);
  co_return std::move(told).end_with("answer put back " + std::to_string(done->manifests) + " manifests, " +
                                     std::to_string(done->tags) + " tags, " + std::to_string(done->files) +
                                     " files; impossible: " + std::to_string(done->impossible));
}

io::Task<std::string> answer_gc(std::string words, ControlServices& services) {
  constexpr std::string_view undo = "undo";
  services.log.info("asked by the operator", {{"command", "gc " + words}});
  if (words == "run") return answer_gc_run(services);
  if (words == "dry-run") return answer_gc_dry_run(services);
  std::string repository = words.size() > undo.size() ? words.substr(undo.size() + 1) : std::string();
  return answer_gc_undo(std::move(repository), services);
}

io::Task<std::string> answer_cluster(std::string words, ControlServices& services) {
  const std::size_t space = words.find(' ');
  std::string verb = words.substr(0, space);
  std::string argument = space == std::string::npos ? "" : words.substr(space + 1);
  services.log.info("asked by the operator", {{"command", "cluster " + words}});
  auto answer = co_await services.cluster(std::move(verb), std::move(argument));
  if (!answer) co_return "error " + answer.error().message + "\n";
  co_return "answer " + *answer + "\n";
}

}  // namespace

io::Task<void> serve_control(int connection, ControlServices& services) {
  constexpr std::string_view of_cluster = "cluster ";
  constexpr std::string_view of_gc = "gc ";
  constexpr std::string_view of_scrub = "scrub ";
  const Descriptor socket(connection);
  set_patience(socket.get());
  auto read = [fd = socket.get()] { return read_command(fd); };
  const std::string command = co_await io::blocking(io::Pool::metadata, std::move(read));
  std::string answer = "error there is no command \"" + command + "\"\n";
  if (command == "scrub" || command.starts_with(of_scrub)) {
    answer = co_await answer_scrub(socket.get(), command.substr(std::min(command.size(), of_scrub.size())), services);
  } else if (command == "gc run" || command == "gc dry-run" || command == "gc undo" ||
             command.starts_with("gc undo ")) {
    answer = co_await answer_gc(command.substr(of_gc.size()), services);
  } else if (command.starts_with(of_cluster)) {
    answer = co_await answer_cluster(command.substr(of_cluster.size()), services);
  }
  auto write = [fd = socket.get(), answer] { send_all(fd, answer); };
  co_await io::blocking(io::Pool::metadata, std::move(write));
}

Result<void> ask_server(const std::string& root, std::string_view command,
                        const std::function<void(std::string_view)>& line) {
  HANSA_TRY(const Address address, address_in(root));
  const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return errno_error(errno, "socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address.socket), sizeof address.socket) != 0) {
    const bool absent = errno == ENOENT || errno == ECONNREFUSED;
    if (absent) return make_error(ErrorCode::not_found, "no server is running on " + root);
    return errno_error(errno, root + "/" + std::string(control_name));
  }
  send_all(socket.get(), std::string(command) + "\n");
  std::string rest;
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, "the running server does not answer");
    if (got == 0) break;
    rest.append(buffer.data(), static_cast<std::size_t>(got));
    for (std::size_t end = rest.find('\n'); end != std::string::npos; end = rest.find('\n')) {
      line(std::string_view(rest).substr(0, end));
      rest.erase(0, end + 1);
    }
  }
  return {};
}

}  // namespace hansa::server
