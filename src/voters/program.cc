#include "voters/program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/bytes.h"

extern char** environ;

namespace hansa::voters {
namespace {

constexpr std::size_t max_output = 4 * KiB;  // of what is kept

std::string read_to_end(int descriptor) {
  std::string out;
  std::array<char, KiB> piece{};
  for (;;) {
    const ssize_t got = ::read(descriptor, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return out;
    out.append(piece.data(), static_cast<std::size_t>(got));
    if (out.size() > max_output) out.erase(0, out.size() - max_output);
  }
}

}  // namespace

Result<void> run_program(std::vector<std::string> words) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errno_error(errno, "pipe");
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, words.front().c_str(), &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  const std::string output = error == 0 ? read_to_end(ends[0]) : std::string();
  ::close(ends[0]);
  if (error != 0) return errno_error(error, "starting " + words.front());
  int status = -1;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (status == 0) return {};
  return make_error(ErrorCode::io, words.front() + " failed; it said:\n" + output);
}

}  // namespace hansa::voters
