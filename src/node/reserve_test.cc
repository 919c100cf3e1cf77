// Space that is kept for a start: it goes when a start finds none, and comes again once there is plenty.
#include "node/reserve.h"

#include <gtest/gtest.h>

#include "sim/ports/disk.h"

namespace hansa::node {
namespace {

constexpr std::uint64_t disk_bytes = 10 * MiB;
constexpr std::uint64_t kept = disk_bytes / reserve_share;

class ReserveTest : public ::testing::Test {
 protected:
  ReserveTest() {
    disk.set_capacity(disk_bytes);
    EXPECT_TRUE(disk.make_directories("/data"));
  }
  std::optional<std::uint64_t> reserve() {
    const auto info = disk.info("/data/reserve");
    return info ? std::optional(info->size) : std::nullopt;
  }
  void fill_up_to(std::uint64_t left) {
    auto file = disk.open("/data/images", io::OpenMode::create).value();
    const std::string bytes(disk.space("/data")->available - left, 'i');
    EXPECT_TRUE(file->write(0, as_bytes(bytes)));
  }

  sim::World world{{.seed = 4}};
  sim::SimDisk disk{world, "node"};
  NullLogger log;
};

TEST_F(ReserveTest, ASmallDiskKeepsASmallPartOfItself) {
  ASSERT_TRUE(keep_reserve(disk, "/data", default_reserve));
  EXPECT_EQ(reserve(), kept);
}

TEST_F(ReserveTest, AStartWithRoomLeavesItAndOneWithoutTakesIt) {
  ASSERT_TRUE(keep_reserve(disk, "/data", default_reserve));
  use_reserve(disk, log, "/data", default_reserve);
  EXPECT_EQ(reserve(), kept);
  fill_up_to(100);
  use_reserve(disk, log, "/data", default_reserve);
  EXPECT_FALSE(reserve());
  EXPECT_EQ(disk.space("/data")->available, kept + 100);
}

TEST_F(ReserveTest, ItIsMadeAgainOnlyWhereThereIsPlenty) {
  fill_up_to(kept * plenty - 1);
  ASSERT_TRUE(keep_reserve(disk, "/data", default_reserve));
  EXPECT_FALSE(reserve());
  ASSERT_TRUE(disk.remove("/data/images"));
  ASSERT_TRUE(keep_reserve(disk, "/data", default_reserve));
  EXPECT_EQ(reserve(), kept);
}

TEST_F(ReserveTest, AnErrorLeavesNoneBehind) {
  for (std::uint64_t nth = 1; nth <= 4; ++nth) {
    disk.fail({.call = sim::Call::write, .nth = nth, .code = ErrorCode::out_of_space});
    const auto made = keep_reserve(disk, "/data", default_reserve);
    EXPECT_EQ(made.has_value(), reserve().has_value()) << nth;
    disk.clear_faults();
    (void)disk.remove("/data/reserve");
  }
}

}  // namespace
}  // namespace hansa::node
