// Who loads its view anew where views differ.
#include "node/view_exchange.h"

#include <gtest/gtest.h>

#include "sim/ports/disk.h"
#include "sim/ports/world.h"

namespace hansa::node {
namespace {

using Sums = meta::etcd::ViewSums;

Sums showing(const std::string& tags, std::uint64_t head = 7) {
  return {.head_version = head, .revision = 9, .sums = {{"manifest", "aa"}, {"tag", tags}}};
}

bool loads(const std::string& self, const Sums& mine, const std::map<std::string, Sums>& theirs,
           bool differed_before = false) {
  return is_to_load(self, mine, theirs, differed_before);
}

// All would discard theirs at once, and nobody answered until the loads end.
TEST(ViewExchange, OfThreeOnlyTheOneThatDiffersFromTheTwoLoadsItsViewAnew) {
  EXPECT_TRUE(loads("c", showing("wrong"), {{"a", showing("right")}, {"b", showing("right")}}));
  EXPECT_FALSE(loads("a", showing("right"), {{"b", showing("right")}, {"c", showing("wrong")}}, true));
  EXPECT_FALSE(loads("b", showing("right"), {{"a", showing("right")}, {"c", showing("wrong")}}, true));
}

TEST(ViewExchange, WhereNobodyCanSayWhoIsWrongOneAfterTheOtherLoads) {
  EXPECT_TRUE(loads("a", showing("one"), {{"b", showing("other")}}));
  EXPECT_FALSE(loads("b", showing("other"), {{"a", showing("one")}}));
  EXPECT_TRUE(loads("b", showing("other"), {{"a", showing("one")}}, true)) << "it differs still: its turn";
}

TEST(ViewExchange, ViewsAtOtherVersionsSayNothing) {
  EXPECT_FALSE(loads("b", showing("other", 8), {{"a", showing("one")}, {"c", showing("other", 8)}}, true));
  EXPECT_TRUE(loads("c", showing("wrong"), {{"a", showing("right")}, {"b", showing("right")}, {"d", showing("x", 8)}}));
}

TEST(ViewExchange, ThreeThatAllDifferLoadOneAfterTheOther) {
  const std::map<std::string, Sums> others = {{"b", showing("2")}, {"c", showing("3")}};
  EXPECT_TRUE(loads("a", showing("1"), others));
  EXPECT_FALSE(loads("d", showing("1"), others));
}

TEST(ViewExchange, CopiesThatAnEarlierProcessLeftAreRemovedAndNothingElse) {
  sim::World world({.seed = 1});
  sim::SimDisk disk(world, "node");
  ASSERT_TRUE(disk.make_directories("/data"));
  for (const char* file : {"view-copy-0123.db", "view-copy-0123.db-wal", "view.db", "view.db-wal"}) {
    ASSERT_TRUE(disk.open(std::string("/data/") + file, io::OpenMode::create));
  }
  ViewExchange::remove_leftovers(disk, "/data");
  std::vector<std::string> left;
  for (const auto& entry : disk.list("/data").value()) left.push_back(entry.name);
  EXPECT_EQ(left, (std::vector<std::string>{"view.db", "view.db-wal"}));
}

}  // namespace
}  // namespace hansa::node
