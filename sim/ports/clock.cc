#include "sim/ports/clock.h"

#include "base/assert.h"
#include "sim/ports/random.h"

namespace hansa::sim {
namespace {
constexpr io::WallTime kFirstDay = std::chrono::sys_days(std::chrono::year(2030) / 1 / 1);
constexpr std::uint64_t kMaxUptimeSeconds = 1'000'000;
constexpr std::int64_t kMillion = 1'000'000;
}  // namespace

SimClock::SimClock(const World& world, std::string_view node) : world_(world), wall_origin_(kFirstDay) {
  SimRandom random(world.seed(), std::string("clock ").append(node));
  monotonic_origin_ = std::chrono::seconds(random.between(1, kMaxUptimeSeconds));
}

void SimClock::suspend(io::Duration by) {
  HANSA_ASSERT(by >= io::Duration::zero(), "nobody sleeps backwards");
  suspended_ += by;
  wall_offset_ += by;
}

void SimClock::set_drift(std::int64_t parts_per_million) {
  HANSA_ASSERT(parts_per_million > -kMillion, "a monotonic clock never goes back");
  drift_until_now_ = drift();
  drift_since_ = world_.now();
  drift_rate_ = parts_per_million;
}

io::Duration SimClock::drift() const {
  return drift_until_now_ + (world_.now() - drift_since_) / kMillion * drift_rate_;
}

}  // namespace hansa::sim
