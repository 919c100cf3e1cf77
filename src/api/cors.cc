#include "api/cors.h"

#include <algorithm>
#include <set>

#include "http/text.h"

namespace hansa::api {

std::string method_list(const std::vector<http::Method>& methods) {
  std::set<http::Method> all(methods.begin(), methods.end());
  all.insert(http::Method::options);
  std::string list;
  for (const http::Method method : all) {
    if (!list.empty()) list += ", ";
    list += http::to_string(method);
  }
  return list;
}

bool is_foreign_change(const Cors& cors, const http::Request& request) {
  using enum http::Method;
  if (request.method == get || request.method == head || request.method == options) return false;
  const auto origin = request.headers.get("Origin");
  if (origin && *origin == cors.allow_origin) return false;
  if (const auto site = request.headers.get("Sec-Fetch-Site")) return *site != "same-origin" && *site != "none";
  if (!origin) return false;
  const std::size_t scheme = origin->find("://");
  if (scheme == std::string_view::npos) return true;  // "null": a page that hides where it is from
  return !http::same_name(origin->substr(scheme + 3), request.headers.get("Host").value_or(""));
}

void add_cors(const Cors& cors, http::Response& response) {
  const bool any = cors.allow_origin.empty() || cors.allow_origin == "*";
  response.headers.set("Access-Control-Allow-Origin", any ? "*" : cors.allow_origin);
  // A browser refuses credentials together with "*".
  if (cors.credentials && !any) response.headers.set("Access-Control-Allow-Credentials", "true");
}

http::Response preflight(const Cors& cors, const std::vector<http::Method>& methods) {
  http::Response response;
  response.status = 204;
  const std::string list = method_list(methods);
  response.headers.add("Allow", list);
  add_cors(cors, response);
  response.headers.add("Access-Control-Allow-Methods", list);
  response.headers.add("Access-Control-Allow-Headers", "Authorization,content-type,X-ZOT-API-CLIENT");
  return response;
}

}  // namespace hansa::api
