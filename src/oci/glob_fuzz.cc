// Globs: compiling and matching end quickly, whatever the pattern. The first line is the pattern, the rest the name.
#include <cstdint>

#include "oci/glob.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto line = text.find('\n');
  if (line == std::string_view::npos) return 0;
  const auto glob = hansa::oci::Glob::compile(text.substr(0, line));
  if (glob) static_cast<void>(glob->matches(text.substr(line + 1)));
  return 0;
}
