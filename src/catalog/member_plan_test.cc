// Members: joins, drains and losses as rows of the commit table, and the records they write.
#include "catalog/member_plan.h"

#include <gtest/gtest.h>

#include "catalog/bed_test.h"

namespace hansa::catalog {
namespace {

using testing::Bed;
using testing::digest;

NodeRecord record_of(const std::string& id, const std::string& boot = "1") {
  NodeRecord record;
  record.disk = "disk-" + id;
  record.boot = boot;
  record.addresses = {"http://" + id + ":5000", id + ":5001"};
  return record;
}

// n1 as Bed founded it, more members, and the leadership that layouts need.
class Members : public ::testing::Test {
 protected:
  Members() {
    bed.must([](const Planning& p) -> Result<Plan> {
      return Plan{meta::Commit{p.operation, {}, {{"task/layout", encode_mark(p.operation), 0}}, {}}, std::nullopt};
    });
    task = {"task/layout", bed.now().get("task/layout").value()->create};
  }
  Planner starting(const std::string& id, const NodeRecord& record) const {
    return [id, record](const Planning& p) { return plan_node_start(p, id, record); };
  }
  Planner changing() const {
    return [t = task](const Planning& p) { return plan_layout_change(p, t); };
  }
  Planner draining(const std::string& id) const {
    return [id](const Planning& p) { return plan_drain(p, id); };
  }
  Planner leaving(const std::string& id) const {
    return [id, t = task](const Planning& p) { return plan_leave(p, id, t); };
  }
  Planner forgetting(const std::string& id) const {
    return [id](const Planning& p) { return plan_forget(p, id); };
  }
  // The member's mark under the newest layout, as of now.
  void hold(const std::string& id, std::vector<oci::Digest> but = {}) {
    HoldsRecord mark;
    const auto node = bed.now().node(id).value();
    mark.disk = node->record.disk;
    mark.at[layout().number] = bed.now().revision();
    mark.but = std::move(but);
    bed.must([id, mark, boot = node->record.boot](const Planning& p) { return plan_hold(p, id, boot, mark); });
  }
  void end_lease(const std::string& id) {
    bed.must([id](const Planning& p) -> Result<Plan> {
      return Plan{meta::Commit{p.operation, {}, {}, {keys::alive(id)}}, std::nullopt};
    });
  }
  void join(const std::string& id) {
    bed.must(starting(id, record_of(id)));
    bed.must(changing());
  }
  LayoutRecord layout() { return bed.now().layout().value()->record; }
  std::string state(const std::string& id) { return bed.now().node(id).value()->record.state; }
  bool changes() { return bed.submit(changing()).value().changed; }

