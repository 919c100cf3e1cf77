// The world itself: virtual time, drawn order, repeatability, pauses.
#include <gtest/gtest.h>

#include <set>

#include "io/wait.h"
#include "sim/ports/world.h"

namespace hansa::sim {
namespace {

using namespace std::chrono_literals;

TEST(World, SleepsTakeVirtualTimeOnly) {
  World world;
  SimExecutor executor(world, "node");
  const auto slept = run(world, executor, io::sleep_for(1000h));
  EXPECT_TRUE(slept);
  EXPECT_EQ(world.now(), 1000h);
}

TEST(World, RunForMovesTimeByExactlyThatAndRunsWhatIsDue) {
  World world;
  SimExecutor executor(world, "node");
  std::string seen;
  executor.start_timer(10ms, [&] { seen += "a"; });
  executor.start_timer(11ms, [&] { seen += "b"; });
  world.run_for(10ms);
  EXPECT_EQ(seen, "a");
  EXPECT_EQ(world.now(), 10ms);
  world.run_for(500us);
  EXPECT_EQ(world.now(), 10ms + 500us);
  world.run_until_idle();
  EXPECT_EQ(seen, "ab");
  EXPECT_FALSE(world.step());
}

TEST(World, RunUntilStopsAtItsConditionOrItsLimit) {
  World world;
  SimExecutor executor(world, "node");
  bool fired = false;
  executor.start_timer(1h, [&] { fired = true; });
  EXPECT_FALSE(world.run_until([&] { return fired; }, 59min));
  EXPECT_FALSE(fired);
  EXPECT_TRUE(world.run_until([&] { return fired; }));
}

io::Task<void> chatter(std::string* seen, char name) {
  for (int i = 0; i < 5; ++i) {
    *seen += name;
    auto nothing = [] {};
    co_await io::blocking(io::Pool::disk, nothing);
    co_await io::yield();
  }
}

struct Story {
  std::string seen;
  std::uint64_t trace;
};

Story run_three_nodes(WorldOptions options) {
  World world(options);
  std::string seen;
  {
    SimExecutor a(world, "a");
    SimExecutor b(world, "b");
    SimExecutor c(world, "c");
    io::TaskScope scope_a(a);
    io::TaskScope scope_b(b);
    io::TaskScope scope_c(c);
    scope_a.spawn("a", chatter(&seen, 'a'));
    scope_b.spawn("b", chatter(&seen, 'b'));
    scope_c.spawn("c", chatter(&seen, 'c'));
    world.run_until_idle();
  }
  return {seen, world.trace()};
}

TEST(World, TheSameSeedGivesTheSameRunAndAnotherSeedAnother) {
  std::set<std::uint64_t> traces;
  std::set<std::string> orders;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const WorldOptions options{.seed = seed, .order = Order::any};
    const Story first = run_three_nodes(options);
    const Story again = run_three_nodes(options);
    EXPECT_EQ(first.trace, again.trace);
    EXPECT_EQ(first.seen, again.seen);
    traces.insert(first.trace);
    orders.insert(first.seen);
  }
  EXPECT_EQ(traces.size(), 20U);
  EXPECT_GT(orders.size(), 15U);
}

TEST(World, NotesChangeTheTrace) {
  World one;
  World other;
  EXPECT_EQ(one.trace(), other.trace());
  one.note("x");
  EXPECT_NE(one.trace(), other.trace());
}

// Posts 0..4 on two executors and returns the order in which they ran.
std::string order_of_posts(Order order, std::uint64_t seed) {
  World world({.seed = seed, .order = order});
  SimExecutor a(world, "a");
  SimExecutor b(world, "b");
  std::string seen;
  for (char i = '0'; i < '5'; ++i) {
    a.post([&seen, i] { seen += i; });
    b.post([&seen, i] { seen += static_cast<char>(i - '0' + 'a'); });
  }
  world.run_until_idle();
  return seen;
}

TEST(World, OrderPostedIsTheOrderOfTheCalls) {
  EXPECT_EQ(order_of_posts(Order::posted, 5), "0a1b2c3d4e");
}

TEST(World, OrderBetweenExecutorsMixesThemButKeepsEach) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    std::string digits;
    std::string letters;
    const std::string order = order_of_posts(Order::between_executors, seed);
    for (const char c : order) (c < 'a' ? digits : letters) += c;
    EXPECT_EQ(digits, "01234");
    EXPECT_EQ(letters, "abcde");
    seen.insert(order);
  }
  EXPECT_GT(seen.size(), 30U);
}

TEST(World, OrderAnyAlsoBreaksTheOrderOfOneExecutor) {
  bool broken = false;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const std::string order = order_of_posts(Order::any, seed);
    broken = broken || order.find('1') < order.find('0');
  }
  EXPECT_TRUE(broken);
}

TEST(World, APausedNodeStandsStillWhileOthersGoOn) {
  World world;
  SimExecutor a(world, "a");
  SimExecutor b(world, "b");
  std::string seen;
  a.pause(1s);
  a.post([&] { seen += "1"; });
  a.post([&] { seen += "2"; });
  const auto cancelled = a.start_timer(10ms, [&] { seen += "never"; });
  b.start_timer(500ms, [&] { seen += "b"; });
  b.start_timer(600ms, [&] { a.cancel_timer(cancelled); });
  world.run_for(999ms);
  EXPECT_EQ(seen, "b");
  world.run_for(1ms);
  EXPECT_EQ(seen, "b12");
  world.run_until_idle();
  EXPECT_EQ(seen, "b12");
}

TEST(World, BlockingWorkWaitsForADrawnDelay) {
  std::set<io::Duration> delays;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    World world({.seed = seed, .max_blocking_delay = 5ms});
    SimExecutor executor(world, "node");
    executor.run_blocking(io::Pool::disk, [] {});
    world.run_until_idle();
    EXPECT_LE(world.now(), 5ms);
    delays.insert(world.now());
  }
  EXPECT_GT(delays.size(), 5U);
}

TEST(World, WorkOfADeadExecutorIsDropped) {
  World world;
  SimExecutor alive(world, "alive");
  auto held = std::make_shared<int>(1);
  {
    SimExecutor dead(world, "dead");
    dead.post([held] { FAIL(); });
    dead.start_timer(1s, [held] { FAIL(); });
  }
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_FALSE(world.step());
}

TEST(World, AWorldThatNeverRestsIsFoundOut) {
  World world({.max_events = 1000});
  SimExecutor executor(world, "node");
  std::function<void()> again = [&] { executor.start_timer(1s, [&] { again(); }); };
  again();
  EXPECT_DEATH(world.run_until_idle(), "never comes to rest");
}

}  // namespace
}  // namespace hansa::sim
