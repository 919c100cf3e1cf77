// Password files and Authorization fields of any content are parsed without harm.
#include <cstdint>

#include "auth/basic.h"
#include "auth/htpasswd.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(hansa::auth::Htpasswd::parse(text).size());
  static_cast<void>(hansa::auth::parse_basic(text).has_value());
  return 0;
}
