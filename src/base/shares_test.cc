#include "base/shares.h"

#include <gtest/gtest.h>

namespace hansa {
namespace {

TEST(Shares, OneHolderGetsItsShareAndOthersGetTheirs) {
  Shares shares(2);
  EXPECT_TRUE(shares.take("a"));
  EXPECT_TRUE(shares.take("a"));
  EXPECT_FALSE(shares.take("a"));
  EXPECT_EQ(shares.held_by("a"), 2U);
  EXPECT_TRUE(shares.take("b"));
  shares.give_back("a");
  EXPECT_TRUE(shares.take("a"));
  EXPECT_FALSE(shares.take("a"));
}

TEST(Shares, SeveralAreTakenAndGivenBackAtOnceOrNotAtAll) {
  Shares shares(10);
  EXPECT_TRUE(shares.take("a", 7));
  EXPECT_FALSE(shares.take("a", 4));
  EXPECT_EQ(shares.held_by("a"), 7U);
  EXPECT_TRUE(shares.take("a", 3));
  EXPECT_FALSE(shares.take("b", 11));
  EXPECT_EQ(shares.holders(), 1U);
  shares.give_back("a", 9);
  EXPECT_EQ(shares.held_by("a"), 1U);
  shares.give_back("a", 1);
  EXPECT_EQ(shares.holders(), 0U);
}

TEST(Shares, WhoHasNothingIsForgotten) {
  Shares shares(1);
  for (int i = 0; i < 1000; ++i) {
    const std::string holder = std::to_string(i);
    EXPECT_TRUE(shares.take(holder));
    EXPECT_FALSE(shares.take(holder));
    shares.give_back(holder);
  }
  EXPECT_EQ(shares.holders(), 0U);
}

TEST(Shares, WhatIsAddedCountsBeyondTheLimit) {
  Shares shares(1);
  shares.add("a");
  shares.add("a");
  EXPECT_EQ(shares.held_by("a"), 2U);
  EXPECT_FALSE(shares.take("a"));
  shares.give_back("a");
  EXPECT_FALSE(shares.take("a"));
  shares.give_back("a");
  EXPECT_TRUE(shares.take("a"));
}

TEST(Shares, ZeroIsNoLimitAndKeepsNothing) {
  Shares shares(0);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(shares.take("a"));
  EXPECT_EQ(shares.holders(), 0U);
  shares.give_back("a");
}

TEST(Shares, NobodyKnownIsNotLimited) {
  Shares shares(1);
  EXPECT_TRUE(shares.take(""));
  EXPECT_TRUE(shares.take(""));
  shares.give_back("");
  EXPECT_EQ(shares.holders(), 0U);
}

TEST(Shares, TheShareOfOneLeavesAQuarterToTheOthers) {
  EXPECT_EQ(share_of_one(20'000), 15'000U);
  EXPECT_EQ(share_of_one(4), 3U);
  EXPECT_EQ(share_of_one(1), 1U);
  EXPECT_EQ(share_of_one(0), 1U);
}

}  // namespace
}  // namespace hansa
