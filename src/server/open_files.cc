#include "server/open_files.h"

#include <sys/resource.h>

#include <algorithm>

namespace hansa::server {
namespace {

constexpr std::uint64_t files_of_our_own = 256;  // stores, logs, event loops, members
constexpr std::uint64_t files_per_connection = 2;
constexpr std::uint64_t least_connections = 16;
constexpr std::uint64_t least_uploads = 4;

// Lowers a limit and, with it, the share of one client; a share that was given as no limit stays one.
void lower(std::size_t& limit, std::size_t& of_one, std::uint64_t most) {
  if (limit <= most) return;
  limit = static_cast<std::size_t>(most);
  if (of_one != 0) of_one = std::min(of_one, share_of_one(limit));
}

}  // namespace

std::uint64_t raise_open_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return config::Limits{}.connections;
  if (limit.rlim_cur < limit.rlim_max) {
    rlimit raised = limit;
    raised.rlim_cur = raised.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return limit.rlim_cur;
}

config::Limits fit(config::Limits wanted, std::uint64_t files) {
  lower(wanted.uploads, wanted.uploads_per_client, std::max(least_uploads, files / 4));
  const std::uint64_t taken = files_of_our_own + wanted.uploads;
  const std::uint64_t left = files > taken ? files - taken : 0;
  lower(wanted.connections, wanted.connections_per_client, std::max(least_connections, left / files_per_connection));
  return wanted;
}

}  // namespace hansa::server
