#include "api/operations.h"

#include "api/api.h"
#include "api/cluster_page.h"
#include "api/spec_error.h"

namespace hansa::api {
namespace {

Result<http::Response> health(const std::function<bool()>& good, std::string_view what) {
  http::Response response;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.headers.add("Cache-Control", "no-store");
  if (good && !good()) {
    response.status = 503;
    response.headers.add("Retry-After", std::string(retry_after_seconds));
    response.body = "not " + std::string(what) + "\n";
  } else {
    response.body = std::string("ok");
  }
  return response;
}

io::Task<Result<http::Response>> live(Call& call) {
  co_return health(call.services.live, "live");
}

io::Task<Result<http::Response>> ready(Call& call) {
  co_return health(call.services.ready, "ready yet");
}

io::Task<Result<http::Response>> started(Call& call) {
  co_return health(call.services.started, "started yet");
}

io::Task<Result<http::Response>> scrape(Call& call) {
  http::Response response;
  response.headers.add("Content-Type", std::string(metrics::text_format));
  response.body = call.services.metrics.render();
  co_return response;
}

io::Task<Result<http::Response>> members(Call& call) {
  if (!call.services.cluster) {
    co_return make_error(ErrorCode::not_found, Subject::request, "this server tells nothing of a cluster");
  }
  http::Response response;
  response.headers.add("Content-Type", "application/json");
  response.headers.add("Cache-Control", "no-store");
  HANSA_CO_TRY(response.body, co_await call.services.cluster());
  co_return response;
}

}  // namespace

std::vector<Route> operation_routes(const std::string& metrics_path) {
  std::vector<Route> routes = {
      {.pattern = "/livez", .need = Need::nothing, .handler = live, .logged = false},
      {.pattern = "/readyz", .need = Need::nothing, .handler = ready, .logged = false},
      {.pattern = "/startupz", .need = Need::nothing, .handler = started, .logged = false},
      {.pattern = "/v2/_hansa/cluster", .need = Need::identity, .handler = members, .logged = false},
  };
  if (!metrics_path.empty()) {
    routes.push_back({.pattern = metrics_path, .need = Need::metrics, .handler = scrape, .logged = false});
  }
  for (auto& route : cluster_page_routes()) routes.push_back(std::move(route));
  return routes;
}

}  // namespace hansa::api
