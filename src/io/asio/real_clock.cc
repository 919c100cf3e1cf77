#include <sys/random.h>
#include <time.h>

#include <cerrno>

#include "base/assert.h"
#include "io/asio/event_loops.h"

namespace hansa::io::asio {
namespace {

Duration read_clock(clockid_t id) {
  timespec now{};
  HANSA_ASSERT(::clock_gettime(id, &now) == 0, "the kernel has these three clocks");
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

class RealClock final : public Clock {
 public:
  WallTime wall() const override { return WallTime(read_clock(CLOCK_REALTIME)); }
  MonotonicTime monotonic() const override { return {read_clock(CLOCK_MONOTONIC)}; }
  BootTime boot() const override { return {read_clock(CLOCK_BOOTTIME)}; }
};

class KernelRandom final : public Random {
 public:
  void fill(Bytes out) override {
    while (!out.empty()) {
      const ssize_t count = ::getrandom(out.data(), out.size(), 0);
      if (count < 0 && errno == EINTR) continue;
      HANSA_ASSERT(count > 0, "going on without randomness would give secrets away");
      out = out.subspan(static_cast<std::size_t>(count));
    }
  }
};

}  // namespace

std::unique_ptr<Clock> real_clock() {
  return std::make_unique<RealClock>();
}

std::unique_ptr<Random> real_random() {
  return std::make_unique<KernelRandom>();
}

}  // namespace hansa::io::asio
