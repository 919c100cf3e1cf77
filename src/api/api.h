// The HTTP face of a node: routes, authentication, authorization, errors, access log. One Handler for http::listen().
//
// Order for each request: route, (OPTIONS: answer at once), authentication, coarse authorization by the route's need,
// handler. The registry checks rights once more, exactly, against the revision that it reads or commits.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "api/route.h"
#include "auth/authenticator.h"
#include "base/log.h"
#include "http/server.h"
#include "io/clock.h"
#include "metrics/server_metrics.h"
#include "registry/registry.h"

namespace hansa::api {

struct Options {
  // Access-Control-Allow-Origin (http.allowOrigin); empty: "*".
  std::string allow_origin;
  // Where the metrics are served: begins with '/', not "/" and not below "/v2". Empty: nowhere.
  std::string metrics_path = "/metrics";
};

// All that is named outlives the handler and every request; callbacks may be called on any executor's thread.
struct Services {
  registry::Registry& registry;
  auth::Authenticator& authenticator;
  metrics::ServerMetrics& metrics;
  Logger& log;
  io::Clock& clock;
  // For /livez, /readyz and /startupz; empty: always true.
  std::function<bool()> live;
  std::function<bool()> ready;
  std::function<bool()> started;
  Options options;
  // GET /v2/_hansa/cluster: the members as JSON (cluster/status.h).
  std::function<io::Task<Result<std::string>>()> cluster;
  Logger* audit = nullptr;  // a line per successful change (log.audit); null: none is kept
};

// The handler for these routes and those of every server: /livez, /readyz, /startupz and the metrics.
//   http::listen(loops, options, api::make_handler(services, api::distribution::routes()), log)
http::Handler make_handler(Services services, std::vector<Route> routes);

}  // namespace hansa::api
