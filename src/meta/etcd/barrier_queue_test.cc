// Who waits for a barrier is answered once, in order, on its own executor.
#include "meta/etcd/barrier_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "io/asio/event_loops.h"
#include "io/scope.h"
#include "io/wait.h"
#include "sim/ports/world.h"

namespace hansa::meta::etcd {
namespace {

using namespace std::chrono_literals;

class BarrierQueueTest : public testing::Test {
 protected:
  io::Task<void> waiter(std::string name, io::Duration deadline = 3s) {
    const auto answer = co_await queue.wait(io::MonotonicTime(world.now() + deadline));
    seen +=
        name + ":" + (answer ? std::to_string(answer->revision) : std::string(to_string(answer.error().code))) + " ";
  }
  void settle() {
    // Waiters have no timers, so nothing but posts is left to run.
    world.run_until_idle();
  }

  sim::World world{{.seed = 7}};
  sim::SimExecutor one{world, "one"};
  sim::SimExecutor two{world, "two"};
  BarrierQueue queue;
  std::string seen;
};

TEST_F(BarrierQueueTest, AnswersThoseOfOneRoundAndLeavesTheRestWaiting) {
  io::TaskScope scope(one);
  for (const auto* name : {"a", "b", "c", "d"}) scope.spawn("waiter", waiter(name));
  settle();
  EXPECT_EQ(queue.newest(), 4U);
  queue.answer(2, 3, Fence{.revision = 7});
  EXPECT_EQ(seen, "") << "nobody resumes inside the call";
  settle();
  EXPECT_EQ(seen, "b:7 c:7 ");
  EXPECT_EQ(queue.size(), 2U);
  queue.answer(0, 4, make_error(ErrorCode::unavailable, "away"));
  queue.answer(0, 4, Fence{.revision = 8});
  settle();
  EXPECT_EQ(seen, "b:7 c:7 a:unavailable d:unavailable ");
}

TEST_F(BarrierQueueTest, HundredsOnTwoExecutorsAreAllAnsweredOnce) {
  io::TaskScope here(one);
  io::TaskScope there(two);
  constexpr int each = 200;
  for (int i = 0; i < each; ++i) {
    here.spawn("waiter", waiter("x"));
    there.spawn("waiter", waiter("y"));
  }
  settle();
  queue.answer(0, queue.newest(), Fence{.revision = 1});
  settle();
  EXPECT_EQ(here.running() + there.running(), 0U);
  EXPECT_EQ(std::ranges::count(seen, 'x'), each);
  EXPECT_EQ(std::ranges::count(seen, 'y'), each);
}

TEST_F(BarrierQueueTest, ACancelledWaiterLeavesAtOnceAndAnAnsweredOneKeepsItsAnswer) {
  io::TaskScope leaves(one);
  io::TaskScope stays(one);
  leaves.spawn("waiter", waiter("leaves"));
  stays.spawn("waiter", waiter("answered"));
  settle();
  leaves.cancel();
  queue.answer(2, 2, Fence{.revision = 5});
  stays.cancel();  // too late
  EXPECT_EQ(queue.size(), 0U);
  settle();
  EXPECT_EQ(seen, "leaves:cancelled answered:5 ");
  stays.spawn("waiter", waiter("later"));  // of a tree that was cancelled before
  settle();
  EXPECT_EQ(seen, "leaves:cancelled answered:5 later:cancelled ");
}

TEST_F(BarrierQueueTest, OnlyThoseWhoseDeadlinePassedExpire) {
  io::TaskScope scope(one);
  scope.spawn("waiter", waiter("early", 1s));
  scope.spawn("waiter", waiter("late", 2s));
  settle();
  queue.expire(io::MonotonicTime(1s), make_error(ErrorCode::timeout, "too late"));
  settle();
  EXPECT_EQ(seen, "early:timeout ");
  queue.end(make_error(ErrorCode::unavailable, "stopping"));
  settle();
  EXPECT_EQ(seen, "early:timeout late:unavailable ");
}

TEST_F(BarrierQueueTest, WhoeverComesAfterTheEndIsAnsweredAtOnce) {
  io::TaskScope scope(one);
  queue.end(make_error(ErrorCode::unavailable, "stopping"));
  scope.spawn("waiter", waiter("a"));
  settle();
  EXPECT_EQ(seen, "a:unavailable ");
}

TEST_F(BarrierQueueTest, WhoWaitsStillIsNoNewcomer) {
  io::TaskScope scope(one);
  scope.spawn("waiter", waiter("a"));
  settle();
  int woken = 0;
  queue.when_after(1, [&woken] { ++woken; });
  EXPECT_EQ(woken, 0);
  scope.spawn("waiter", waiter("b"));
  settle();
  EXPECT_EQ(woken, 1);
  queue.answer(0, 2, Fence{.revision = 1});
  settle();
}

TEST_F(BarrierQueueTest, WakesWhenAsManyCameAsWereWaitedFor) {
  io::TaskScope scope(one);
  int woken = 0;
  queue.when_after(2, [&woken] { ++woken; });
  scope.spawn("waiter", waiter("a"));
  scope.spawn("waiter", waiter("b"));
  settle();
  EXPECT_EQ(woken, 0);
  scope.spawn("waiter", waiter("c"));
  settle();
  EXPECT_EQ(woken, 1);
  queue.answer(0, 3, Fence{.revision = 1});
  settle();
}

TEST_F(BarrierQueueTest, WakesOnceWhenSomebodyCame) {
  io::TaskScope scope(one);
  int woken = 0;
  queue.when_after(0, [&woken] { ++woken; });
  EXPECT_EQ(woken, 0);
  scope.spawn("waiter", waiter("a"));
  scope.spawn("waiter", waiter("b"));
  settle();
  EXPECT_EQ(woken, 1);
  queue.when_after(1, [&woken] { ++woken; });
  EXPECT_EQ(woken, 2) << "at once, since the second still waits";
  queue.answer(0, 2, Fence{.revision = 1});
  settle();
  queue.when_after(2, [&woken] { ++woken; });
  queue.forget_wake();
  scope.spawn("waiter", waiter("c"));
  settle();
  EXPECT_EQ(woken, 2);
  queue.answer(0, 3, Fence{.revision = 1});
  settle();
}

// For the thread sanitizer: waiters of two real loops against rounds, expiry and cancellation from a third.
TEST(BarrierQueueThreads, EveryWaitOfTwoLoopsEndsWhileAThirdThreadAnswersAndExpires) {
  constexpr int waits = 2000;
  io::asio::EventLoops loops(2);
  BarrierQueue queue;
  std::atomic<int> done = 0;
  std::atomic<int> ended = 0;
  auto many = [](BarrierQueue* of, std::atomic<int>* count, std::atomic<int>* over) -> io::Task<void> {
    for (int i = 0; i < waits; ++i) {
      const auto answer = co_await of->wait(io::MonotonicTime(io::Duration(i)));
      if (answer) ++*count;
    }
    ++*over;
  };
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < loops.size(); ++i) {
    threads.emplace_back([&, i] { io::asio::run_and_wait(loops.executor(i), many(&queue, &done, &ended)); });
  }
  for (int i = 0; ended < 2; ++i) {
    queue.answer(0, queue.newest(), Fence{.revision = 1});
    if (i % 16 == 0) queue.expire(io::MonotonicTime(io::Duration(waits)), make_error(ErrorCode::timeout, "late"));
    std::this_thread::yield();
  }
  for (auto& thread : threads) thread.join();
  loops.stop();
  EXPECT_GT(done, 0);
  EXPECT_EQ(queue.size(), 0U);
}

}  // namespace
}  // namespace hansa::meta::etcd
