// The rules of head.h that requests and responses share. Pure.
#pragma once

#include "http/head.h"

namespace hansa::http {

// Folded lines, lines without a field name, spaces before the colon. REQUIRES: `text` is a complete head.
std::expected<void, Refusal> check_head_lines(std::string_view text);

struct Framing {
  std::optional<std::uint64_t> length;
  bool chunked = false;
};
// What Content-Length and Transfer-Encoding say; both, or either one twice, is refused.
std::expected<Framing, Refusal> read_framing(const Headers& headers, bool http10);

// May the connection be used again, as far as the other side is concerned?
bool wants_keep_alive(const Headers& headers, bool http10);

}  // namespace hansa::http
