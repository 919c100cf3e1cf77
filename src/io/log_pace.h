// LogPace: when to say something about what may happen very often: at once, and then no more than once in a while.
// Not thread-safe.
#pragma once

#include <cstdint>
#include <optional>

#include "io/time.h"

namespace hansa::io {

inline constexpr Duration log_pace = std::chrono::minutes(1);  // between two log lines about the same trouble

class LogPace {
 public:
  explicit LogPace(Duration gap = log_pace) : gap_(gap) {}

  // Counts an event. How many there were since the last that was said, this one included, if it is time to say so.
  std::optional<std::uint64_t> count(BootTime now) {
    ++unsaid_;
    if (said_ && now - *said_ < gap_) return std::nullopt;
    said_ = now;
    const std::uint64_t events = unsaid_;
    unsaid_ = 0;
    return events;
  }

 private:
  Duration gap_;
  std::optional<BootTime> said_;
  std::uint64_t unsaid_ = 0;
};

}  // namespace hansa::io
