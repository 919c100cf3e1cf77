// Route: one line of the route table: what a method and a path need, and who answers.
//
// A pattern is a path of literal segments and parameters in braces: "/v2/{name}/manifests/{reference}". {name} takes
// one or more segments, and the segments after it are matched from the end of the path, so that repositories may have
// components called blobs, manifests or tags. Every other parameter takes exactly one segment, which is not empty.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "auth/access.h"
#include "base/result.h"
#include "http/message.h"
#include "io/task.h"
#include "oci/name.h"

namespace hansa::api {

struct Services;

inline constexpr std::uint64_t small_body = 64 * 1024;  // bytes; for requests whose body has no meaning

// What a caller needs before the handler runs.
enum class Need : std::uint8_t {
  nothing,   // open to all, credentials are not even looked at
  identity,  // authenticated, or anonymous where that is allowed
  read,      // the same, and the right on {name}
  // As read; but a request with the parameter "ticket" comes from a redirect of another member: credentials are not
  // looked at, clients drop them on the way, and the handler checks the ticket instead.
  read_or_ticket,
  push,  // create or update
  remove,
  metrics,  // may read the metrics
};

// One request on its way through a handler. Lives until the response is made.
struct Call {
  http::Request& request;
  const Services& services;
  auth::Access access;
  oci::RepositoryName repository;  // of routes with {name}
  std::string parameter;           // of routes with another parameter
  std::string ticket;              // of routes that take one; empty: none was shown
};

// Errors become the specification's JSON (api/spec_error.h).
using RouteHandler = io::Task<Result<http::Response>> (*)(Call& call);

struct Route {
  http::Method method = http::Method::get;
  std::string pattern;
  Need need = Need::identity;
  RouteHandler handler = nullptr;
  // A longer declared body is refused before the handler runs; absent: any length (it is streamed).
  std::optional<std::uint64_t> body_limit = small_body;
  Subject body_is = Subject::request;  // what the error then concerns
  bool logged = true;
};

// Immutable once made.
class RouteTable {
 public:
  explicit RouteTable(std::vector<Route> routes);

  struct Match {
    const Route* route = nullptr;        // null: no route has this method (or path)
    std::vector<http::Method> methods;   // filled when route is null: what the path allows; empty: no such path
    std::vector<std::string_view> name;  // the segments of {name}
    std::string_view parameter;
    bool head_of_get = false;  // a HEAD answered by the GET route, without its body
  };
  Match match(http::Method method, const std::vector<std::string>& segments) const;
  const std::vector<Route>& routes() const { return routes_; }

 private:
  struct Pattern {
    std::vector<std::string> head;  // before {name}; the whole pattern if there is none
    std::vector<std::string> tail;  // after {name}; "{" stands for a parameter
    bool has_name = false;
  };
  static Pattern compile(std::string_view text);
  static bool fits(const Pattern& pattern, const std::vector<std::string>& segments, Match& match);

  std::vector<Route> routes_;
  std::vector<Pattern> patterns_;  // of routes_, in their order
};

}  // namespace hansa::api
