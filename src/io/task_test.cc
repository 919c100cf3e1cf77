// Tasks, waits and scopes on a simulated executor, and where threads matter on the real one.
#include "io/task.h"

#include <gtest/gtest.h>

#include <array>
#include <stdexcept>
#include <string>

#include "io/byte_source.h"
#include "io/wait.h"
#include "sim/ports/world.h"

namespace hansa::io {
namespace {

class TaskTest : public testing::Test {
 protected:
  sim::World world;
  sim::SimExecutor executor{world, "node"};
};

Task<void> append(std::string* seen, std::string_view text) {
  *seen += text;
  co_return;
}

Task<void> create_then_await(std::string* seen) {
  auto task = append(seen, "task ");
  *seen += "created ";
  co_await std::move(task);
  *seen += "awaited";
}

TEST_F(TaskTest, ATaskStartsWhenItIsAwaited) {
  std::string seen;
  sim::run(world, executor, create_then_await(&seen));
  EXPECT_EQ(seen, "created task awaited");
}

Task<void> hold(std::shared_ptr<int> value) {
  *value += 1;
  co_return;
}

TEST_F(TaskTest, ATaskThatIsNeverAwaitedFreesWhatItHolds) {
  auto value = std::make_shared<int>(0);
  {
    auto task = hold(value);
    EXPECT_EQ(value.use_count(), 2);
  }
  EXPECT_EQ(value.use_count(), 1);
  EXPECT_EQ(*value, 0);
}

constexpr int kMany = 1'000'000;

Task<int> one() {
  co_return 1;
}

Task<int> await_many() {
  int sum = 0;
  for (int i = 0; i < kMany; ++i) sum += co_await one();
  co_return sum;
}

TEST_F(TaskTest, AMillionTasksThatNeverSuspendDoNotGrowTheStack) {
  EXPECT_EQ(sim::run(world, executor, await_many()), kMany);
}

Task<int> depth(int left) {
  if (left == 0) co_return 0;
  const int below = co_await depth(left - 1);
  co_return below + 1;
}

TEST_F(TaskTest, AChainAMillionDeepReturnsWithoutGrowingTheStack) {
  EXPECT_EQ(sim::run(world, executor, depth(kMany)), kMany);
}

Task<std::unique_ptr<int>> make_unique_number() {
  co_return std::make_unique<int>(5);
}

TEST_F(TaskTest, ResultsMayBeMoveOnly) {
  EXPECT_EQ(*sim::run(world, executor, make_unique_number()), 5);
}

Task<int> throws() {
  throw std::runtime_error("a bug");
  co_return 1;
}

Task<std::string> catches() {
  try {
    co_await throws();
  } catch (const std::runtime_error& error) {
    co_return error.what();
  }
  co_return "nothing was thrown";
}

TEST_F(TaskTest, AnExceptionReachesTheAwaiter) {
  EXPECT_EQ(sim::run(world, executor, catches()), "a bug");
}

Task<void> throws_void() {
  throw std::runtime_error("a bug");
  co_return;
}

TEST_F(TaskTest, AnExceptionThatLeavesASpawnedTaskStopsTheProcess) {
  EXPECT_DEATH(sim::run(world, executor, throws_void()), "");
}

Task<Result<int>> fail_with(ErrorCode code) {
  co_return make_error(code, "no");
}

Task<Result<int>> pass_on() {
  HANSA_CO_TRY(const int value, co_await fail_with(ErrorCode::corrupt));
  co_return value;
}

TEST_F(TaskTest, ErrorsTravelAsValues) {
  const auto result = sim::run(world, executor, pass_on());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::corrupt);
}

Task<TaskContext*> context_of() {
  TaskContext& context = co_await current_context();
  co_return &context;
}

Task<bool> same_context() {
  TaskContext& mine = co_await current_context();
  TaskContext* const of_child = co_await context_of();
  co_return of_child == &mine;
}

TEST_F(TaskTest, AChildRunsInItsAwaitersContext) {
  EXPECT_TRUE(sim::run(world, executor, same_context()));
}

Task<std::string> read_all(ByteSource* source) {
  std::string text;
  for (;;) {
    std::array<std::byte, 4> buffer{};
    const auto count = co_await source->read(buffer);
    if (!count || *count == 0) break;
    text += as_text(ConstBytes(buffer).first(*count));
    text += '|';
  }
  co_return text;
}

TEST_F(TaskTest, AMemorySourceGivesItsBytesOnceInOrder) {
  MemorySource source(as_bytes("0123456789"));
  EXPECT_EQ(sim::run(world, executor, read_all(&source)), "0123|4567|89|");
  EXPECT_EQ(sim::run(world, executor, read_all(&source)), "");
}

}  // namespace
}  // namespace hansa::io
