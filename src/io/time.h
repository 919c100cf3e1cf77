// Durations and the three kinds of time. They never mix: comparing a wall time with a monotonic one does not compile.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace hansa::io {

using Duration = std::chrono::nanoseconds;
using namespace std::chrono_literals;

// What people read on a wall. May jump in both directions; safety never reads it (P10).
using WallTime = std::chrono::sys_time<Duration>;

// Time since an arbitrary point. Never goes back; stands still while the machine is suspended.
struct MonotonicTime {
  Duration since_origin{};
  auto operator<=>(const MonotonicTime&) const = default;
  friend MonotonicTime operator+(MonotonicTime t, Duration d) { return {t.since_origin + d}; }
  friend Duration operator-(MonotonicTime a, MonotonicTime b) { return a.since_origin - b.since_origin; }
};

// Like MonotonicTime, but goes on during suspension (CLOCK_BOOTTIME).
struct BootTime {
  Duration since_boot{};
  auto operator<=>(const BootTime&) const = default;
  friend Duration operator-(BootTime a, BootTime b) { return a.since_boot - b.since_boot; }
};

}  // namespace hansa::io
