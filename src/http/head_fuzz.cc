// Request heads: whatever bytes arrive, the head is found, accepted or refused; a declared body has one length only.
#include <cstdint>

#include "base/assert.h"
#include "http/head.h"
#include "http/message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hansa::http;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  HeadScanner scanner(HeadLimits{});
  const auto length = scanner.scan(text);
  if (!length || *length == 0) return 0;
  HANSA_ASSERT(*length <= size, "a head ends within what arrived");
  Request request;
  if (!parse_head(text.substr(0, *length), request)) return 0;
  HANSA_ASSERT(!(request.chunked && request.content_length), "a body is chunked or has a length, never both");
  for (const auto& segment : request.segments) {
    HANSA_ASSERT(segment.size() <= max_target, "segments are within the target");
  }
  return 0;
}
