#include "cluster/throttle.h"

#include <gtest/gtest.h>

namespace hansa::cluster {
namespace {

using namespace std::chrono_literals;

constexpr io::MonotonicTime start{1h};

TEST(Throttle, GivesAsManyBytesASecondAsItMayToAllTogether) {
  Throttle throttle(1000);
  io::MonotonicTime now = start;
  for (int i = 0; i < 100; ++i) now = now + throttle.take(100, now);
  EXPECT_GE(now - start, 9900ms);
  EXPECT_LE(now - start, 10s);
}

TEST(Throttle, WhatWasNotUsedIsGivenLaterForAMomentOnly) {
  Throttle throttle(1000);
  throttle.take(1000, start);
  EXPECT_EQ(throttle.take(100, start + 1h), 0ns);
  EXPECT_EQ(throttle.take(100, start + 1h), 100ms);
}

TEST(Throttle, NothingIsHeldWithoutALimit) {
  Throttle throttle(0);
  EXPECT_EQ(throttle.take(1ULL << 40, start), 0ns);
}

}  // namespace
}  // namespace hansa::cluster
