// The part "http.limits" of a configuration: how much clients may have at a time, all together and one of them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/shares.h"
#include "http/server.h"
#include "registry/registry.h"
#include "server/config/check.h"
#include "server/config/reader.h"

namespace hansa::server::config {

struct Limits {
  std::size_t connections = http::default_connections;
  std::size_t connections_per_client = share_of_one(http::default_connections);  // 0: no limit
  std::size_t uploads = registry::default_uploads;
  std::size_t uploads_per_client = share_of_one(registry::default_uploads);  // 0: no limit
  std::uint64_t upload_bytes = 0;             // of open uploads; 0: no limit but the disk
  std::uint64_t upload_bytes_per_client = 0;  // 0: no limit
  bool operator==(const Limits&) const = default;
};

// What one client may have is three quarters of all where the file does not say it.
Limits read_limits(const Reader& in, Problems& problems);

}  // namespace hansa::server::config
