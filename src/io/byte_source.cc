#include "io/byte_source.h"

#include <algorithm>

namespace hansa::io {

Task<Result<std::size_t>> MemorySource::read(Bytes out) {
  const std::size_t count = std::min(out.size(), rest_.size());
  std::copy_n(rest_.begin(), count, out.begin());
  rest_ = rest_.subspan(count);
  co_return count;
}

}  // namespace hansa::io
