#include "io/random.h"

#include <array>
#include <cstring>
#include <vector>

#include "base/assert.h"

namespace hansa::io {

std::uint64_t Random::next() {
  std::array<std::byte, 8> bytes{};
  fill(bytes);
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

std::uint64_t Random::below(std::uint64_t bound) {
  HANSA_ASSERT(bound > 0, "an empty range has no element to draw");
  // Values under `threshold` would make small results likelier; draw again.
  const std::uint64_t threshold = -bound % bound;
  for (;;) {
    const std::uint64_t value = next();
    if (value >= threshold) return value % bound;
  }
}

std::string Random::hex(std::size_t bytes) {
  std::vector<std::byte> buffer(bytes);
  fill(buffer);
  return hex_encode(buffer);
}

}  // namespace hansa::io
