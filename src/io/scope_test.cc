// TaskScope: nothing outlives it, nothing is lost in it.
#include "io/scope.h"

#include <gtest/gtest.h>

#include <string>

#include "io/asio/event_loops.h"
#include "io/wait.h"
#include "sim/ports/world.h"

namespace hansa::io {
namespace {

class ScopeTest : public testing::Test {
 protected:
  sim::World world;
  sim::SimExecutor executor{world, "node"};
};

Task<void> sleep_and_note(Duration duration, std::string* seen) {
  const auto slept = co_await sleep_for(duration);
  *seen += slept ? "done " : "stopped ";
}

TEST_F(ScopeTest, ASpawnedTaskStartsSoonAndNotAtOnce) {
  std::string seen;
  TaskScope scope(executor);
  scope.spawn("task", sleep_and_note(0s, &seen));
  EXPECT_EQ(seen, "");
  EXPECT_EQ(scope.running(), 1U);
  world.run_until_idle();
  EXPECT_EQ(seen, "done ");
  EXPECT_EQ(scope.running(), 0U);
}

Task<void> spawn_and_join(Executor* executor, std::string* seen) {
  TaskScope scope(*executor);
  scope.spawn("short", sleep_and_note(1s, seen));
  scope.spawn("long", sleep_and_note(2s, seen));
  co_await scope.join();
  *seen += "joined";
}

TEST_F(ScopeTest, JoinWaitsForEveryTask) {
  std::string seen;
  sim::run(world, executor, spawn_and_join(&executor, &seen));
  EXPECT_EQ(seen, "done done joined");
  EXPECT_EQ(world.now(), 2s);
}

Task<void> spawn_and_close(Executor* executor, std::string* seen) {
  TaskScope scope(*executor);
  scope.spawn("short", sleep_and_note(1s, seen));
  scope.spawn("long", sleep_and_note(1h, seen));
  const auto slept = co_await sleep_for(2s);
  EXPECT_TRUE(slept);
  co_await scope.close();
  *seen += "closed";
}

TEST_F(ScopeTest, CloseCancelsAndWaits) {
  std::string seen;
  sim::run(world, executor, spawn_and_close(&executor, &seen));
  EXPECT_EQ(seen, "done stopped closed");
  EXPECT_EQ(world.now(), 2s);
}

TEST_F(ScopeTest, ATaskSpawnedAfterCancelStartsCancelled) {
  std::string seen;
  TaskScope scope(executor);
  scope.cancel();
  scope.spawn("late", sleep_and_note(1h, &seen));
  world.run_until_idle();
  EXPECT_EQ(seen, "stopped ");
}

Task<void> spawn_another(TaskScope* scope, std::string* seen) {
  const auto slept = co_await sleep_for(1h);
  EXPECT_FALSE(slept);
  scope->spawn("another", sleep_and_note(1h, seen));
}

Task<void> close_while_spawning(Executor* executor, std::string* seen) {
  TaskScope scope(*executor);
  scope.spawn("spawner", spawn_another(&scope, seen));
  co_await yield();
  co_await scope.close();
  *seen += "closed";
}

TEST_F(ScopeTest, CloseAlsoWaitsForWhatIsSpawnedMeanwhile) {
  std::string seen;
  sim::run(world, executor, close_while_spawning(&executor, &seen));
  EXPECT_EQ(seen, "stopped closed");
}

TEST_F(ScopeTest, JoinAndCloseOfAnEmptyScopeReturn) {
  TaskScope scope(executor);
  sim::run(world, executor, scope.join());
  sim::run(world, executor, scope.close());
}

Task<void> own_children(Executor* executor, std::string* seen) {
  TaskScope scope(*executor);
  auto blocker = [](std::string* out) -> Task<void> {
    auto work = [out] { *out += "worked "; };
    co_await blocking(Pool::disk, work);
  };
  scope.spawn("blocker", blocker(seen));
  co_await scope.join();
  *seen += "joined";
}

TEST_F(ScopeTest, ACancelledOwnerStillWaitsForItsChildren) {
  std::string seen;
  TaskScope outer(executor);
  outer.spawn("owner", own_children(&executor, &seen));
  ASSERT_TRUE(world.step());
  ASSERT_TRUE(world.step());  // both have started
  outer.cancel();
  world.run_until_idle();
  EXPECT_EQ(seen, "worked joined");
}

TEST_F(ScopeTest, DyingWithTasksInsideStopsTheProcess) {
  EXPECT_DEATH(
      {
        std::string seen;
        TaskScope scope(executor);
        scope.spawn("left over", sleep_and_note(1s, &seen));
      },
      "close\\(\\) the scope");
}

Task<void> hold_and_wait(std::shared_ptr<int> held, Duration duration) {
  const auto slept = co_await sleep_for(duration);
  *held = slept ? 1 : 2;
}

TEST_F(ScopeTest, AnEndedTaskHasFreedWhatItHeldBeforeJoinReturns) {
  auto held = std::make_shared<int>(0);
  auto body = [](Executor* on, std::shared_ptr<int> value) -> Task<void> {
    TaskScope scope(*on);
    scope.spawn("holder", hold_and_wait(value, 1s));
    co_await scope.join();
    EXPECT_EQ(value.use_count(), 2) << "the test's and this coroutine's own";
  };
  sim::run(world, executor, body(&executor, held));
  EXPECT_EQ(*held, 1);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(ScopeOnLoops, RunAndWaitReturnsAfterTheTaskOnItsLoop) {
  asio::EventLoops loops(2);
  std::string seen;
  for (std::size_t i = 0; i < loops.size(); ++i) {
    asio::run_and_wait(loops.executor(i), own_children(&loops.executor(i), &seen));
  }
  EXPECT_EQ(seen, "worked joinedworked joined");
  loops.stop();
}

}  // namespace
}  // namespace hansa::io
