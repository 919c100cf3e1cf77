// SimRandom: a stream of numbers that depends on its seed alone. Not fit for secrets. Thread-safe, so that it may
// also feed code that runs on real threads (the order of draws is then the threads').
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <string_view>

#include "io/random.h"

namespace hansa::sim {

// Mixes the bits of a number so that near inputs give far outputs.
std::uint64_t mix(std::uint64_t value);
// The seed of a stream with a name. Streams of different names do not disturb each other: a new consumer of one
// leaves the others as they were.
std::uint64_t derive_seed(std::uint64_t seed, std::string_view name);

class SimRandom final : public io::Random {
 public:
  explicit SimRandom(std::uint64_t seed) : state_(seed) {}
  SimRandom(std::uint64_t seed, std::string_view name) : state_(derive_seed(seed, name)) {}

  void fill(Bytes out) override;
  // True once in `n` draws, on average. REQUIRES: n > 0.
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  // Uniform in [low, high].
  std::uint64_t between(std::uint64_t low, std::uint64_t high);

 private:
  std::mutex mutex_;
  std::uint64_t state_;
};

// An element of what is not empty.
template <class Elements>
const auto& drawn_from(const Elements& elements, SimRandom& random) {
  return *std::next(elements.begin(), static_cast<std::ptrdiff_t>(random.below(elements.size())));
}

}  // namespace hansa::sim
