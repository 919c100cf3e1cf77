// The head of a response as the client reads it: status line and fields. Pure; the strict rules of head.h hold here
// too, since a response that two readers understand differently is smuggling in the other direction.
#pragma once

#include "http/head.h"

namespace hansa::http {

struct ResponseHead {
  int status = 0;
  Headers headers;
  bool keep_alive = true;
  std::optional<std::uint64_t> content_length;
  bool chunked = false;

  bool interim() const { return status < 200; }
};

// Parses a complete head (as found by HeadScanner). The refusal's status has no meaning here.
std::expected<ResponseHead, Refusal> parse_response_head(std::string_view text);

// Has an answer with this head a body at all? `to_head`: it answers HEAD.
bool may_have_body(const ResponseHead& head, bool to_head);

}  // namespace hansa::http
