// What workloads on a cluster have in common: who asks, and the loop that disturbs the members until all have done so.
#pragma once

#include <utility>

#include "auth/access.h"
#include "io/scope.h"
#include "sim/ports/random.h"
#include "sim/ports/world.h"

namespace hansa::sim {

// The only one, who may do everything.
inline auth::Access client() {
  return {auth::Identity{.user = "client", .groups = {}}, auth::allow_everything()};
}

// Runs the world until nothing in `scope` does, and calls `disturb()` after every while of calm drawn from `random`.
template <class Disturb>
void run_disturbed(World& world, const io::TaskScope& scope, SimRandom& random, Disturb disturb) {
  constexpr std::uint64_t shortest_calm_ms = 50;
  constexpr std::uint64_t calm_ms = 1500;  // more, at most
  const auto finished = [&scope] { return scope.running() == 0; };
  while (!world.run_until(finished, std::chrono::milliseconds(shortest_calm_ms + random.below(calm_ms)))) disturb();
}

}  // namespace hansa::sim
