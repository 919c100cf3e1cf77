#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace hansa {

void assertion_failed(std::string_view expression, std::string_view why, std::source_location where) {
  std::fprintf(stderr, "hansa: invariant broken: %.*s (%.*s) at %s:%u in %s\n", static_cast<int>(expression.size()),
               expression.data(), static_cast<int>(why.size()), why.data(), where.file_name(), where.line(),
               where.function_name());
  std::abort();
}

}  // namespace hansa
