#include "api/api.h"

#include <algorithm>
#include <utility>

#include "api/access_log.h"
#include "api/cors.h"
#include "api/operations.h"
#include "api/spec_error.h"
#include "http/client_network.h"

namespace hansa::api {
namespace {

// For open routes: whatever their handler asks, the answer is no.
class NoRights final : public auth::AccessPolicy {
 public:
  bool allows(const auth::Identity&, auth::Action, const oci::RepositoryName&) const override { return false; }
  bool is_admin(const auth::Identity&) const override { return false; }
};

Result<oci::RepositoryName> repository_of(const std::vector<std::string_view>& segments) {
  std::string name;
  bool first = true;
  for (const auto segment : segments) {
    // An encoded slash stays inside its segment: it never separates components.
    if (segment.find('/') != std::string_view::npos) {
      return make_error(ErrorCode::invalid, Subject::name, "a repository name has no encoded slashes (%2F)");
    }
    if (!std::exchange(first, false)) name += '/';
    name += segment;
    if (name.size() > oci::max_repository_name) break;  // parse() refuses it
  }
  return oci::RepositoryName::parse(name);
}

auth::Credentials credentials_of(const http::Request& request) {
  auth::Credentials credentials;
  const auto fields = request.headers.all("Authorization");
  if (!fields.empty()) credentials.authorization = std::string(fields.front());
  credentials.several = fields.size() > 1;
  credentials.certificate_name = request.connection.certificate_name;
  credentials.user_agent = std::string(request.headers.get("User-Agent").value_or(""));
  credentials.client = http::client_network(request.connection.client);
  credentials.ping = request.path() == "/v2/";
  return credentials;
}

// The coarse check, before any body is read; the registry decides exactly.
bool permitted(const Call& call, Need need) {
  switch (need) {
    case Need::nothing:
    case Need::identity: return true;
    case Need::read_or_ticket:
      if (!call.ticket.empty()) return true;
      [[fallthrough]];
    case Need::read: return call.access.may(auth::Action::read, call.repository);
    case Need::push: return call.access.may_push(call.repository);
    case Need::remove: return call.access.may(auth::Action::remove, call.repository);
    case Need::metrics: return call.services.authenticator.may_read_metrics(call.access.identity());
  }
  return false;
}

// What is known of a request when it is logged.
struct Trace {
  std::string user;
  std::string repository;
  bool ticket = false;  // shown instead of credentials
  bool logged = true;
};

class Api {
 public:
  Api(Services services, std::vector<Route> routes)
      : services_(std::move(services)), table_(std::move(routes)), no_rights_(std::make_shared<NoRights>()) {}

  io::Task<http::Response> handle(http::Request& request) {
    const io::MonotonicTime start = services_.clock.monotonic();
    Trace trace;
    http::Response response = co_await answer(request, trace);
    finish(request, response);
    const io::Duration taken = services_.clock.monotonic() - start;
    services_.metrics.request(http::to_string(request.method), response.status,
                              std::chrono::duration<double>(taken).count(), trace.repository);
    if (trace.logged) log_access(services_.log, request, response, trace.user, taken);
    if (services_.audit != nullptr) log_audit(*services_.audit, request, response, trace.user);
    co_return response;
  }

 private:
  Cors cors() const {
    return {.allow_origin = services_.options.allow_origin, .credentials = services_.authenticator.enabled()};
  }

  io::Task<http::Response> answer(http::Request& request, Trace& trace) {
    const auto match = table_.match(request.method, request.segments);
    if (match.route == nullptr) co_return unmatched(request, match);
    trace.logged = match.route->logged;
    auto result = co_await run(request, match, trace);
    if (!result) co_return failed(request, std::move(result).error(), trace);
    co_return std::move(*result);
  }

  http::Response unmatched(const http::Request& request, const RouteTable::Match& match) const {
    if (request.method == http::Method::options && (!match.methods.empty() || request.target == "*")) {
      return preflight(cors(), match.methods);
    }
    if (match.methods.empty()) {
      return error_response(make_error(ErrorCode::not_found, Subject::request, "there is nothing at this path"));
    }
    const std::string allowed = method_list(match.methods);
    auto response = error_response(
        make_error(ErrorCode::unsupported, Subject::request, "this path knows only the methods " + allowed));
    response.headers.add("Allow", allowed);
    return response;
  }

