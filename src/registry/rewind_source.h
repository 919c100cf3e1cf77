// RewindSource: a body whose beginning is kept, so that it can be sent to another member while no more than that was
// taken. Not thread-safe; what is lent outlives it.
#pragma once

#include <algorithm>
#include <vector>

#include "io/byte_source.h"

namespace hansa::registry {

inline constexpr std::size_t rewind_limit = 64 * KiB;  // bytes of a body that are kept

class RewindSource final : public io::ByteSource {
 public:
  explicit RewindSource(io::ByteSource& inner) : inner_(inner) {}

  io::Task<Result<std::size_t>> read(Bytes out) override {
    if (at_ < kept_.size()) {
      const std::size_t count = std::min(out.size(), kept_.size() - at_);
      std::copy_n(kept_.begin() + static_cast<std::ptrdiff_t>(at_), count, out.begin());
      at_ += count;
      co_return count;
    }
    HANSA_CO_TRY(const std::size_t count, co_await inner_.read(out));
    if (!whole_ || kept_.size() + count > rewind_limit) {
      whole_ = false;
      kept_ = {};
      at_ = 0;
      co_return count;
    }
    kept_.insert(kept_.end(), out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count));
    at_ = kept_.size();
    co_return count;
  }

  // The next read begins anew. False: more was taken than is kept.
  bool rewind() {
    if (whole_) at_ = 0;
    return whole_;
  }

 private:
  io::ByteSource& inner_;
  std::vector<std::byte> kept_;
  std::size_t at_ = 0;  // in what is kept
  bool whole_ = true;   // everything that was taken is kept
};

}  // namespace hansa::registry
