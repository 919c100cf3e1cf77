// Each row of the commit table against its conflicting partner: two plans of one snapshot, carried out in both orders.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "catalog/bed_test.h"
#include "catalog/plan_retention.h"

namespace hansa::catalog {
namespace {

using testing::Bed;
using testing::digest;
using testing::image;
using testing::index;
using testing::name;
using testing::tag;

// `late`: only the first conflicts, when the second came before it (it compares what the second writes, no more).
enum class Clash { never, late, always };

struct Race {
  const char* what;
  std::function<void(Bed&)> before;
  std::function<Planner(Bed&)> first;
  std::function<Planner(Bed&)> second;
  Clash clash;
};

void common(Bed& bed) {
  bed.link("app", "layer");
  bed.link("app", "other");
  bed.put("app", "m1", image({"layer"}), {"latest"});
  bed.put("app", "m2", image({"layer"}));
}
void aged(Bed& bed) {
  common(bed);
  bed.link("app", "old");
  bed.tick(10);
}

Planner put_new(Bed& bed) {
  return bed.putting("app", "new", image({"layer"}), {"new"});
}
Planner sweep_old(Bed& bed) {
  return bed.sweeping("app", {{SweepKind::link, digest("old"), {}}});
}
Planner sweep_m2(Bed& bed) {
  return bed.sweeping("app", {{SweepKind::manifest, digest("m2"), {}}});
}
void swept(Bed& bed) {
  aged(bed);
  bed.must(bed.sweeping("app", {{SweepKind::manifest, digest("m2"), {}}}));
  bed.tick(10);
}
Planner expire_latest(Bed& bed) {
  const Revision mod = bed.now().tag_record(name("app"), tag("latest")).value()->mod;
  return [mod](const Planning& p) { return plan_expire(p, name("app"), {{tag("latest"), mod}}); };
}
void expired(Bed& bed) {
  common(bed);
  bed.must(expire_latest(bed));
}
Planner put_back_m2(Bed&) {
  return [](const Planning& p) { return plan_put_back_manifest(p, name("app"), digest("m2")); };
}
Planner put_back_latest(Bed&) {
  return [](const Planning& p) { return plan_put_back_tag(p, name("app"), tag("latest")); };
}
Planner restart(Bed& bed) {
  return [record = bed.node_record()](const Planning& p) { return plan_node_start(p, "n1", record); };
}

const std::vector<Race>& races() {
  using B = Bed;
  static const std::vector<Race> all = {
      {"pushes never conflict", common, put_new, [](B& b) { return b.putting("app", "n2", image({"other"}), {"n2"}); },
       Clash::never},
      {"pushes of one tag do", common, put_new, [](B& b) { return b.putting("app", "n2", image({"other"}), {"new"}); },
       Clash::always},
      {"pushes of one manifest do", common, put_new, [](B& b) { return b.putting("app", "new", image({"layer"})); },
       Clash::always},
      {"push and manifest delete", common, put_new, [](B& b) { return b.deleting_manifest("app", "m2"); },
       Clash::always},
      {"push and blob delete", common, put_new, [](B& b) { return b.deleting_blob("app", "other"); }, Clash::always},
      {"push and sweep of a link", aged, put_new, sweep_old, Clash::always},
      {"push and sweep of a manifest", aged, put_new, sweep_m2, Clash::always},
      {"index push and sweep of its child", aged, [](B& b) { return b.putting("app", "idx", index({"m2"})); }, sweep_m2,
       Clash::always},
      {"push and tick", common, put_new, [](B& b) { return b.ticking(); }, Clash::late},
      {"push and restart of the node", common, put_new, restart, Clash::late},
      {"push in another repository and delete", common, [](B& b) { return b.putting("else", "e", image({}), {"e"}); },
       [](B& b) { return b.deleting_manifest("app", "m2"); }, Clash::never},
      {"uploads of two blobs", common, [](B& b) { return b.linking("app", "x"); },
       [](B& b) { return b.linking("app", "y"); }, Clash::never},
      {"uploads of one blob", common, [](B& b) { return b.linking("app", "x"); },
       [](B& b) { return b.linking("app", "x"); }, Clash::always},
      {"uploads that found one repository", common, [](B& b) { return b.linking("fresh", "x"); },
       [](B& b) { return b.linking("fresh", "y"); }, Clash::always},
      {"upload and push", common, [](B& b) { return b.linking("app", "x"); }, put_new, Clash::never},
      {"upload and tick", common, [](B& b) { return b.linking("app", "x"); }, [](B& b) { return b.ticking(); },
       Clash::late},
      {"upload and restart of the node", common, [](B& b) { return b.linking("app", "x"); }, restart, Clash::late},
      {"upload and delete of the same blob", common, [](B& b) { return b.linking("app", "other"); },
       [](B& b) { return b.deleting_blob("app", "other"); }, Clash::always},
      {"upload and sweep of the same blob", aged, [](B& b) { return b.linking("app", "old"); }, sweep_old,
       Clash::always},
      {"upload and sweep of another", aged, [](B& b) { return b.linking("app", "x"); }, sweep_old, Clash::never},
      {"mount and delete of its source", common, [](B& b) { return b.mounting("copy", "app", "other"); },
       [](B& b) { return b.deleting_blob("app", "other"); }, Clash::late},
      {"mount and tick", common, [](B& b) { return b.mounting("copy", "app", "other"); },
       [](B& b) { return b.ticking(); }, Clash::late},
      {"HEAD renewal and sweep", aged, [](B& b) { return b.renewing_blob("app", "old"); }, sweep_old, Clash::always},
      {"HEAD renewal and push", aged, [](B& b) { return b.renewing_blob("app", "old"); }, put_new, Clash::never},
      {"HEAD renewal and tick", aged, [](B& b) { return b.renewing_blob("app", "old"); },
       [](B& b) { return b.ticking(); }, Clash::late},
      {"tag delete and push of the tag", common, [](B& b) { return b.deleting_tag("app", "latest"); },
       [](B& b) { return b.putting("app", "m2", image({"layer"}), {"latest"}); }, Clash::always},
      {"tag delete and push of another", common, [](B& b) { return b.deleting_tag("app", "latest"); }, put_new,
       Clash::never},
      {"tag delete and delete of its manifest", common, [](B& b) { return b.deleting_tag("app", "latest"); },
       [](B& b) { return b.deleting_manifest("app", "m1"); }, Clash::always},
      {"two deletes in a repository", common, [](B& b) { return b.deleting_manifest("app", "m2"); },
       [](B& b) { return b.deleting_blob("app", "other"); }, Clash::always},
      {"two sweeps", aged, sweep_old, sweep_m2, Clash::always},
      {"expiry of a tag and a push of it", common, expire_latest,
       [](B& b) { return b.putting("app", "m2", image({"layer"}), {"latest"}); }, Clash::always},
      {"expiry of a tag and a push of another", common, expire_latest, put_new, Clash::never},
      {"undo of a sweep and the sweep of its grave", swept, put_back_m2,
       [](B& b) { return b.sweeping("app", {{SweepKind::grave, digest("m2"), {}}}); }, Clash::always},
      {"undo of a sweep and a blob delete", swept, put_back_m2, [](B& b) { return b.deleting_blob("app", "other"); },
       Clash::always},
      {"undo of an expiry and a push of the tag", expired, put_back_latest,
       [](B& b) { return b.putting("app", "m2", image({"layer"}), {"latest"}); }, Clash::always},
      {"undo of an expiry and a delete of its manifest", expired, put_back_latest,
       [](B& b) { return b.deleting_manifest("app", "m1"); }, Clash::always},
      {"two ticks", common, [](B& b) { return b.ticking(); }, [](B& b) { return b.ticking(); }, Clash::always},
      {"two starts of a node", common, restart, restart, Clash::always},
  };
  return all;
}

Plan planned(const Planner& planner, Snapshot& view, const std::string& operation) {
  auto plan = planner(Planning{view, operation, {}});
  EXPECT_TRUE(plan) << describe(plan.error());
  EXPECT_TRUE(plan && plan->commit) << "nothing to do";
  return plan ? *std::move(plan) : Plan{};
}

void run(const Race& race, bool swapped) {
  SCOPED_TRACE(std::string(race.what) + (swapped ? ", swapped" : ""));
  Bed bed;
  race.before(bed);
  Planner a = race.first(bed);
  Planner b = race.second(bed);
  if (swapped) std::swap(a, b);
  Plan one;
  Plan two;
  {
    Snapshot view = bed.now();
    one = planned(a, view, "one");
    two = planned(b, view, "two");
  }
  ASSERT_TRUE(one.commit && two.commit);
  EXPECT_FALSE(bed.conflicts(one));
  EXPECT_EQ(bed.conflicts(two), race.clash == Clash::always || (race.clash == Clash::late && swapped));
}

TEST(CommitTable, PartnersConflictExactlyWhereTheyMust) {
  for (const Race& race : races()) {
    run(race, false);
    run(race, true);
  }
}

TEST(CommitTable, TwoFoundersConflict) {
  Bed bed(false);
  const auto founding = [](std::string id) -> Planner {
    return [id](const Planning& p) { return plan_first_start(p, id, NodeRecord{}, Bed::tick_length); };
  };
  Plan one;
  Plan two;
  {
    Snapshot view = bed.now();
    one = planned(founding("a"), view, "one");
    two = planned(founding("b"), view, "two");
  }
  EXPECT_FALSE(bed.conflicts(one));
  EXPECT_TRUE(bed.conflicts(two));
  EXPECT_EQ(bed.refusal(founding("b")), ErrorCode::exists);
}

TEST(CommitTable, BeforeTheFirstStartNothingCanBePushed) {
  Bed bed(false);
  EXPECT_EQ(bed.refusal(bed.linking("app", "x")), ErrorCode::unavailable);
}

TEST(CommitTable, ASweepOfADeposedLeaderDoesNothing) {
  Bed bed;
  aged(bed);
  const TaskHold hold{keys::task("sweep"), 999};  // leadership that is not ours
  Plan plan;
  {
    Snapshot view = bed.now();
    plan = planned(
        [hold](const Planning& p) {
          return plan_sweep(p, name("app"), {{SweepKind::link, digest("old"), {}}}, SweepRules{}, hold);
        },
        view, "one");
  }
  EXPECT_TRUE(bed.conflicts(plan));
}

TEST(CommitTable, EveryWrittenKeyIsComparedExceptTheOuterDoor) {
  for (const Race& race : races()) {
    SCOPED_TRACE(race.what);
    Bed bed;
    race.before(bed);
    Snapshot view = bed.now();
    const Plan plan = planned(race.second(bed), view, "op");
    ASSERT_TRUE(plan.commit);
    const auto compared = [&plan](std::string_view key) {
      return std::ranges::any_of(plan.commit->compares, [key](const meta::Compare& c) { return c.key == key; });
    };
    for (const meta::Put& put : plan.commit->puts) {
      EXPECT_EQ(compared(put.key), !put.key.starts_with("in/")) << put.key;
      EXPECT_TRUE(written_by(put.value, "op")) << put.key;
    }
    for (const std::string& key : plan.commit->deletes) EXPECT_TRUE(compared(key)) << key;
  }
}

// ---- refusals ---------------------------------------------------------------------------------------------------

TEST(Plans, AnOldReceiptMustBeRenewed) {
  Bed bed;
  const Planner stale = bed.linking("app", "x");
  bed.tick(1);
  bed.must(stale);  // one tick old: counts
  bed.tick(1);
  EXPECT_EQ(bed.refusal(stale), ErrorCode::conflict);
  LinkUpload other_disk{name("app"), digest("x"), 1, {{"n1", "disk-of-before", bed.catalog->newest_tick()}}};
  EXPECT_EQ(bed.refusal([=](const Planning& p) { return plan_link(p, other_disk); }), ErrorCode::conflict);
}

TEST(Plans, APushNeedsEverythingItRefersTo) {
  Bed bed;
  bed.link("app", "layer");
  bed.link("elsewhere", "foreign");
  EXPECT_EQ(bed.refusal(bed.putting("app", "m", image({"layer", "foreign"}))), ErrorCode::missing_reference);
  EXPECT_EQ(bed.refusal(bed.putting("app", "i", index({"m"}))), ErrorCode::missing_reference);
  auto with_foreign = image({"layer"});
  with_foreign->foreign.push_back(testing::blob("foreign"));
  bed.put("app", "m", with_foreign);
  bed.put("app", "i", index({"m"}));
  EXPECT_FALSE(bed.now().blob(name("app"), digest("foreign")).value());  // named, but not here
}

TEST(Plans, RightsAndPreconditionsSeeWhatEachTagShows) {
  Bed bed;
  bed.link("app", "layer");
  bed.put("app", "m1", image({"layer"}), {"a"});
  auto put = bed.push("app", "m2", image({"layer"}), {"a", "b"});
  std::vector<std::string> asked;
  put.may_put_tag = [&asked](const oci::Tag& t, const oci::Digest* current) -> Result<void> {
    asked.push_back(t.text() + (current != nullptr ? "=" + current->text() : ""));
    if (current != nullptr) return make_error(ErrorCode::denied, "immutable");
    return {};
  };
  const auto plan = [&put](const Planning& p) { return plan_put_manifest(p, put); };
  EXPECT_EQ(bed.refusal(plan), ErrorCode::denied);
  EXPECT_EQ(asked.front(), "a=" + digest("m1").text());
  EXPECT_FALSE(bed.now().tag(name("app"), tag("b")).value());  // nothing of it happened
  put.may_put_tag = nullptr;
  put.if_match = digest("m1");
  EXPECT_EQ(bed.refusal(plan), ErrorCode::precondition);  // b shows nothing
  put.tags = {tag("a")};
  bed.must(plan);
  put.if_match.reset();
  put.if_none_match = true;
  EXPECT_EQ(bed.refusal(plan), ErrorCode::precondition);
  put.tags = {tag("c")};
  bed.must(plan);
}

TEST(Plans, TooManyTagsAreRefusedAndTheMostFit) {
  Bed bed;
  std::vector<std::string> tags;
  for (int i = 0; i < 100; ++i) tags.push_back("t" + std::to_string(i));
  bed.put("app", "m", image({}), tags);
  bed.must(bed.deleting_manifest("app", "m"));
  tags.push_back("one-more");
  EXPECT_EQ(bed.refusal(bed.putting("app", "m", image({}), tags)), ErrorCode::too_many);
}

TEST(Plans, WhatIsNeededCannotBeDeleted) {
  Bed bed;
  common(bed);
  bed.put("app", "idx", index({"m2"}), {"multi"});
  EXPECT_EQ(bed.refusal(bed.deleting_blob("app", "layer")), ErrorCode::referenced);
  EXPECT_EQ(bed.refusal(bed.deleting_manifest("app", "m2")), ErrorCode::referenced);
  EXPECT_EQ(bed.refusal(bed.deleting_blob("app", "nothing")), ErrorCode::not_found);
  EXPECT_EQ(bed.refusal(bed.deleting_manifest("app", "nothing")), ErrorCode::not_found);
  EXPECT_EQ(bed.refusal(bed.deleting_tag("app", "nothing")), ErrorCode::not_found);
  bed.must(bed.deleting_manifest("app", "idx"));
  bed.must(bed.deleting_manifest("app", "m2"));
  bed.must(bed.deleting_blob("app", "other"));
  EXPECT_EQ(bed.refusal(bed.deleting_blob("app", "other")), ErrorCode::not_found);
}

TEST(Plans, AMountNeedsItsSourceAndAManifestAloneIsOne) {
  Bed bed;
  common(bed);
  EXPECT_EQ(bed.refusal(bed.mounting("copy", "app", "nothing")), ErrorCode::not_found);
  bed.must(bed.mounting("copy", "app", "layer"));
  const auto copied = bed.now().blob(name("copy"), digest("layer")).value();
  ASSERT_TRUE(copied);
  EXPECT_EQ(copied->size, 5u);
  bed.must(bed.deleting_blob("app", "other"));
  EXPECT_EQ(bed.refusal(bed.mounting("copy", "app", "other")), ErrorCode::not_found);
}

TEST(Plans, HeadRenewsOnlyWhatNothingHoldsAndOnlyAfterTwoTicks) {
  Bed bed;
  common(bed);
  const auto changed = [&bed](const Planner& planner) { return bed.submit(planner).value().changed; };
  bed.tick(1);
  EXPECT_FALSE(changed(bed.renewing_blob("app", "other")));
  bed.tick(1);
  EXPECT_TRUE(changed(bed.renewing_blob("app", "other")));
  EXPECT_FALSE(changed(bed.renewing_blob("app", "other")));
  EXPECT_FALSE(changed(bed.renewing_blob("app", "layer")));  // a manifest holds it
  const auto renew = [](std::string id) -> Planner {
    return [d = digest(id)](const Planning& p) { return plan_renew_manifest(p, name("app"), d); };
  };
  EXPECT_FALSE(changed(renew("m1")));  // tagged
  EXPECT_TRUE(changed(renew("m2")));
  EXPECT_EQ(bed.refusal(renew("nothing")), ErrorCode::not_found);
}

TEST(Plans, ANewDiskVoidsWhatTheNodeHeld) {
  Bed bed;
  const auto put_holds = [](const Planning& p) -> Result<Plan> {
    meta::Commit commit{p.operation, {}, {{keys::holds("n1"), "{}", 0}}, {}};
    return Plan{commit, std::nullopt};
  };
  bed.must(put_holds);
  bed.must(restart(bed));
  EXPECT_NE(bed.now().mod_of(keys::holds("n1")).value(), 0u);
  EXPECT_EQ(bed.refusal(restart(bed)), ErrorCode::conflict);  // alive
  bed.must([](const Planning& p) -> Result<Plan> {
    return Plan{meta::Commit{p.operation, {}, {}, {keys::alive("n1")}}, std::nullopt};
  });
  NodeRecord fresh = bed.node_record();
  fresh.disk = "disk-2";
  bed.must([fresh](const Planning& p) { return plan_node_start(p, "n1", fresh); });
  EXPECT_EQ(bed.now().mod_of(keys::holds("n1")).value(), 0u);
}

// Ever fewer marks of what is long ago, and an age is late by a sixteenth at most.
TEST(Plans, TheClockThinsItsMarksAndAgesFollowIt) {
  Bed bed;
  bed.link("app", "x");
  const Revision mod = bed.now().mod_of(keys::link(name("app"), digest("x"))).value();
  for (std::uint64_t ticks = 1; ticks <= 300; ++ticks) {
    bed.tick();
    auto view = bed.now();
    const auto age = view.age(mod).value();
    EXPECT_LE(age, ticks);
    EXPECT_GE(age, ticks - ticks / recent_ticks);
  }
  const auto tick = bed.now().tick().value();
  EXPECT_EQ(tick->record.number, 301u);
  EXPECT_EQ(bed.catalog->newest_tick(), 301u);
  EXPECT_GE(tick->record.past.size(), recent_ticks);
  EXPECT_LE(tick->record.past.size(), recent_ticks * 6);
}

}  // namespace
}  // namespace hansa::catalog
