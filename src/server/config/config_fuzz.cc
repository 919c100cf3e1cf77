// Configurations of any content are accepted or refused with a message, as JSON and as YAML.
#include <cstdint>

#include "base/assert.h"
#include "server/config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const char* file : {"config.json", "config.yaml"}) {
    const auto parsed = hansa::server::config::parse(file, text);
    if (!parsed) HANSA_ASSERT(!parsed.error().message.empty(), "a refusal says why");
  }
  return 0;
}
