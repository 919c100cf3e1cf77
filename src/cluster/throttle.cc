#include "cluster/throttle.h"

#include <algorithm>

namespace hansa::cluster {

io::Duration Throttle::take(std::uint64_t bytes, io::MonotonicTime now) {
  constexpr io::Duration credit = std::chrono::milliseconds(100);
  if (rate_ == 0) return io::Duration::zero();
  const auto cost = std::chrono::duration_cast<io::Duration>(
      std::chrono::duration<double>(static_cast<double>(bytes) / static_cast<double>(rate_)));
  const std::lock_guard guard(mutex_);
  const io::MonotonicTime from = std::max(free_at_, now + -credit);
  free_at_ = from + cost;
  return std::max(free_at_ - now, io::Duration::zero());
}

io::Task<Result<std::size_t>> ThrottledSource::read(Bytes out) {
  if (wait_ > io::Duration::zero()) HANSA_CO_CHECK(co_await io::sleep_for(wait_));
  HANSA_CO_TRY(const std::size_t got, co_await source_->read(out));
  wait_ = held_(got);
  co_return got;
}

}  // namespace hansa::cluster
