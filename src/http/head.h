// The head of a request: request line and fields. Pure: text in, Request or refusal out. The grammar is Boost.Beast's;
// around it stand the stricter rules that keep two servers on one connection from seeing different requests
// (request smuggling, RFC 9112 section 11.2):
//
//   * every line ends in CR LF; no bare CR, bare LF, NUL or other control character anywhere
//   * no folded lines, no space before the colon, no field without a name
//   * Content-Length at most once and digits only; never together with Transfer-Encoding
//   * Transfer-Encoding at most once, exactly "chunked", and not in HTTP/1.0
//   * exactly one Host in HTTP/1.1; the authority of an absolute URL replaces it
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "http/message.h"

namespace hansa::http {

inline constexpr std::size_t max_target = 16 * 1024;  // bytes of the request target; longer: 414

// Why a request cannot be handed to a handler. The connection closes after the answer.
struct Refusal {
  int status = 400;
  std::string message;
};

struct HeadLimits {
  std::size_t bytes = 64 * 1024;
  std::size_t fields = 128;
};

// Finds the end of the head in bytes that arrive piece by piece; looks at each byte once.
class HeadScanner {
 public:
  explicit HeadScanner(HeadLimits limits) : limits_(limits) {}
  // `text`: everything since the beginning of the head. The length of the head with its empty line, or 0 while it is
  // incomplete. Empty lines before a request line must be skipped by the caller.
  std::expected<std::size_t, Refusal> scan(std::string_view text);

 private:
  HeadLimits limits_;
  std::size_t scanned_ = 0;
  std::size_t line_start_ = 0;
  std::size_t lines_ = 0;
};

struct Head {
  bool http10 = false;
  bool keep_alive = true;        // what the client wants
  bool expect_continue = false;  // it waits for "100 Continue"
};

// Parses a complete head (as found by HeadScanner) into `request`: method, target, segments, query, headers,
// content_length and chunked.
std::expected<Head, Refusal> parse_head(std::string_view text, Request& request);

}  // namespace hansa::http
