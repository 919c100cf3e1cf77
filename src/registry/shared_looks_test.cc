// What a crowd shares, and for how long.
#include "registry/shared_looks.h"

#include <gtest/gtest.h>

namespace hansa::registry {
namespace {

class SharedLooksTest : public ::testing::Test {
 protected:
  static oci::RepositoryName repository(std::string_view text) { return oci::RepositoryName::parse(text).value(); }
  static oci::Reference reference(std::string_view text) { return oci::parse_reference(text).value(); }
  static catalog::ManifestState state(std::uint64_t size) {
    catalog::ManifestState out;
    out.size = size;
    return out;
  }
  std::uint64_t found(std::uint64_t round, std::string_view name, std::string_view text) {
    const auto seen = looks_.find(round, repository(name), reference(text));
    return seen ? seen->size : 0;
  }
  SharedLooks looks_;
};

TEST_F(SharedLooksTest, OneRoundSharesAndTheNextLooksAnew) {
  looks_.put(7, repository("team/app"), reference("v1"), state(100));
  EXPECT_EQ(found(7, "team/app", "v1"), 100u);
  EXPECT_EQ(found(8, "team/app", "v1"), 0u);
  EXPECT_EQ(found(6, "team/app", "v1"), 0u);
  looks_.put(8, repository("team/app"), reference("v1"), state(200));
  EXPECT_EQ(found(8, "team/app", "v1"), 200u);
  EXPECT_EQ(found(7, "team/app", "v1"), 0u);
}

TEST_F(SharedLooksTest, OfManyNamesEachFindsItsOwnOrNothing) {
  const auto tag = [](std::uint64_t i) { return "v" + std::to_string(i); };
  for (std::uint64_t i = 1; i <= 1000; ++i) looks_.put(3, repository("team/app"), reference(tag(i)), state(i));
  std::size_t kept = 0;
  for (std::uint64_t i = 1; i <= 1000; ++i) {
    const std::uint64_t seen = found(3, "team/app", tag(i));
    EXPECT_TRUE(seen == 0 || seen == i) << tag(i) << " found what is of v" << seen;
    if (seen != 0) ++kept;
    EXPECT_EQ(found(3, "team/other", tag(i)), 0u);
  }
  EXPECT_GT(kept, 0u);
}

TEST_F(SharedLooksTest, AnAnswerForOneAloneIsNotShared) {
  looks_.put(0, repository("team/app"), reference("v1"), state(100));
  EXPECT_EQ(found(0, "team/app", "v1"), 0u);
}

}  // namespace
}  // namespace hansa::registry
