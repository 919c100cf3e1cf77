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

// On every answer below /v2/.
void add_cors(const Cors& cors, http::Response& response);

// The answer to OPTIONS for a path with these methods: 204, without authentication.
http::Response preflight(const Cors& cors, const std::vector<http::Method>& methods);

}  // namespace hansa::api
