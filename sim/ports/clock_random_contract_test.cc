// The promises of io/clock.h and io/random.h, kept by the real ports and the simulated ones.
#include <gtest/gtest.h>

#include <array>
#include <set>

#include "sim/ports/contract_rigs_test.h"

namespace hansa::sim {
namespace {

using Rigs = testing::Types<RealRig, SimRig>;

template <class Rig>
class ClockContract : public testing::Test {
 protected:
  Rig rig;
};
TYPED_TEST_SUITE(ClockContract, Rigs);

constexpr io::Duration kShortSleep = std::chrono::milliseconds(20);

io::Task<void> sleep_shortly() {
  const auto slept = co_await io::sleep_for(kShortSleep);
  EXPECT_TRUE(slept);
}

// Monotonic and boot time cover at least what a timer waited for, and all three kinds move on.
TYPED_TEST(ClockContract, TimePassesWhileATimerRuns) {
  const io::Clock& clock = this->rig.clock();
  const auto monotonic = clock.monotonic();
  const auto boot = clock.boot();
  const auto wall = clock.wall();
  this->rig.run(sleep_shortly());
  EXPECT_GE(clock.monotonic() - monotonic, std::chrono::milliseconds(20));
  EXPECT_GE(clock.boot() - boot, std::chrono::milliseconds(20));
  EXPECT_NE(clock.wall(), wall);
}

TYPED_TEST(ClockContract, MonotonicAndBootNeverGoBack) {
  const io::Clock& clock = this->rig.clock();
  auto monotonic = clock.monotonic();
  auto boot = clock.boot();
  for (int i = 0; i < 1000; ++i) {
    const auto next_monotonic = clock.monotonic();
    const auto next_boot = clock.boot();
    ASSERT_GE(next_monotonic, monotonic);
    ASSERT_GE(next_boot, boot);
    monotonic = next_monotonic;
    boot = next_boot;
  }
}

TYPED_TEST(ClockContract, BootTimeIsAtLeastMonotonicTime) {
  const auto monotonic = this->rig.clock().monotonic();
  EXPECT_GE(this->rig.clock().boot().since_boot, monotonic.since_origin);
}

// The year is plausible: a clock that forgot its epoch shows.
TYPED_TEST(ClockContract, WallTimeCountsFromTheUnixEpoch) {
  EXPECT_GT(this->rig.clock().wall(), std::chrono::sys_days(std::chrono::year(2024) / 1 / 1));
  EXPECT_LT(this->rig.clock().wall(), std::chrono::sys_days(std::chrono::year(2100) / 1 / 1));
}

template <class Rig>
class RandomContract : public testing::Test {
 protected:
  Rig rig;
};
TYPED_TEST_SUITE(RandomContract, Rigs);

TYPED_TEST(RandomContract, FillsEveryByteOfAnyLength) {
  for (const std::size_t size : {0U, 1U, 7U, 8U, 9U, 1000U}) {
    std::vector<std::byte> seen(size);
    // A byte that is never written stays zero in all 20 draws; chance does that once in 2^160.
    for (int i = 0; i < 20; ++i) {
      std::vector<std::byte> drawn(size);
      this->rig.random().fill(drawn);
      for (std::size_t at = 0; at < size; ++at) seen[at] |= drawn[at];
    }
    for (const std::byte byte : seen) EXPECT_NE(byte, std::byte{0});
  }
}

TYPED_TEST(RandomContract, NumbersDoNotRepeat) {
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 10'000; ++i) EXPECT_TRUE(seen.insert(this->rig.random().next()).second);
}

TYPED_TEST(RandomContract, BelowIsUniformAndInRange) {
  std::array<int, 10> counts{};
  for (int i = 0; i < 10'000; ++i) ++counts.at(this->rig.random().below(counts.size()));
  for (const int count : counts) {
    EXPECT_GT(count, 800);
    EXPECT_LT(count, 1200);
  }
  EXPECT_EQ(this->rig.random().below(1), 0U);
}

TYPED_TEST(RandomContract, HexHasTwoDigitsPerByte) {
  const std::string text = this->rig.random().hex(16);
  EXPECT_EQ(text.size(), 32U);
  EXPECT_EQ(text.find_first_not_of("0123456789abcdef"), std::string::npos);
}

TEST(SimClock, EachClockMovesByItself) {
  World world;
  SimClock clock(world, "a");
  const auto wall = clock.wall();
  const auto monotonic = clock.monotonic();
  const auto boot = clock.boot();
  clock.jump_wall(-std::chrono::hours(1));
  EXPECT_EQ(clock.wall(), wall - std::chrono::hours(1));
  EXPECT_EQ(clock.monotonic(), monotonic);
  clock.suspend(std::chrono::minutes(5));
  EXPECT_EQ(clock.monotonic(), monotonic);
  EXPECT_EQ(clock.boot() - boot, std::chrono::minutes(5));
  EXPECT_EQ(clock.wall(), wall - std::chrono::minutes(55));
  clock.set_drift(1000);
  world.run_for(std::chrono::seconds(1000));
  EXPECT_EQ(clock.monotonic() - monotonic, std::chrono::seconds(1001));
}

TEST(SimClock, NodesDoNotShareTheirOrigin) {
  World world;
  EXPECT_NE(SimClock(world, "a").monotonic(), SimClock(world, "b").monotonic());
}

TEST(SimRandom, TheSeedAndTheNameDecideTheStream) {
  SimRandom one(7, "x");
  SimRandom same(7, "x");
  SimRandom other_name(7, "y");
  SimRandom other_seed(8, "x");
  const auto first = one.next();
  EXPECT_EQ(first, same.next());
  EXPECT_NE(first, other_name.next());
  EXPECT_NE(first, other_seed.next());
}

}  // namespace
}  // namespace hansa::sim
