// One line per answered request: message "HTTP API", with the fields of zot's access log.
#pragma once

#include <cstdint>
#include <string>

#include "base/log.h"
#include "http/message.h"
#include "io/time.h"

namespace hansa::api {

// The bytes that the body will have; 0 where it is not known (a stream without a length).
std::uint64_t body_size(const http::Body& body);

// Path and query as they may stand in a log: a ticket is worth a password for a while, so its value is masked.
std::string loggable_target(const http::Request& request);

// clientIP, method, path (with the query), statusCode, latency (seconds: until the response was ready, "0.001234s"),
// bodySize, headers (a JSON object; credentials masked) and, if there is one, username.
void log_access(Logger& log, const http::Request& request, const http::Response& response, const std::string& user,
                io::Duration latency);

// One line into the audit log if the request changed something: POST, PUT, PATCH or DELETE with 200, 201 or 202.
void log_audit(Logger& audit, const http::Request& request, const http::Response& response, const std::string& user);

}  // namespace hansa::api
