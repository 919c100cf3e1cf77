#include "registry/rewind_source.h"

#include <gtest/gtest.h>

#include "io/byte_source.h"
#include "io/wait.h"
#include "sim/ports/world.h"

namespace hansa::registry {
namespace {

class RewindSourceTest : public ::testing::Test {
 protected:
  // At most so many bytes, as many reads as it takes.
  std::string take(io::ByteSource& source, std::size_t most, std::size_t piece) {
    std::string out;
    while (out.size() < most) {
      std::string buffer(std::min(piece, most - out.size()), '\0');
      const Bytes bytes(reinterpret_cast<std::byte*>(buffer.data()), buffer.size());
      const std::size_t got = sim::run(world, executor, source.read(bytes)).value();
      if (got == 0) break;
      out += buffer.substr(0, got);
    }
    return out;
  }

  sim::World world{{.seed = 1}};
  sim::SimExecutor executor{world, "loop"};
};

TEST_F(RewindSourceTest, WhatWasTakenIsGivenAgainAndThenTheRest) {
  const std::string text = "0123456789";
  io::MemorySource body(as_bytes(text));
  RewindSource source(body);
  EXPECT_EQ(take(source, 4, 3), "0123");
  ASSERT_TRUE(source.rewind());
  EXPECT_EQ(take(source, 100, 3), text);
  ASSERT_TRUE(source.rewind()) << "also after its end";
  EXPECT_EQ(take(source, 2, 1), "01");
  ASSERT_TRUE(source.rewind()) << "also from the middle of what is kept";
  EXPECT_EQ(take(source, 100, 7), text);
}

TEST_F(RewindSourceTest, MoreThanItKeepsGoesOnAndCannotBeGivenAgain) {
  const std::string text(rewind_limit + 1000, 'x');
  io::MemorySource body(as_bytes(text));
  RewindSource source(body);
  EXPECT_EQ(take(source, rewind_limit, 1000).size(), rewind_limit);
  ASSERT_TRUE(source.rewind());
  EXPECT_EQ(take(source, rewind_limit + 1, 1000).size(), rewind_limit + 1);
  EXPECT_FALSE(source.rewind());
  EXPECT_EQ(take(source, 10'000, 1000).size(), 999U) << "nothing is lost";
}

}  // namespace
}  // namespace hansa::registry
