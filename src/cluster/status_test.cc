// Status: what one node says of all members, and whom the operator may stop.
#include "cluster/status.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "catalog/bed_test.h"

namespace hansa::cluster {
namespace {

using catalog::testing::Bed;
using catalog::testing::digest;
using Json = nlohmann::json;

constexpr catalog::Revision layout_mod = 100;

MemberFigures member(const std::string& id) {
  MemberFigures figures;
  figures.state.id = io::NodeId(id);
  figures.state.record.disk = "disk-" + id;
  figures.state.alive = true;
  figures.state.in_layout = true;
  figures.state.load.applied = 150;
  figures.holds = catalog::HoldsRecord{};
  figures.holds->disk = "disk-" + id;
  figures.holds->at[7] = 140;
  return figures;
}

// A cluster at layout 7 in which all is well.
StatusInput whole(std::size_t members) {
  StatusInput input;
  input.cluster = "c";
  input.self = "n1";
  input.layout.number = 7;
  input.layout.write_copies = std::min<std::uint64_t>(catalog::durable_copies, members);
  input.layout_mod = layout_mod;
  input.newest = 160;
  for (std::size_t i = 1; i <= members; ++i) {
    input.members.push_back(member("n" + std::to_string(i)));
    input.layout.members.push_back("n" + std::to_string(i));
  }
  return input;
}

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(ClusterPlan, OneOfThreeMayStopAndAllIsWell) {
  const StatusInput input = whole(3);
  for (const char* id : {"n1", "n2", "n3"}) EXPECT_TRUE(may_stop(id, input).may) << id;
  EXPECT_TRUE(degraded(input).empty());
}

TEST(ClusterPlan, TheLastLiveMemberMayNotStop) {
  StatusInput input = whole(3);
  input.members[1].state.alive = input.members[2].state.alive = false;
  EXPECT_TRUE(says(may_stop("n1", input).reason, "no other member is alive"));
  EXPECT_FALSE(may_stop("n1", whole(1)).may);
}

TEST(ClusterPlan, NobodyMayStopWhoseStopLetsPushesWait) {
  StatusInput input = whole(3);
  input.members[2].state.alive = false;
  EXPECT_TRUE(says(may_stop("n1", input).reason, "pushes would wait: only 1 of 2"));
  EXPECT_TRUE(may_stop("n3", input).may) << "it does nothing anyway";
  EXPECT_FALSE(may_stop("n1", whole(2)).may);
}

TEST(ClusterPlan, AMemberThatFillsIsNoHolder) {
  StatusInput input = whole(3);
  input.members[2].holds->at[7] = layout_mod - 1;
  EXPECT_TRUE(says(may_stop("n1", input).reason, "member n3 is still filling"));
  EXPECT_TRUE(may_stop("n3", input).may);
  input = whole(3);
  input.members[2].holds->disk = "another";
  EXPECT_FALSE(may_stop("n1", input).may);
  input = whole(3);
  input.members[2].holds->at = {{6, 150}};
  EXPECT_FALSE(may_stop("n1", input).may);
}

TEST(ClusterPlan, TheHolderOfABlobThatTheOthersLackMayNotStop) {
  StatusInput input = whole(3);
  input.members[1].holds->but = input.members[2].holds->but = {digest("only on n1")};
  EXPECT_TRUE(says(may_stop("n1", input).reason, digest("only on n1").text()));
  EXPECT_TRUE(may_stop("n2", input).may);
  input.members[0].holds->but = input.members[1].holds->but;  // lost to all: it need not stay for that
  EXPECT_TRUE(may_stop("n1", input).may);
}

TEST(ClusterPlan, AVoterThatTheQuorumNeedsMayNotStop) {
  StatusInput input = whole(4);
  input.needed_voters = {"n2"};
  EXPECT_TRUE(says(may_stop("n2", input).reason, "quorum"));
  EXPECT_TRUE(may_stop("n1", input).may);
}

TEST(ClusterPlan, WhoIsUnknownMayNotStopAndWhoIsNotCountedOnMay) {
  StatusInput input = whole(3);
  EXPECT_TRUE(says(may_stop("n9", input).reason, "no member n9"));
  input.members.push_back(member("n4"));
  input.members[3].state.in_layout = false;
  EXPECT_TRUE(may_stop("n4", input).may);
  // A drain has left the layout, and the others are still taking over.
  input.members[3].state.record.state = "draining";
  input.members[0].holds->at.clear();
  input.members[1].holds->at.clear();
  EXPECT_FALSE(may_stop("n4", input).may);
}

// Properties, over random clusters. `roll` is a small generator with a fixed seed.
struct Roll {
  std::uint64_t state;
  std::uint64_t below(std::uint64_t bound) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33U) % bound;
  }
};

