// From Error to the answer that the distribution specification asks for (spec.md, "Error Codes").
#pragma once

#include <string_view>

#include "base/error.h"
#include "http/message.h"

namespace hansa::api {

struct SpecError {
  int status = 500;
  std::string_view code;     // e.g. BLOB_UNKNOWN
  std::string_view message;  // the fixed text that belongs to the code
};

inline constexpr std::string_view retry_after_seconds = "1";

// The one place where errors become statuses and codes.
SpecError spec_error_of(const Error& error);

// {"errors":[{"code","message","detail":{"description"}}]} with its status; Retry-After on 429 and 503. What a 500 says
// about our inside stays in the log.
http::Response error_response(const Error& error);

}  // namespace hansa::api
