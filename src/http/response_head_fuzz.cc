// Heads of answers: whatever bytes arrive, the head is found, accepted or refused; a body is framed in one way only.
#include <cstdint>

#include "base/assert.h"
#include "http/response_head.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hansa::http;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  HeadScanner scanner(HeadLimits{});
  const auto length = scanner.scan(text);
  if (!length || *length == 0) return 0;
  const auto head = parse_response_head(text.substr(0, *length));
  if (!head) return 0;
  HANSA_ASSERT(head->status >= 100 && head->status <= 599, "a status has three digits and a known class");
  HANSA_ASSERT(!(head->chunked && head->content_length), "a body is chunked or has a length, never both");
  return 0;
}
