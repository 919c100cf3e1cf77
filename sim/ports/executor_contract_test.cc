// The promises of io/executor.h, kept by the real event loop and the simulated one.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <latch>
#include <thread>
#include <vector>

#include "sim/ports/contract_rigs_test.h"

namespace hansa::sim {
namespace {

using namespace std::chrono_literals;
using Ints = std::vector<int>;

template <class Rig>
class ExecutorContract : public testing::Test {
 protected:
  Rig rig;
};
using Rigs = testing::Types<RealRig, SimRig>;
TYPED_TEST_SUITE(ExecutorContract, Rigs);

io::Task<void> sleep_a_bit(io::Duration duration) {
  const auto slept = co_await io::sleep_for(duration);
  EXPECT_TRUE(slept);
}

io::Task<void> post_five(io::Executor& executor, Ints* seen) {
  for (int i = 0; i < 5; ++i) executor.post([seen, i] { seen->push_back(i); });
  EXPECT_TRUE(seen->empty()) << "post() must not run the work itself";
  co_await io::yield();
}

TYPED_TEST(ExecutorContract, PostedWorkRunsLaterInTheOrderOfTheCalls) {
  Ints seen;
  this->rig.run(post_five(this->rig.executor(), &seen));
  EXPECT_EQ(seen, (Ints{0, 1, 2, 3, 4}));
}

io::Task<void> start_three_timers(io::Executor& executor, Ints* seen) {
  executor.start_timer(30ms, [seen] { seen->push_back(30); });
  executor.start_timer(1ms, [seen] { seen->push_back(1); });
  executor.start_timer(10ms, [seen] { seen->push_back(10); });
  co_await sleep_a_bit(60ms);
}

TYPED_TEST(ExecutorContract, TimersFireOnceInTheOrderOfTheirTimes) {
  Ints seen;
  this->rig.run(start_three_timers(this->rig.executor(), &seen));
  EXPECT_EQ(seen, (Ints{1, 10, 30}));
}

io::Task<void> cancel_timers(io::Executor& executor, io::Clock& clock, bool real, Ints* seen) {
  const auto early = executor.start_timer(5ms, [seen] { seen->push_back(5); });
  const auto expired = executor.start_timer(0ms, [seen] { seen->push_back(0); });
  // Let it expire without giving the loop a chance to fire it.
  const auto start = clock.monotonic();
  while (real && clock.monotonic() - start < 2ms) {
  }
  executor.cancel_timer(expired);
  executor.cancel_timer(early);
  executor.cancel_timer(early);
  executor.cancel_timer(123'456'789);
  co_await sleep_a_bit(20ms);
}

TYPED_TEST(ExecutorContract, ACancelledTimerNeverFiresEvenIfItHasExpired) {
  Ints seen;
  const bool real = std::is_same_v<TypeParam, RealRig>;
  this->rig.run(cancel_timers(this->rig.executor(), this->rig.clock(), real, &seen));
  EXPECT_TRUE(seen.empty());
}

io::Task<void> very_long_timer(io::Executor& executor, bool* fired) {
  const auto id = executor.start_timer(io::Duration::max(), [fired] { *fired = true; });
  co_await sleep_a_bit(5ms);
  executor.cancel_timer(id);
}

TYPED_TEST(ExecutorContract, AnEndlessDelayDoesNotOverflow) {
  bool fired = false;
  this->rig.run(very_long_timer(this->rig.executor(), &fired));
  EXPECT_FALSE(fired);
}

io::Task<void> work_in_every_pool(io::Executor& executor, Ints* results) {
  EXPECT_TRUE(executor.on_this_thread());
  for (const auto pool :
       {io::Pool::disk, io::Pool::sync, io::Pool::metadata, io::Pool::auth, io::Pool::upkeep, io::Pool::names}) {
    auto work = [&executor, pool] {
      EXPECT_FALSE(executor.on_this_thread());
      return static_cast<int>(pool);
    };
    const int result = co_await io::blocking(pool, work);
    EXPECT_TRUE(executor.on_this_thread());
    results->push_back(result);
  }
}

TYPED_TEST(ExecutorContract, BlockingWorkRunsOffTheThreadAndItsResultComesBack) {
  Ints results;
  this->rig.run(work_in_every_pool(this->rig.executor(), &results));
  EXPECT_EQ(results, (Ints{0, 1, 2, 3, 4, 5}));
  EXPECT_FALSE(this->rig.executor().on_this_thread());
}

io::Task<void> count_up(std::atomic<int>* counter) {
  for (int i = 0; i < 100; ++i) {
    auto work = [counter] { counter->fetch_add(1); };
    co_await io::blocking(io::Pool::disk, work);
  }
}

io::Task<void> spawn_ten(io::Executor& executor, std::atomic<int>* counter) {
  io::TaskScope scope(executor);
  for (int i = 0; i < 10; ++i) scope.spawn("count", count_up(counter));
  co_await scope.join();
}

TYPED_TEST(ExecutorContract, AFullQueueMakesWorkWaitAndLosesNone) {
  std::atomic<int> counter = 0;
  this->rig.run(spawn_ten(this->rig.executor(), &counter));
  EXPECT_EQ(counter, 1000);
}

TEST(EventLoops, PostsOfOtherThreadsArriveInEachThreadsOrder) {
  constexpr int kThreads = 4;
  constexpr int kPosts = 5000;
  std::vector<Ints> seen(kThreads);
  io::asio::EventLoops loops(1);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&loops, &seen, t] {
        auto& mine = seen[static_cast<std::size_t>(t)];
        for (int i = 0; i < kPosts; ++i) loops.executor(0).post([&mine, i] { mine.push_back(i); });
      });
    }
  }
  loops.stop();  // which runs what was posted
  for (const auto& mine : seen) {
    ASSERT_EQ(mine.size(), static_cast<std::size_t>(kPosts));
    EXPECT_TRUE(std::ranges::is_sorted(mine));
  }
}

