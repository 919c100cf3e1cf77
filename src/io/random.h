// Random: the only source of randomness. Thread-safe. The real one is the kernel's generator and fit for secrets;
// the simulator's is a stream drawn from the seed.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace hansa::io {

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(Bytes out) = 0;

  std::uint64_t next();
  // Uniform in [0, bound). REQUIRES: bound > 0.
  std::uint64_t below(std::uint64_t bound);
  // `bytes` random bytes as lower-case hexadecimal: nonces, operation ids, session ids.
  std::string hex(std::size_t bytes);
};

}  // namespace hansa::io
