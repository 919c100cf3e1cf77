// Route: who sends blobs to the clients of a cluster (cluster.route).
#pragma once

#include <cstdint>

namespace hansa::cluster {

enum class Route : std::uint8_t {
  redirect,  // clients are sent to the member that serves them best
  proxy,     // they get everything from the member that they asked, which fetches what it lacks
  local,     // the same, as long as every member holds every blob
};

}  // namespace hansa::cluster