TEST(EventLoops, APoolThatIsStuckHoldsUpNoOther) {
  io::asio::EventLoops loops(1, {.disk = 1, .sync = 1});
  std::latch release(1);
  std::latch disk_done(1);
  loops.executor(0).run_blocking(io::Pool::sync, [&] { release.wait(); });
  loops.executor(0).run_blocking(io::Pool::disk, [&] { disk_done.count_down(); });
  disk_done.wait();
  release.count_down();
  loops.stop();
}

TEST(EventLoops, APoolRunsAsManyThreadsAsItsSizeAndNoMore) {
  constexpr int kSize = 3;
  io::asio::EventLoops loops(1, {.disk = kSize});
  std::latch all_in(kSize);
  std::latch release(1);
  std::atomic<int> inside = 0;
  std::atomic<int> most = 0;
  for (int i = 0; i < 50; ++i) {
    loops.executor(0).run_blocking(io::Pool::disk, [&, i] {
      const int now = ++inside;
      for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      if (i < kSize) {
        all_in.arrive_and_wait();  // ends only if three run at once
        release.wait();            // and a fourth thread would now get its chance
      }
      --inside;
    });
  }
  all_in.wait();
  release.count_down();
  loops.stop();
  EXPECT_EQ(most, kSize);
}

TEST(EventLoops, StopRunsPostedAndBlockingWorkThatWasHandedIn) {
  std::atomic<int> ran = 0;
  io::asio::EventLoops loops(2);
  for (std::size_t i = 0; i < 100; ++i) {
    io::Executor& executor = loops.executor(i % 2);
    executor.post([&] { ++ran; });
    executor.run_blocking(io::Pool::upkeep, [&ran, &executor] { executor.post([&] { ++ran; }); });
  }
  loops.stop();
  EXPECT_EQ(ran, 200);
}

TEST(EventLoops, EveryLoopHasAThreadOfItsOwn) {
  io::asio::EventLoops loops(2);
  EXPECT_EQ(loops.size(), 2U);
  std::latch both(2);  // neither gets past it unless both loops run
  for (std::size_t i = 0; i < 2; ++i) loops.executor(i).post([&] { both.arrive_and_wait(); });
  loops.stop();
  EXPECT_TRUE(both.try_wait());
}

}  // namespace
}  // namespace hansa::sim
