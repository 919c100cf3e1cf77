// HANSA_ASSERT(condition, "why this must hold"): an invariant that guards data. Stays on in release builds;
// prints the place and stops the process, since going on could damage what is stored.
#pragma once

#include <source_location>
#include <string_view>

namespace hansa {
[[noreturn]] void assertion_failed(std::string_view expression, std::string_view why,
                                   std::source_location where = std::source_location::current());
}  // namespace hansa

#define HANSA_ASSERT(condition, why)              \
  do {                                            \
    if (!(condition)) [[unlikely]]                \
      ::hansa::assertion_failed(#condition, why); \
  } while (false)
