#include "server/config/limits.h"

#include <string>

namespace hansa::server::config {
namespace {

constexpr std::int64_t most_connections = 1'000'000;
constexpr std::int64_t most_uploads = 100'000;
constexpr std::int64_t most_bytes = std::int64_t{1} << 60;

std::size_t read_number(const Reader& in, const char* key, std::int64_t least, std::int64_t most, Problems& problems) {
  const std::int64_t number = in.integer(key);
  if (number >= least && number <= most) return static_cast<std::size_t>(number);
  problems.error(
      key, "must be " + std::to_string(least) + " to " + std::to_string(most) + ", not " + std::to_string(number));
  return static_cast<std::size_t>(least);
}

std::size_t read_share(const Reader& in, const char* key, std::size_t total, std::int64_t most, Problems& problems) {
  if (in.has(key)) return read_number(in, key, 0, most, problems);
  return total == 0 ? 0 : share_of_one(total);
}

}  // namespace

Limits read_limits(const Reader& in, Problems& problems) {
  Limits out;
  out.connections = read_number(in, "http.limits.connections", 1, most_connections, problems);
  out.connections_per_client =
      read_share(in, "http.limits.connectionsPerClient", out.connections, most_connections, problems);
  out.uploads = read_number(in, "http.limits.uploads", 1, most_uploads, problems);
  out.uploads_per_client = read_share(in, "http.limits.uploadsPerClient", out.uploads, most_uploads, problems);
  out.upload_bytes = read_number(in, "http.limits.uploadBytes", 0, most_bytes, problems);
  out.upload_bytes_per_client =
      read_share(in, "http.limits.uploadBytesPerClient", out.upload_bytes, most_bytes, problems);
  return out;
}

}  // namespace hansa::server::config
