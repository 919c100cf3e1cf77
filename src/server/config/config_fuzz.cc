// Configurations of any content are accepted or refused with a message. Only as JSON: yaml-cpp 0.7 loops on some broken
// input, and only an operator's own file reaches it.
#include <cstdint>

#include "base/assert.h"
#include "server/config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = hansa::server::config::parse("config.json", text);
  if (!parsed) HANSA_ASSERT(!parsed.error().message.empty(), "a refusal says why");
  return 0;
}
