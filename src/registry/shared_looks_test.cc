// What a crowd shares, and for how long.
#include "registry/shared_looks.h"

#include <gtest/gtest.h>

#include "catalog/snapshot.h"

namespace hansa::registry {
namespace {

class SharedLooksTest : public ::testing::Test {
 protected:
  using Looks = SharedLooks<oci::Reference, catalog::ManifestState>;
  static oci::RepositoryName repository(std::string_view text) { return oci::RepositoryName::parse(text).value(); }
  static oci::Reference reference(std::string_view text) { return oci::parse_reference(text).value(); }
  static Looks::Seen state(std::uint64_t size) {
    catalog::ManifestState out;
    out.size = size;
    return std::make_shared<const catalog::ManifestState>(out);
  }
  static std::uint64_t found(Looks& looks, std::uint64_t round, std::string_view name, std::string_view text) {
    const auto seen = looks.find({.revision = 0, .round = round}, repository(name), reference(text));
    return seen ? seen->size : 0;
  }
  static void put(Looks& looks, std::uint64_t round, meta::Revision seen, std::string_view name, std::string_view text,
                  std::uint64_t size) {
    looks.put({.revision = seen, .round = round}, seen, repository(name), reference(text), state(size));
  }
  catalog::Changes changes_;
  Looks by_round_{nullptr};
  Looks by_change_{&changes_};
};

TEST_F(SharedLooksTest, OneRoundSharesAndTheNextLooksAnew) {
  put(by_round_, 7, 1, "team/app", "v1", 100);
  EXPECT_EQ(found(by_round_, 7, "team/app", "v1"), 100u);
  EXPECT_EQ(found(by_round_, 8, "team/app", "v1"), 0u);
  EXPECT_EQ(found(by_round_, 6, "team/app", "v1"), 0u);
  put(by_round_, 8, 1, "team/app", "v1", 200);
  EXPECT_EQ(found(by_round_, 8, "team/app", "v1"), 200u);
  EXPECT_EQ(found(by_round_, 7, "team/app", "v1"), 0u);
}

TEST_F(SharedLooksTest, OfManyNamesEachFindsItsOwnOrNothing) {
  const auto tag = [](std::uint64_t i) { return "v" + std::to_string(i); };
  for (std::uint64_t i = 1; i <= 10'000; ++i) put(by_round_, 3, 1, "team/app", tag(i), i);
  std::size_t kept = 0;
  for (std::uint64_t i = 1; i <= 10'000; ++i) {
    const std::uint64_t seen = found(by_round_, 3, "team/app", tag(i));
    EXPECT_TRUE(seen == 0 || seen == i) << tag(i) << " found what is of v" << seen;
    if (seen != 0) ++kept;
    EXPECT_EQ(found(by_round_, 3, "team/other", tag(i)), 0u);
  }
  EXPECT_GT(kept, 0u);
}

TEST_F(SharedLooksTest, AnAnswerForOneAloneIsNotShared) {
  put(by_round_, 0, 1, "team/app", "v1", 100);
  EXPECT_EQ(found(by_round_, 0, "team/app", "v1"), 0u);
}

TEST_F(SharedLooksTest, OnOneNodeALookHoldsUntilItsRepositoryBeginsToChange) {
  changes_.mark("team/app", 10);
  put(by_change_, 0, 12, "team/app", "v1", 100);
  EXPECT_EQ(found(by_change_, 0, "team/app", "v1"), 100u);
  changes_.mark("team/other", 13);
  EXPECT_EQ(found(by_change_, 0, "team/app", "v1"), 100u);
  changes_.mark("team/app", 14);
  EXPECT_EQ(found(by_change_, 0, "team/app", "v1"), 0u);
}

TEST_F(SharedLooksTest, WhatWasReadBeforeAChangeIsNotKeptAfterIt) {
  changes_.mark("team/app", 14);
  put(by_change_, 0, 13, "team/app", "v1", 100);  // a snapshot taken before, put in after
  EXPECT_EQ(found(by_change_, 0, "team/app", "v1"), 0u);
  put(by_change_, 0, 14, "team/app", "v1", 200);
  put(by_change_, 0, 13, "team/app", "v1", 100);
  EXPECT_EQ(found(by_change_, 0, "team/app", "v1"), 200u) << "who looked long ago pushed out the newest";
}

}  // namespace
}  // namespace hansa::registry
