#include "io/log_pace.h"

#include <gtest/gtest.h>

namespace hansa::io {
namespace {

TEST(LogPace, TheFirstIsSaidAtOnceAndTheRestTogether) {
  LogPace pace(10s);
  const auto at = [](Duration since) { return BootTime{since}; };
  EXPECT_EQ(pace.count(at(5s)), 1U);
  EXPECT_EQ(pace.count(at(5s)), std::nullopt);
  EXPECT_EQ(pace.count(at(14s)), std::nullopt);
  EXPECT_EQ(pace.count(at(15s)), 3U);
  EXPECT_EQ(pace.count(at(16s)), std::nullopt);
  EXPECT_EQ(pace.count(at(60s)), 2U);
}

}  // namespace
}  // namespace hansa::io