StatusInput random_cluster(Roll& roll) {
  StatusInput input = whole(1 + roll.below(5));
  for (auto& one : input.members) {
    one.state.alive = roll.below(6) != 0;
    if (roll.below(8) == 0) one.state.record.state = "draining";
    if (roll.below(8) == 0) one.state.in_layout = false;
    if (!one.state.in_layout) std::erase(input.layout.members, one.state.id.value());
    if (roll.below(8) == 0) one.holds->at[7] = layout_mod - 1;
    if (roll.below(12) == 0) one.holds.reset();
    for (const char* blob : {"a", "b"}) {
      if (one.holds && roll.below(4) == 0) one.holds->but.push_back(digest(blob));
    }
    if (one.holds) std::ranges::sort(one.holds->but);
    if (roll.below(10) == 0) input.needed_voters.insert(one.state.id.value());
  }
  return input;
}

// Who surely holds the blob and lives, `without` apart; it was named when the layout began.
std::size_t holders(const StatusInput& input, const std::string& without, const oci::Digest& blob) {
  return static_cast<std::size_t>(std::ranges::count_if(input.members, [&](const MemberFigures& one) {
    return one.state.alive && one.state.id.value() != without && one.holds &&
           catalog::holds_digest(one.state.id.value(), one.state.record, *one.holds, input.layout, blob, layout_mod);
  }));
}

TEST(ClusterPlan, AfterEveryStopThatIsAllowedPushesAndPullsGoOn) {
  Roll roll{11};
  int allowed = 0;
  for (int i = 0; i < 5000; ++i) {
    const StatusInput input = random_cluster(roll);
    for (const auto& one : input.members) {
      const std::string& id = one.state.id.value();
      if (!may_stop(id, input).may) continue;
      EXPECT_FALSE(input.needed_voters.contains(id));
      if (!one.state.in_layout && one.state.record.state == "active") continue;
      ++allowed;
      StatusInput after = input;
      std::erase_if(after.members, [&](const auto& other) { return other.state.id.value() == id; });
      EXPECT_GE(serving(after).size(), input.layout.write_copies) << i;
      EXPECT_GE(holders(input, id, digest("whole everywhere")), input.layout.write_copies) << i;
      for (const char* blob : {"a", "b"}) {
        const bool lacks = one.holds && std::ranges::binary_search(one.holds->but, digest(blob));
        EXPECT_TRUE(lacks || holders(input, id, digest(blob)) > 0) << i << " " << id << " " << blob;
      }
    }
  }
  EXPECT_GT(allowed, 500);
}

TEST(ClusterPlan, NoDeathTurnsANoIntoAYes) {
  Roll roll{12};
  for (int i = 0; i < 3000; ++i) {
    const StatusInput input = random_cluster(roll);
    for (const auto& one : input.members) {
      const std::string& id = one.state.id.value();
      if (may_stop(id, input).may) continue;
      for (std::size_t dead = 0; dead < input.members.size(); ++dead) {
        StatusInput after = input;
        after.members[dead].state.alive = false;
        EXPECT_FALSE(may_stop(id, after).may) << i << " " << id << " after the death of " << dead;
      }
    }
  }
}

TEST(ClusterPlan, SentencesNameWhatIsNotAsItShouldBe) {
  StatusInput input = whole(3);
  input.members[1].state.alive = false;
  input.members[2].holds.reset();
  input.also_degraded = {"two members rest at two voters"};
  std::string all;
  for (const auto& sentence : degraded(input)) all += sentence + "\n";
  EXPECT_TRUE(says(all, "member n2 is dead")) << all;
  EXPECT_TRUE(says(all, "member n3 is filling")) << all;
  EXPECT_TRUE(says(all, "two members rest at two voters")) << all;
  EXPECT_FALSE(says(all, "only one copy")) << all;
  input.members[2].state.alive = false;
  all.clear();
  for (const auto& sentence : degraded(input)) all += sentence + "\n";
  EXPECT_TRUE(says(all, "only one copy can be made")) << all;
  EXPECT_TRUE(says(all, "pushes wait: 1 of 2")) << all;
}

TEST(ClusterPlan, DriftNamesTheRuleAndWhoAgrees) {
  StatusInput input = whole(4);
  for (std::size_t i = 0; i < 3; ++i) {
    input.members[i].state.record.settings = {{"accessControl", i == 1 ? "x" : "y"}, {"retention", "z"}};
  }
  const auto found = drift(input);  // n4 says nothing of its rules
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].rule, "accessControl");
  EXPECT_EQ(found[0].groups, (std::vector<std::vector<std::string>>{{"n1", "n3"}, {"n2"}}));
  input.members[2].state.record.settings.erase("retention");
  EXPECT_EQ(drift(input).size(), 2U) << "a rule that one lacks";
}