  Bed bed;
  TaskHold task;
};

TEST_F(Members, TheSecondMemberRaisesTheCopiesToTwoAndTheyStay) {
  EXPECT_EQ(layout().write_copies, 1U);
  EXPECT_FALSE(changes());
  join("n2");
  EXPECT_EQ(layout().members, (std::vector<std::string>{"n1", "n2"}));
  EXPECT_EQ(layout().previous, (std::vector<std::string>{"n1"}));
  EXPECT_EQ(layout().write_copies, 2U);
  end_lease("n2");
  EXPECT_FALSE(changes());  // a silent member is no reason
  EXPECT_EQ(bed.refusal(bed.linking("app", "x")), ErrorCode::conflict);
}

TEST_F(Members, OneJoinsAtATime) {
  join("n2");
  bed.must(starting("n3", record_of("n3")));
  EXPECT_FALSE(changes());
  hold("n1");
  EXPECT_FALSE(changes());
  hold("n2");
  EXPECT_TRUE(changes());
  EXPECT_EQ(layout().members.size(), 3U);
}

TEST_F(Members, AChangedAddressIsTheSameMember) {
  join("n2");
  hold("n2");
  end_lease("n2");
  NodeRecord moved = record_of("n2", "2");
  moved.addresses.client = "https://elsewhere:443";
  bed.must(starting("n2", moved));
  EXPECT_FALSE(changes());
  EXPECT_TRUE(bed.now().holds("n2").value());
  EXPECT_EQ(bed.now().node("n2").value()->record.addresses, moved.addresses);
}

TEST_F(Members, DrainNeedsTwoOthersThatAreActive) {
  join("n2");
  EXPECT_EQ(bed.refusal(draining("n2")), ErrorCode::referenced);
  EXPECT_EQ(bed.refusal(draining("nobody")), ErrorCode::not_found);
}

TEST_F(Members, LeavesOnlyWhenTheOthersHoldEverything) {
  join("n2");
  hold("n1");
  hold("n2");
  join("n3");
  for (const char* id : {"n1", "n2", "n3"}) hold(id);
  bed.must(draining("n3"));
  EXPECT_EQ(bed.refusal(leaving("n3")), ErrorCode::conflict);  // in the layout
  EXPECT_TRUE(changes());
  EXPECT_EQ(layout().members.size(), 2U);
  hold("n1");
  EXPECT_EQ(bed.refusal(leaving("n3")), ErrorCode::conflict);  // n2 says nothing under this layout
  hold("n2");
  bed.must(leaving("n3"));
  EXPECT_EQ(state("n3"), "gone");
  EXPECT_EQ(bed.now().mod_of(keys::alive("n3")).value(), 0U);
  EXPECT_EQ(bed.now().mod_of(keys::holds("n3")).value(), 0U);
}

TEST_F(Members, ABlobThatTooFewOthersHoldKeepsADrainWaiting) {
  bed.link("app", "rare");
  join("n2");
  hold("n1");
  hold("n2");
  join("n3");
  for (const char* id : {"n1", "n2", "n3"}) hold(id);
  bed.must(draining("n3"));
  EXPECT_TRUE(changes());
  hold("n1", {digest("rare")});
  hold("n2", {digest("rare")});
  EXPECT_EQ(bed.refusal(leaving("n3")), ErrorCode::conflict);
  hold("n2");
  EXPECT_EQ(bed.refusal(leaving("n3")), ErrorCode::conflict);  // one copy would be left
  hold("n1");
  bed.must(leaving("n3"));
}

TEST_F(Members, OnlyADeadMemberIsForgottenAndThenOneCopyIsEnough) {
  join("n2");
  EXPECT_EQ(bed.refusal(forgetting("n2")), ErrorCode::conflict);
  end_lease("n2");
  bed.must(forgetting("n2"));
  EXPECT_TRUE(changes());
  EXPECT_EQ(layout().members, (std::vector<std::string>{"n1"}));
  EXPECT_EQ(layout().write_copies, 1U);
  EXPECT_EQ(bed.refusal(forgetting("n1")), ErrorCode::referenced);
}

TEST_F(Members, AForgottenMemberThatReturnsHoldsNothing) {
  join("n2");
  hold("n1");
  hold("n2");
  end_lease("n2");
  bed.must(forgetting("n2"));
  bed.must(starting("n2", record_of("n2", "2")));
  EXPECT_EQ(state("n2"), "active");
  EXPECT_FALSE(bed.now().holds("n2").value());
}

TEST_F(Members, ARestartEndsNoDrain) {
  join("n2");
  hold("n1");
  hold("n2");
  join("n3");
  bed.must(draining("n3"));
  end_lease("n3");
  bed.must(starting("n3", record_of("n3", "2")));
  EXPECT_EQ(state("n3"), "draining");
}

TEST_F(Members, AnotherProcessOfTheSameNodeSilencesTheFirst) {
  join("n2");
  AliveRecord alive;
  alive.boot = "1";
  alive.uploads = 3;
  const auto renewing = [&alive](const Planning& p) { return plan_alive(p, "n2", alive, 0); };
  bed.must(renewing);
  EXPECT_EQ(bed.now().alive("n2").value()->record.uploads, 3U);
  end_lease("n2");
  bed.must(renewing);  // taken again
  end_lease("n2");
  bed.must(starting("n2", record_of("n2", "2")));
  EXPECT_EQ(bed.refusal(renewing), ErrorCode::conflict);
  HoldsRecord mark;
  mark.disk = "disk-n2";
  EXPECT_EQ(bed.refusal([mark](const Planning& p) { return plan_hold(p, "n2", "1", mark); }), ErrorCode::conflict);
}

TEST_F(Members, ALostLeadershipChangesNoLayout) {
  bed.must(starting("n2", record_of("n2")));
  const TaskHold old{"task/layout", task.create + 1000};
  auto view = bed.now();
  const Plan plan = plan_layout_change(Planning{view, "op", {}}, old).value();
  EXPECT_TRUE(bed.conflicts(plan));
}

// What nothing names is owed by nobody; what several records name counts from the first.
TEST_F(Members, SinceIsTheFirstRecordThatNamesABlob) {
  EXPECT_EQ(bed.now().since_of(digest("x")).value(), 0U);
  bed.link("app", "x");
  const Revision first = bed.now().since_of(digest("x")).value();
  EXPECT_NE(first, 0U);
  bed.put("app", "m", testing::image({"x"}), {"v1"});
  EXPECT_EQ(bed.now().since_of(digest("x")).value(), first);
  EXPECT_GT(bed.now().since_of(digest("m")).value(), first);
  auto page = bed.now().named(0, 1);
  std::size_t seen = page->digests.size();
  while (page->next) {
    page = bed.now().named(*page->next, 1);
    seen += page->digests.size();
  }
  EXPECT_EQ(seen, 2U);
}

TEST(MemberRecords, TheFormBeforeMembersIsUnderstood) {
  const auto old = decode_node(R"({"f":1,"op":"o","disk":"d","boot":"b","addresses":["http://a:1"],"role":"store"})");
  ASSERT_TRUE(old);
  EXPECT_EQ(old->addresses.client, "http://a:1");
  EXPECT_EQ(old->addresses.peer, "");
  const auto again = decode_node(encode(*old));
  EXPECT_EQ(again->addresses, old->addresses);
}

TEST(MemberRecords, MarksComeBackAsTheyWereAndKeepWhatNewerVersionsAdd) {
  HoldsRecord mark;
  mark.disk = "d";
  mark.at = {{3, 17}, {4, 20}};
  mark.but = {digest("a")};
  mark.extra = R"({"new":1})";
  const auto back = decode_holds(encode(mark));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->at, mark.at);
  EXPECT_EQ(back->but, mark.but);
  EXPECT_EQ(back->extra, mark.extra);
}

}  // namespace
}  // namespace hansa::catalog
