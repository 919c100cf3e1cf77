#include "sim/ports/random.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace hansa::sim {
namespace {
constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15;  // 2^64 divided by the golden ratio, odd
}

std::uint64_t mix(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

std::uint64_t derive_seed(std::uint64_t seed, std::string_view name) {
  std::uint64_t derived = mix(seed + kStep);
  for (const char c : name) derived = mix(derived + kStep + static_cast<unsigned char>(c));
  return derived;
}

void SimRandom::fill(Bytes out) {
  const std::lock_guard lock(mutex_);
  while (!out.empty()) {
    state_ += kStep;
    const std::uint64_t value = mix(state_);
    const std::size_t count = std::min(out.size(), sizeof value);
    std::memcpy(out.data(), &value, count);
    out = out.subspan(count);
  }
}

std::uint64_t SimRandom::between(std::uint64_t low, std::uint64_t high) {
  HANSA_ASSERT(low <= high, "a range runs upwards");
  if (low == 0 && high == UINT64_MAX) return next();
  return low + below(high - low + 1);
}

}  // namespace hansa::sim
