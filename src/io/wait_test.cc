// Waits: sleeping, blocking work, deadlines and cancellation.
#include "io/wait.h"

#include <gtest/gtest.h>

#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "io/asio/event_loops.h"
#include "io/scope.h"
#include "sim/ports/contract_rigs_test.h"
#include "sim/ports/world.h"

namespace hansa::io {
namespace {

class WaitTest : public testing::Test {
 protected:
  sim::World world{{.max_blocking_delay = 3ms}};
  sim::SimExecutor executor{world, "node"};
};

std::string outcome(const Result<void>& result) {
  return result ? "ok" : std::string(to_string(result.error().code));
}

Task<void> sleep_and_note(Duration duration, std::string* seen) {
  const auto slept = co_await sleep_for(duration);
  *seen += outcome(slept) + " ";
}

TEST_F(WaitTest, ASleepLastsAsLongAsAskedFor) {
  std::string seen;
  sim::run(world, executor, sleep_and_note(5s, &seen));
  EXPECT_EQ(seen, "ok ");
  EXPECT_EQ(world.now(), 5s);
}

TEST_F(WaitTest, CancellingWakesASleeperAtOnce) {
  std::string seen;
  TaskScope scope(executor);
  scope.spawn("sleeper", sleep_and_note(1h, &seen));
  world.run_for(1s);
  scope.cancel();
  world.run_until_idle();
  EXPECT_EQ(seen, "cancelled ");
  EXPECT_EQ(world.now(), 1s) << "its timer is gone too";
}

Task<void> sleep_twice(std::string* seen) {
  co_await sleep_and_note(1h, seen);
  co_await sleep_and_note(1h, seen);
}

TEST_F(WaitTest, EveryLaterWaitOfACancelledTreeEndsAtOnce) {
  std::string seen;
  TaskScope scope(executor);
  scope.spawn("sleeper", sleep_twice(&seen));
  world.run_for(1s);
  scope.cancel();
  scope.cancel();
  world.run_until_idle();
  EXPECT_EQ(seen, "cancelled cancelled ");
  EXPECT_EQ(world.now(), 1s);
}

Task<void> block_and_note(std::string* seen) {
  auto work = [seen] { *seen += "work "; };
  co_await blocking(Pool::disk, work);
  TaskContext& context = co_await current_context();
  *seen += context.cancelled() ? "back cancelled" : "back";
}

TEST_F(WaitTest, BlockingWorkIsFinishedEvenWhenItsTaskIsCancelled) {
  std::string seen;
  TaskScope scope(executor);
  scope.spawn("blocker", block_and_note(&seen));
  ASSERT_TRUE(world.step());  // it has started and handed the work over
  scope.cancel();
  EXPECT_EQ(seen, "");
  world.run_until_idle();
  EXPECT_EQ(seen, "work back cancelled");
}

Task<std::string> blocking_string() {
  auto work = [prefix = std::string("from ")] { return prefix + "the pool"; };
  co_return co_await blocking(Pool::metadata, std::move(work));
}

TEST_F(WaitTest, BlockingReturnsWhatItsFunctionReturns) {
  EXPECT_EQ(sim::run(world, executor, blocking_string()), "from the pool");
}

Task<void> yielding(std::string* seen, char name) {
  for (int i = 0; i < 3; ++i) {
    *seen += name;
    co_await yield();
  }
}

TEST_F(WaitTest, YieldLetsOthersRun) {
  std::string seen;
  TaskScope scope(executor);
  scope.spawn("a", yielding(&seen, 'a'));
  scope.spawn("b", yielding(&seen, 'b'));
  world.run_until_idle();
  EXPECT_EQ(seen, "ababab");
}

Task<Result<int>> number_after(Duration duration, int number) {
  HANSA_CO_CHECK(co_await sleep_for(duration));
  co_return number;
}

TEST_F(WaitTest, ADeadlineThatIsMetChangesNothingAndLeavesNoTimer) {
  const auto result = sim::run(world, executor, with_deadline(1h, number_after(1s, 7)));
  EXPECT_EQ(result.value(), 7);
  world.run_until_idle();
  EXPECT_EQ(world.now(), 1s);
}

TEST_F(WaitTest, ADeadlineThatPassesIsATimeout) {
  const auto result = sim::run(world, executor, with_deadline(1s, number_after(1h, 7)));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::timeout);
  EXPECT_EQ(world.now(), 1s);
}

Task<Result<int>> ignore_cancellation() {
  const auto slept = co_await sleep_for(1h);
  co_return slept ? 1 : 2;
}

TEST_F(WaitTest, ATaskThatMakesItInSpiteOfItsDeadlineKeepsItsResult) {
  EXPECT_EQ(sim::run(world, executor, with_deadline(1s, ignore_cancellation())).value(), 2);
}

TEST_F(WaitTest, TheNearerOfTwoNestedDeadlinesCounts) {
  auto inner_first = with_deadline(1h, with_deadline(1s, number_after(2h, 7)));
  EXPECT_EQ(sim::run(world, executor, std::move(inner_first)).error().code, ErrorCode::timeout);
  EXPECT_EQ(world.now(), 1s);
  auto outer_first = with_deadline(1s, with_deadline(1h, number_after(2h, 7)));
  EXPECT_EQ(sim::run(world, executor, std::move(outer_first)).error().code, ErrorCode::timeout);
  EXPECT_EQ(world.now(), 2s);
}

Task<void> deadline_then_sleep(std::string* seen) {
  const auto number = co_await with_deadline(1s, number_after(1h, 7));
  *seen += std::string(to_string(number.error().code)) + " ";
  co_await sleep_and_note(1s, seen);
}

TEST_F(WaitTest, APassedDeadlineCancelsItsTaskButNotTheTreeAroundIt) {
  std::string seen;
  sim::run(world, executor, deadline_then_sleep(&seen));
  EXPECT_EQ(seen, "timeout ok ");
}

TEST_F(WaitTest, CancellingTheTreeReachesThroughADeadline) {
  std::string seen;
  TaskScope scope(executor);
  scope.spawn("waiter", deadline_then_sleep(&seen));
  world.run_for(500ms);
  scope.cancel();
  world.run_until_idle();
  EXPECT_EQ(seen, "cancelled cancelled ");
}

Task<void> wait_for_completion(std::optional<Completion<int>>* out, std::vector<int>* seen) {
  auto wait = wait_for<int>([out](Completion<int> completion) -> Work {
    out->emplace(completion);
    return [completion] { completion.complete(-1); };
  });
  const int value = co_await wait;
  seen->push_back(value);
}

TEST_F(WaitTest, TheFirstCompletionCountsAndResumesLater) {
  std::optional<Completion<int>> completion;
  std::vector<int> seen;
  TaskScope scope(executor);
  scope.spawn("waiter", wait_for_completion(&completion, &seen));
  world.run_until_idle();
  ASSERT_TRUE(completion);
  completion->complete(1);
  completion->complete(2);
  scope.cancel();
  EXPECT_TRUE(seen.empty()) << "complete() must not resume the task itself";
  world.run_until_idle();
  completion->complete(3);
  world.run_until_idle();
  EXPECT_EQ(seen, std::vector<int>{1});
}

// Completions from foreign threads while the loop cancels: each waiter resumes once, whoever wins.
TEST(WaitThreads, CompletionAndCancellationMayRace) {
  constexpr int kRounds = 300;
  asio::EventLoops loops(1);
  for (int i = 0; i < kRounds; ++i) {
    std::optional<std::jthread> thread;
    std::vector<int> seen;
    auto waiter = [](std::optional<std::jthread>* where, std::vector<int>* results) -> Task<void> {
      auto wait = wait_for<int>([where](Completion<int> completion) -> Work {
        where->emplace([completion] { completion.complete(1); });
        return [completion] { completion.complete(-1); };
      });
      const int value = co_await wait;
      results->push_back(value);
    };
    auto round = [](Executor* executor, Task<void> task) -> Task<void> {
      TaskScope scope(*executor);
      scope.spawn("waiter", std::move(task));
      co_await yield();
      co_await scope.close();
    };
    asio::run_and_wait(loops.executor(0), round(&loops.executor(0), waiter(&thread, &seen)));
    EXPECT_EQ(seen.size(), 1U);
  }
  loops.stop();
}

// A resolver that hangs: the caller's deadline holds, and work of other kinds goes on.
TEST(Wait, WhoIsCancelledDoesNotWaitForWorkThatIsAbandoned) {
  sim::RealRig rig;
  std::promise<void> release;
  const auto hang = [released = release.get_future().share()]() -> Result<int> {
    released.wait();
    return 1;
  };
  Result<int> slow = 0;
  int other = 0;
  const auto both = [](auto function, Result<int>* late, int* beside) -> Task<void> {
    *late = co_await with_deadline(50ms, abandonable(Pool::names, std::move(function)));
    *beside = co_await blocking(Pool::metadata, [] { return 2; });
  };
  rig.run(both(hang, &slow, &other));
  EXPECT_EQ(slow.error().code, ErrorCode::timeout);
  EXPECT_EQ(other, 2);
  release.set_value();
}

}  // namespace
}  // namespace hansa::io
