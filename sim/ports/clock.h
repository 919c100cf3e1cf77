// SimClock: one node's three clocks over the world's time. Each can be moved alone: people set wall clocks, machines
// are suspended, and no two nodes agree. Timers follow the world, not these clocks.
#pragma once

#include "io/clock.h"
#include "sim/ports/world.h"

namespace hansa::sim {

class SimClock final : public io::Clock {
 public:
  // The origins differ from node to node, drawn from the world's seed and `node`, so that a comparison across nodes or
  // across kinds of clock shows.
  SimClock(const World& world, std::string_view node);

  io::WallTime wall() const override { return wall_origin_ + world_.now() + wall_offset_; }
  io::MonotonicTime monotonic() const override { return {monotonic_origin_ + world_.now() + drift()}; }
  io::BootTime boot() const override { return {monotonic_origin_ + world_.now() + drift() + suspended_}; }

  // Somebody sets the wall clock; both directions.
  void jump_wall(io::Duration by) { wall_offset_ += by; }
  // The machine slept: wall and boot go on, monotonic stands still. REQUIRES: by >= 0.
  void suspend(io::Duration by);
  // Monotonic and boot run faster (or slower) by this many parts in a million from now on. REQUIRES: > -1,000,000.
  void set_drift(std::int64_t parts_per_million);

 private:
  io::Duration drift() const;

  const World& world_;
  io::WallTime wall_origin_;
  io::Duration monotonic_origin_{};
  io::Duration wall_offset_{};
  io::Duration suspended_{};
  io::Duration drift_until_now_{};  // gathered under earlier rates
  io::Duration drift_since_{};      // world time at which the present rate began
  std::int64_t drift_rate_ = 0;
};

}  // namespace hansa::sim