  io::Task<Result<http::Response>> run(http::Request& request, const RouteTable::Match& match, Trace& trace) {
    const Route& route = *match.route;
    Call call{.request = request,
              .services = services_,
              .access = auth::Access({}, no_rights_),
              .repository = {},
              .parameter = std::string(match.parameter),
              .ticket = {}};
    if (route.need == Need::read_or_ticket) call.ticket = request.query.get("ticket").value_or("");
    trace.ticket = !call.ticket.empty();
    if (route.need != Need::nothing && !trace.ticket) {
      HANSA_CO_TRY(call.access, co_await services_.authenticator.authenticate(credentials_of(request)));
      trace.user = call.access.identity().user;
      if (route.need == Need::push) call.access.came_from(http::client_network(request.connection.client));
    }
    // Where nobody logs in no browser adds anything that the page could not have said itself.
    if (!trace.user.empty() && is_foreign_change(cors(), request)) {
      co_return make_error(ErrorCode::denied, Subject::request,
                           "a page of another origin asks for this in a user's name; http.allowOrigin can permit it");
    }
    if (!match.name.empty()) {
      HANSA_CO_TRY(call.repository, repository_of(match.name));
      trace.repository = call.repository.text();
    }
    if (!permitted(call, route.need)) {
      co_return make_error(ErrorCode::denied, Subject::repository,
                           "\"" + trace.user + "\" has no right to do this here; ask who runs this registry");
    }
    if (route.body_limit && request.content_length.value_or(0) > *route.body_limit) {
      co_return make_error(ErrorCode::too_large, route.body_is,
                           "the body of this request may have at most " + std::to_string(*route.body_limit) +
                               " bytes, not " + std::to_string(*request.content_length));
    }
    co_return co_await route.handler(call);
  }

  http::Response failed(const http::Request& request, Error error, const Trace& trace) const {
    const bool known = !trace.user.empty() || trace.ticket;  // a login would not help a bad ticket
    if (error.code == ErrorCode::denied && !known && services_.authenticator.enabled()) {
      error.code = ErrorCode::unauthenticated;  // whoever logs in may have the right
      error.message = "this needs a login";
    }
    if (error.code == ErrorCode::unauthenticated && !services_.authenticator.enabled()) {
      error.code = ErrorCode::denied;  // nobody can log in here
      error.message = "nobody may do this here; ask who runs this registry";
    }
    http::Response response = error_response(error);
    // A browser would ask for a password by itself; the web interface does that better.
    const bool from_ui = request.headers.get("X-ZOT-API-CLIENT") == "zot-ui";
    if (response.status == 401 && services_.authenticator.enabled() && !from_ui) {
      response.headers.add("WWW-Authenticate", services_.authenticator.challenge());
    }
    if (response.status >= 500) {
      services_.log.error("request failed", {{"method", http::to_string(request.method)},
                                             {"path", loggable_target(request)},
                                             {"statusCode", response.status},
                                             {"error", describe(error)}});
    }
    return response;
  }

  void finish(const http::Request& request, http::Response& response) const {
    if (!request.segments.empty() && request.segments.front() == "v2") {
      response.headers.set("Docker-Distribution-Api-Version", "registry/2.0");
      add_cors(cors(), response);
    }
    if (request.method == http::Method::head && !std::holds_alternative<std::monostate>(response.body)) {
      response.head_length = body_size(response.body);
      response.body = std::monostate{};
    }
  }

  const Services services_;
  const RouteTable table_;
  const std::shared_ptr<const auth::AccessPolicy> no_rights_;
};

}  // namespace

http::Handler make_handler(Services services, std::vector<Route> routes) {
  auto all = operation_routes(services.options.metrics_path);
  std::ranges::move(routes, std::back_inserter(all));
  auto api = std::make_shared<Api>(std::move(services), std::move(all));
  // The server keeps the handler, and with it `api`, longer than any request.
  return [api](http::Request& request) { return api->handle(request); };
}

}  // namespace hansa::api
