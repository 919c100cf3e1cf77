#include "cluster/missing.h"

#include <gtest/gtest.h>

#include "catalog/bed_test.h"

namespace hansa::cluster {
namespace {

using namespace std::chrono_literals;
using catalog::testing::digest;

constexpr io::MonotonicTime start{1h};

Missing::Blob blob(const std::string& name, catalog::Revision since, std::uint64_t size = 10) {
  return {.digest = digest(name), .since = since, .size = size};
}

TEST(Missing, TheMarkStaysBeforeTheOldestChangeThatIsOwed) {
  Missing missing;
  EXPECT_EQ(missing.covered(50), 50U);
  missing.owe(blob("a", 20), start);
  missing.owe(blob("b", 12), start);
  EXPECT_EQ(missing.covered(50), 11U);
  missing.settle(digest("b"));
  EXPECT_EQ(missing.covered(50), 19U);
  missing.settle(digest("a"));
  EXPECT_EQ(missing.covered(50), 50U);
  EXPECT_EQ(missing.owed() + missing.left_out_count(), 0U);
  EXPECT_EQ(missing.bytes(), 0U);
}

TEST(Missing, EachBlobIsHandedOutOnceUntilItIsSettledOrFails) {
  Missing missing;
  missing.owe(blob("a", 20), start);
  missing.owe(blob("b", 12), start);
  EXPECT_EQ(missing.next(start), digest("b")) << "the oldest change first";
  EXPECT_EQ(missing.next(start), digest("a"));
  EXPECT_FALSE(missing.next(start));
  missing.fail(digest("a"), start);
  EXPECT_FALSE(missing.next(start));
  EXPECT_EQ(missing.next(start + retry_owed), digest("a"));
}

TEST(Missing, WhatCannotBeHadForLongIsLeftOutAndTriedNowAndThen) {
  Missing missing;
  missing.owe(blob("a", 20), start);
  ASSERT_TRUE(missing.next(start));
  missing.fail(digest("a"), start + (give_up_after - 1s));
  EXPECT_EQ(missing.left_out_count(), 0U);
  ASSERT_TRUE(missing.next(start + give_up_after));
  missing.fail(digest("a"), start + give_up_after);
  EXPECT_EQ(missing.left_out(), std::vector{digest("a")});
  EXPECT_EQ(missing.covered(50), 50U);
  EXPECT_EQ(missing.owed(), 0U);
  EXPECT_FALSE(missing.has_due(start + give_up_after + retry_owed));
  EXPECT_TRUE(missing.has_due(start + give_up_after + retry_left_out));
}

TEST(Missing, WhatWasLostIsLeftOutAtOnceAndFetchedAtOnce) {
  Missing missing;
  const auto before = missing.left_out_changes();
  missing.lose(blob("a", 20), start);
  EXPECT_EQ(missing.left_out(), std::vector{digest("a")});
  EXPECT_NE(missing.left_out_changes(), before);
  EXPECT_EQ(missing.next(start), digest("a"));
  missing.settle(digest("a"));
  EXPECT_TRUE(missing.left_out().empty());
}

TEST(Missing, WhereNothingMoreCanBeLeftOutTheMarkGoesBack) {
  Missing missing;
  for (std::size_t i = 0; i < catalog::max_but; ++i) missing.lose(blob("x" + std::to_string(i), 30), start);
  EXPECT_EQ(missing.covered(50), 50U);
  missing.lose(blob("last", 7), start);
  EXPECT_EQ(missing.left_out_count(), catalog::max_but);
  EXPECT_EQ(missing.covered(50), 6U);
}

TEST(Missing, ABlobThatIsOwedAndThenLostCountsOnce) {
  Missing missing;
  missing.owe(blob("a", 20, 100), start);
  missing.lose(blob("a", 20, 100), start);
  EXPECT_EQ(missing.bytes(), 100U);
  EXPECT_EQ(missing.owed(), 0U);
  EXPECT_EQ(missing.left_out_count(), 1U);
}

TEST(Pace, SaysHowLongItWillTakeAtThePaceOfLate) {
  Pace pace;
  EXPECT_FALSE(pace.left(100)) << "nobody can say yet";
  pace.note(start, 0);
  pace.note(start + 10s, 1000);
  EXPECT_EQ(pace.left(500), std::chrono::seconds(6));
  EXPECT_EQ(pace.left(0), std::chrono::seconds(0));
  // Nothing came for longer than it looks back.
  for (int i = 11; i < 60; ++i) pace.note(start + std::chrono::seconds(i), 1000);
  EXPECT_FALSE(pace.left(500));
}

}  // namespace
}  // namespace hansa::cluster
