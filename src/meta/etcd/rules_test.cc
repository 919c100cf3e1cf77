#include "meta/etcd/rules.h"

#include <gtest/gtest.h>

namespace hansa::meta::etcd {
namespace {

TEST(EtcdRules, OnlyMendedVersionsAreTrustedWithReads) {
  for (const auto* good : {"3.4.42", "3.5.28", "3.6.9", "3.6.10", "3.7.0", "4.0.0"}) {
    EXPECT_TRUE(reads_are_linearizable(parse_version(good))) << good;
  }
  for (const auto* bad : {"3.4.41", "3.4.23", "3.5.27", "3.6.8", "3.6.0-rc.1", "3.3.99", "", "what"}) {
    EXPECT_FALSE(reads_are_linearizable(parse_version(bad))) << bad;
  }
}

TEST(EtcdRules, TheEndOfAPrefixIsTheNextKeyAfterIt) {
  EXPECT_EQ(prefix_end("hansa/"), "hansa0");
  EXPECT_EQ(prefix_end("a\xff"), "b");
}

TEST(EtcdRules, ADeleteOfAnAbsentKeyIsACompareAndNotCountedInHead) {
  const Commit commit{.operation = "op", .compares = {}, .puts = {{"a", "1"}}, .deletes = {"gone", "there"}};
  const auto mod_of = [](const std::string& key) -> Revision { return key == "there" ? 5 : 0; };
  const TxnRequest request = to_transaction(commit, "p/", mod_of);
  ASSERT_EQ(request.compares.size(), 2U);
  EXPECT_EQ(request.compares[0].key, "p/gone");
  EXPECT_EQ(request.compares[0].equals, 0U);
  EXPECT_EQ(request.compares[1].equals, 5U);
  ASSERT_EQ(request.success.size(), 3U);
  EXPECT_EQ(request.success[1].key, "p/there");
  EXPECT_EQ(request.success[2].value, R"({"op":"op","n":2})");
}

TEST(EtcdRules, HeadTellsLostEventsAndForeignWritersApart) {
  const auto set = [](std::vector<std::string> keys, std::uint64_t version, std::size_t n) {
    ChangeSet changes{.revision = 9, .changes = {}};
    for (auto& key : keys) changes.changes.push_back({.now = {.key = std::move(key), .value = {}}, .deleted = false});
    if (version == 0) return changes;
    changes.changes.push_back({.now = {.key = "head", .value = head_value("op", n), .version = version}});
    return changes;
  };
  const auto judge = [](const ChangeSet& changes) {
    HeadPosition head{.version = 3, .operation = "before"};
    return check_sequence(head, changes);
  };
  EXPECT_EQ(judge(set({"a"}, 4, 1)), Sequence::follows);
  EXPECT_EQ(judge(set({"a"}, 5, 1)), Sequence::gap) << "a version is missing";
  EXPECT_EQ(judge(set({"a"}, 4, 2)), Sequence::gap) << "an event is missing";
  EXPECT_EQ(judge(set({"alive/x", "task/y"}, 0, 0)), Sequence::follows) << "leases that ended";
  EXPECT_EQ(judge(set({"alive/x", "tag/y"}, 0, 0)), Sequence::foreign);
}

TEST(EtcdRules, AStoreWithLessThanTheViewHadWentBack) {
  const HeadPosition view{.version = 3, .operation = "op"};
  EXPECT_FALSE(went_back(view, 10, 3, "op", 10));
  EXPECT_FALSE(went_back(view, 10, 4, "next", 12));
  EXPECT_TRUE(went_back(view, 10, 2, "old", 12));
  EXPECT_TRUE(went_back(view, 10, 3, "other", 12));
  EXPECT_TRUE(went_back(view, 10, 3, "op", 9));
}

}  // namespace
}  // namespace hansa::meta::etcd