TEST(ClusterStatus, TheDocumentHasItsNames) {
  StatusInput input = whole(2);
  input.metadata = R"({"reachable":true})";
  input.voters = "no object";
  const Json json = Json::parse(status_json(input));
  for (const char* name :
       {"cluster", "self", "members", "layout", "degraded", "drift", "metadata", "voters", "history"}) {
    EXPECT_TRUE(json.contains(name)) << name;
  }
  const Json& first = json.at("members").at(0);
  for (const char* name :
       {"id", "url", "peer", "role", "state", "alive", "in_layout", "version", "disk_total", "disk_available",
        "requests", "uploads", "sent", "received", "applied", "may_stop", "may_stop_reason", "repair"}) {
    EXPECT_TRUE(first.contains(name)) << name;
  }
  EXPECT_EQ(first.at("lag"), 10);
  EXPECT_EQ(
      first.at("holds"),
      (Json{{"layout", 7}, {"revision", 140}, {"left_out", 0}, {"left_out_digests", Json::array()}, {"full", true}}));
  EXPECT_EQ(first.at("repair"),
            (Json{{"owed", 0}, {"owed_bytes", 0}, {"fetched_bytes", 0}, {"seconds_left", nullptr}}));
  EXPECT_EQ(json.at("metadata").at("reachable"), true);
  EXPECT_EQ(json.at("voters"), Json::object());
}

TEST(ClusterStatus, TheFirstDigestsThatAMarkLeavesOutAreNamed) {
  StatusInput input = whole(3);
  auto& but = input.members[1].holds->but;
  for (std::size_t i = 0; i < shown_digests + 11; ++i) but.push_back(digest(std::to_string(i)));
  std::ranges::sort(but);
  const Json holds = Json::parse(status_json(input)).at("members").at(1).at("holds");
  EXPECT_EQ(holds.at("left_out"), shown_digests + 11);
  ASSERT_EQ(holds.at("left_out_digests").size(), shown_digests);
  EXPECT_EQ(holds.at("left_out_digests").front(), but.front().text());
}

TEST(ClusterStatus, TheHistoryIsStepsOfBytesPerSecondAndNullWhereNothingIsKnown) {
  StatusInput input = whole(2);
  input.members[1].state.load.sent = 5000;
  input.members[1].state.load.received = 70;
  input.history = {{.id = "n1", .sent = {std::nullopt, 12}, .received = {std::nullopt, 0}}};
  const Json json = Json::parse(status_json(input));
  EXPECT_EQ(json.at("history"), Json::parse(R"({"step_seconds": 5, "members": [
      {"id": "n1", "sent": [null, 12], "received": [null, 0]}]})"));
  EXPECT_EQ(json.at("members").at(1).at("sent"), 5000);
  EXPECT_EQ(json.at("members").at(1).at("received"), 70);
}

TEST(ClusterStatus, ASingleNodeIsOneMemberAndIsAlive) {
  Bed bed;
  auto view = bed.now();
  const auto input = status_input(view, "", "n1");
  ASSERT_TRUE(input) << describe(input.error());
  const Json json = Json::parse(status_json(*input));
  ASSERT_EQ(json.at("members").size(), 1U);
  EXPECT_EQ(json.at("members").at(0).at("id"), "n1");
  EXPECT_EQ(json.at("members").at(0).at("alive"), true);
  EXPECT_EQ(json.at("members").at(0).at("in_layout"), true);
  EXPECT_EQ(json.at("members").at(0).at("lag"), 0);
  EXPECT_EQ(json.at("members").at(0).at("may_stop"), false);
  EXPECT_EQ(json.at("degraded"), Json::array());
}

TEST(ClusterStatus, TheGoneAreNotShownAndTheSilentAreDead) {
  Bed bed;
  for (const char* id : {"n2", "n3"}) {
    catalog::NodeRecord record;
    record.disk = std::string("disk-") + id;
    record.boot = "1";
    record.state = id == std::string("n3") ? "gone" : "active";
    bed.must([id, record](const catalog::Planning& p) -> Result<catalog::Plan> {
      return catalog::Plan{meta::Commit{p.operation, {}, {{catalog::keys::node(id), encode(record), 0}}, {}},
                           std::nullopt};
    });
  }
  auto view = bed.now();
  const auto input = status_input(view, "c", "n1");
  ASSERT_TRUE(input) << describe(input.error());
  ASSERT_EQ(input->members.size(), 2U);
  EXPECT_EQ(input->members[1].state.id.value(), "n2");
  EXPECT_FALSE(input->members[1].state.alive);
}

}  // namespace
}  // namespace hansa::cluster
