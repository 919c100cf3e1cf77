#include "upkeep/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hansa::upkeep {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

KeepRules rules(const std::vector<std::string>& patterns) {
  KeepRules out;
  for (const auto& text : patterns) out.patterns.push_back(TagPattern::compile(text).value());
  return out;
}

// Pushed so many hours ago; pulled so many hours ago (negative: never).
Candidate tag(const std::string& name, int pushed, int pulled = -1) {
  Candidate one{.name = name, .pushed_ago = std::chrono::hours(pushed), .pulled_ago = {}, .pulled_ms = 0, .mod = 1};
  if (pulled >= 0) one.pulled_ago = std::chrono::hours(pulled);
  return one;
}

std::vector<std::string> kept(const std::vector<KeepRules>& keep, const std::vector<Candidate>& tags) {
  std::vector<std::string> out;
  const auto decisions = decide_tags(keep, tags);
  for (std::size_t i = 0; i < tags.size(); ++i) {
    if (decisions[i].keep) out.push_back(tags[i].name);
  }
  return out;
}

TEST(Retention, WithoutRulesEveryTagStays) {
  EXPECT_THAT(kept({}, {tag("a", 9000), tag("b", 0)}), ElementsAre("a", "b"));
}

TEST(Retention, PatternsMatchAnywhereInATagAndWithoutARuleKeepIt) {
  EXPECT_THAT(kept({rules({"^v", "rc"})}, {tag("v1", 1), tag("1-rc2", 1), tag("dev", 1)}), ElementsAre("v1", "1-rc2"));
}

TEST(Retention, ATagBelongsToTheFirstEntryThatMatchesIt) {
  KeepRules newest = rules({"^v"});
  newest.most_recently_pushed = 1;
  // The second entry would keep all of them, but those of the first are not its.
  EXPECT_THAT(kept({newest, rules({})}, {tag("v1", 5), tag("v2", 2), tag("dev", 9)}), ElementsAre("v2", "dev"));
}

TEST(Retention, AnyRuleOfAnEntryKeepsATag) {
  KeepRules some = rules({});
  some.most_recently_pushed = 1;
  some.most_recently_pulled = 1;
  some.pushed_within = 3h;
  EXPECT_THAT(kept({some}, {tag("newest", 1), tag("pulled", 90, 2), tag("new", 2), tag("old", 80), tag("edge", 3)}),
              ElementsAre("newest", "pulled", "new"));
}

TEST(Retention, PulledWithinCountsThePushToo) {
  KeepRules some = rules({});
  some.pulled_within = 10h;
  EXPECT_THAT(kept({some}, {tag("pulled", 90, 9), tag("pushed", 9), tag("neither", 90, 10)}),
              ElementsAre("pulled", "pushed"));
}

TEST(Retention, CountsRankByTheClockThenByRevision) {
  KeepRules two = rules({});
  two.most_recently_pushed = 2;
  std::vector<Candidate> tags{tag("a", 1), tag("b", 1), tag("c", 1), tag("d", 0)};
  tags[0].mod = 7;
  tags[1].mod = 9;
  tags[2].mod = 8;
  EXPECT_THAT(kept({two}, tags), ElementsAre("b", "d"));
}

TEST(Retention, WhatNobodyPulledRanksLast) {
  KeepRules one = rules({});
  one.most_recently_pulled = 1;
  EXPECT_THAT(kept({one}, {tag("never", 0), tag("once", 50, 40)}), ElementsAre("once"));
}

TEST(Retention, TheFirstPolicyWithAMatchingPatternDecides) {
  Retention retention;
  retention.policies.resize(2);
  retention.policies[0].repositories.push_back(oci::Glob::compile("infra/*").value());
  retention.policies[1].repositories.push_back(oci::Glob::compile("**").value());
  const auto of = [&](std::string_view name) {
    return retention.policy_of(oci::RepositoryName::parse(name).value()) - retention.policies.data();
  };
  EXPECT_EQ(of("infra/base"), 0);
  EXPECT_EQ(of("infra/base/more"), 1);
  retention.policies.pop_back();
  EXPECT_EQ(retention.policy_of(oci::RepositoryName::parse("team/app").value()), nullptr);
}

TEST(Retention, AFullRecordOfPullsForgetsNobodyEarly) {
  catalog::StatsRecord stats;
  for (std::size_t i = 0; i < catalog::max_stats_entries; ++i) {
    stats.entries[":t" + std::to_string(i)] = {1, 0, 5000 + static_cast<std::int64_t>(i)};
  }
  EXPECT_EQ(PullTimes(&stats).of(":t3").measured_ms, 5003);
  EXPECT_EQ(PullTimes(&stats).of(":forgotten").measured_ms, 5000);
  stats.entries.erase(":t3");
  EXPECT_EQ(PullTimes(&stats).of(":never").measured_ms, std::nullopt);
  EXPECT_EQ(PullTimes(nullptr).of(":never").measured_ms, std::nullopt);
}

TEST(Retention, TagsThatNameASubjectAreKnown) {
  const std::string hex(64, 'a');
  EXPECT_EQ(subject_in_tag("sha256-" + hex)->hex(), hex);
  EXPECT_EQ(subject_in_tag("sha256-" + hex + ".sig")->hex(), hex);
  for (const std::string& other : {"sha256-" + hex + "0", "sha256-" + hex.substr(1), std::string("latest"),
                                   "sha256-" + std::string(64, 'z'), "v-sha256-" + hex}) {
    EXPECT_FALSE(subject_in_tag(other)) << other;
  }
}

TEST(Retention, APatternThatIsNoneOrTooLongIsRefused) {
  EXPECT_FALSE(TagPattern::compile("v[").has_value());
  EXPECT_FALSE(TagPattern::compile(std::string(max_tag_pattern + 1, 'a')).has_value());
}

}  // namespace
}  // namespace hansa::upkeep
