// The routes that every server has: /livez, /readyz, /startupz (open to all), the members of the cluster
// as JSON and as a page, the metrics.
#pragma once

#include <string>
#include <vector>

#include "api/route.h"

namespace hansa::api {

// `metrics_path` empty: no metrics.
std::vector<Route> operation_routes(const std::string& metrics_path);

}  // namespace hansa::api
