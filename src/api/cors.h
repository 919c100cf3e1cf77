// Cross-origin rules (the Fetch standard's CORS protocol), for web interfaces that are served from another origin.
#pragma once

#include <string>
#include <vector>

#include "http/message.h"

namespace hansa::api {

struct Cors {
  std::string allow_origin;  // empty: "*"
  bool credentials = false;  // some method of authentication is configured
};

// "GET, HEAD, OPTIONS": the value of Allow.
std::string method_list(const std::vector<http::Method>& methods);

// A change that a page of another origin asks for, as far as the browser tells (Sec-Fetch-Site, else Origin against
// Host): browsers add a user's password or certificate to such a request by themselves. False for reading, for the
// origin in `cors`, and for clients that are no browsers.
bool is_foreign_change(const Cors& cors, const http::Request& request);

// On every answer below /v2/.
void add_cors(const Cors& cors, http::Response& response);

// The answer to OPTIONS for a path with these methods: 204, without authentication.
http::Response preflight(const Cors& cors, const std::vector<http::Method>& methods);

}  // namespace hansa::api
