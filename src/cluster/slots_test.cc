#include "cluster/slots.h"

#include <gtest/gtest.h>

#include <vector>

#include "cluster/while_moving.h"
#include "sim/ports/world.h"

namespace hansa::cluster {
namespace {

class SlotsTest : public ::testing::Test {
 protected:
  // Holds a slot for a while; notes what came of it.
  io::Task<void> work(int id, io::Duration span, io::Duration patience) {
    auto held = co_await slots.take(patience);
    if (!held) {
      refused.emplace_back(id, held.error().code);
      co_return;
    }
    most = std::max(most, ++running);
    order.push_back(id);
    auto slept = co_await io::sleep_for(span);
    --running;
  }

  sim::World world{{.seed = 5}};
  sim::SimExecutor executor{world, "n"};
  Slots slots{"tests", 2};
  std::vector<int> order;
  std::vector<std::pair<int, ErrorCode>> refused;
  int running = 0;
  int most = 0;
};

TEST_F(SlotsTest, NoMoreThanTheirNumberRunAndWaitersComeInTheirOrder) {
  io::TaskScope scope(executor);
  for (int i = 0; i < 6; ++i) scope.spawn("work", work(i, std::chrono::seconds(1), std::chrono::minutes(1)));
  sim::run(world, executor, scope.join());
  EXPECT_EQ(most, 2);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5}));
}

TEST_F(SlotsTest, WhoseTurnDoesNotComeIsRefused) {
  io::TaskScope scope(executor);
  for (int i = 0; i < 2; ++i) scope.spawn("work", work(i, std::chrono::seconds(5), std::chrono::seconds(1)));
  scope.spawn("late", work(2, std::chrono::seconds(5), std::chrono::seconds(1)));
  sim::run(world, executor, scope.join());
  EXPECT_EQ(refused, (std::vector<std::pair<int, ErrorCode>>{{2, ErrorCode::too_many}}));
}

// A slot that is given to a waiter at the moment of its cancellation is not lost, whichever comes first.
TEST_F(SlotsTest, CancelledWaitersLoseNoSlot) {
  for (int step = 0; step < 40; ++step) {
    io::TaskScope first(executor);
    io::TaskScope second(executor);
    for (int i = 0; i < 2; ++i) first.spawn("work", work(i, std::chrono::milliseconds(10), std::chrono::minutes(1)));
    for (int i = 2; i < 6; ++i) second.spawn("wait", work(i, std::chrono::milliseconds(3), std::chrono::minutes(1)));
    world.run_for(std::chrono::milliseconds(step / 2));
    sim::run(world, executor, second.close());
    sim::run(world, executor, first.join());
    most = 0;
    io::TaskScope all(executor);
    for (int i = 0; i < 2; ++i) all.spawn("work", work(i, std::chrono::seconds(1), std::chrono::milliseconds(1)));
    sim::run(world, executor, all.join());
    EXPECT_EQ(most, 2) << step;
  }
}

TEST_F(SlotsTest, ATransferThatMovesMayTakeLongAndOneThatStandsStillIsEnded) {
  std::uint64_t moved = 0;
  auto task = [&](int beats, io::Duration stop) -> io::Task<Result<int>> {
    for (int i = 0; i < beats; ++i) {
      HANSA_CO_CHECK(co_await io::sleep_for(std::chrono::milliseconds(900)));
      ++moved;
    }
    HANSA_CO_CHECK(co_await io::sleep_for(stop));
    co_return 1;
  };
  const auto limited = [&](int beats, io::Duration stop) {
    return sim::run(
        world, executor,
        while_moving([] { return io::Duration(std::chrono::seconds(1)); }, [&] { return moved; }, task(beats, stop)));
  };
  EXPECT_TRUE(limited(100, {}));
  EXPECT_EQ(limited(3, std::chrono::seconds(10)).error().code, ErrorCode::timeout);
}

}  // namespace
}  // namespace hansa::cluster
