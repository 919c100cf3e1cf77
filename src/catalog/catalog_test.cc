// submit(): conflicts, refusals that a barrier turns, and outcomes that the store does not tell (H8, H9).
#include "catalog/catalog.h"

#include <gtest/gtest.h>

#include <deque>

#include "catalog/bed_test.h"

namespace hansa::catalog {
namespace {

using meta::CommitOutcome;
using meta::CommitStatus;
using testing::Bed;
using testing::digest;
using testing::image;
using testing::name;
using testing::tag;

// A store between the catalogue and the real one: loses answers, applies late, and lets others come first.
class Meddler final : public meta::MetadataStore {
 public:
  enum class Act { pass, lose_answer, lose_commit, say_full_after, say_full };
  explicit Meddler(Bed& bed) : bed_(bed) {}

  Result<std::unique_ptr<meta::Snapshot>> snapshot() override { return bed_.store->snapshot(); }
  io::Task<Result<meta::Fence>> barrier() override {
    ++barriers;
    if (at_barrier) std::exchange(at_barrier, nullptr)();
    return bed_.store->barrier();
  }
  io::Task<Result<CommitOutcome>> commit(meta::Commit commit) override {
    ++commits;
    operations.push_back(commit.operation);
    const Act act = acts.empty() ? Act::pass : acts.front();
    if (!acts.empty()) acts.pop_front();
    if (!meanwhile.empty()) {
      meta::Commit other = std::move(meanwhile.front());
      meanwhile.pop_front();
      if (!other.operation.empty()) HANSA_CO_CHECK(co_await bed_.store->commit(std::move(other)));
    }
    if (act == Act::lose_commit) co_return CommitOutcome{};
    const Error full = make_error(ErrorCode::out_of_space, "the store is full");
    if (act == Act::say_full) co_return full;
    HANSA_CO_TRY(const CommitOutcome outcome, co_await bed_.store->commit(std::move(commit)));
    if (act == Act::lose_answer) co_return CommitOutcome{};
    if (act == Act::say_full_after) co_return full;
    co_return outcome;
  }
  Result<std::unique_ptr<meta::Subscription>> follow(Revision from,
                                                     std::function<void(const meta::ChangeSet&)> listener) override {
    return bed_.store->follow(from, std::move(listener));
  }
  io::Task<Result<std::unique_ptr<meta::Lease>>> lease(io::Duration ttl) override { return bed_.store->lease(ttl); }

  std::deque<Act> acts;                // for the next commits
  std::deque<meta::Commit> meanwhile;  // come before the next commits; an empty operation: none
  std::function<void()> at_barrier;
  int commits = 0;
  int barriers = 0;
  std::vector<std::string> operations;

 private:
  Bed& bed_;
};

struct Meddled : Bed {
  Meddled() {
    link("app", "layer");
    put("app", "m", image({"layer"}), {"v"});
    auto made =
        Catalog::open(meddler, [this] { return old_view ? old_view() : store->read(); }, view, clock, random, log);
    EXPECT_TRUE(made);
    meddled = *std::move(made);
  }
  ~Meddled() { meddled.reset(); }
  Result<Submitted> run(Planner planner) { return sim::run(world, executor, meddled->submit(std::move(planner))); }
  // A commit that moves the tag, with planned compares of its own.
  meta::Commit moving(const char* operation, const char* id) {
    TagRecord record;
    record.operation = operation;
    record.digest = digest(id);
    return {operation, {}, {{keys::tag(name("app"), tag("v")), encode(record), 0}}, {}};
  }
  Meddler meddler{*this};
  std::unique_ptr<Catalog> meddled;
  Catalog::Read old_view;
};

TEST(Submit, AConflictIsPlannedAgainWithANewOperation) {
  Meddled bed;
  bed.meddler.meanwhile.push_back(bed.moving("other", "m"));
  const auto done = bed.run(bed.deleting_tag("app", "v"));
  ASSERT_TRUE(done) << describe(done.error());
  EXPECT_EQ(bed.meddler.commits, 2);
  EXPECT_NE(bed.meddler.operations[0], bed.meddler.operations[1]);
  EXPECT_FALSE(bed.now().tag(name("app"), tag("v")).value());
}

TEST(Submit, EndlessConflictsEndAsUnavailable) {
  Meddled bed;
  for (int i = 0; i < max_plan_attempts; ++i) bed.meddler.meanwhile.push_back(bed.moving("other", "m"));
  const auto done = bed.run(bed.deleting_tag("app", "v"));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::unavailable);
  EXPECT_EQ(bed.meddler.commits, max_plan_attempts);
}

// The view lags: what it does not show yet is there after a barrier (H9).
TEST(Submit, ARefusalIsPlannedOnceMoreAfterABarrier) {
  Meddled bed;
  bed.meddler.at_barrier = [&bed] {
    // The blob that the push needs arrives with the barrier.
    bed.old_view = nullptr;
  };
  auto lagging = std::make_shared<std::unique_ptr<meta::sqlite::ReadTransaction>>(bed.store->read().value());
  bed.old_view = [lagging] { return Result<std::unique_ptr<meta::sqlite::ReadTransaction>>(std::move(*lagging)); };
  bed.link("app", "late");
  const auto done = bed.run(bed.putting("app", "n", image({"late"})));
  ASSERT_TRUE(done) << describe(done.error());
  EXPECT_EQ(bed.meddler.barriers, 1);
  const auto refused = bed.run(bed.putting("app", "n2", image({"never"})));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::missing_reference);
  EXPECT_EQ(bed.meddler.barriers, 2);
}

TEST(Submit, AnUnknownCommitThatNeverHappenedIsSubmittedAgainAsItWas) {
  Meddled bed;
  bed.meddler.acts = {Meddler::Act::lose_commit};
  const auto done = bed.run(bed.putting("app", "n", image({"layer"}), {"n"}));
  ASSERT_TRUE(done) << describe(done.error());
  EXPECT_EQ(bed.meddler.commits, 2);
  EXPECT_EQ(bed.meddler.operations[0], bed.meddler.operations[1]);
}

TEST(Submit, AnUnknownCommitThatHappenedIsFound) {
  Meddled bed;
  bed.meddler.acts = {Meddler::Act::lose_answer};
  const auto done = bed.run(bed.putting("app", "n", image({"layer"}), {"n"}));
  ASSERT_TRUE(done) << describe(done.error());
  EXPECT_EQ(done->operation, bed.meddler.operations[0]);
  EXPECT_EQ(bed.now().tag(name("app"), tag("n")).value()->manifest.digest, digest("n"));
}

TEST(Submit, AnUnknownDeleteThatHappenedIsFoundByTheHead) {
  Meddled bed;
  bed.meddler.acts = {Meddler::Act::lose_answer};
  const auto done = bed.run(bed.deleting_tag("app", "v"));
  ASSERT_TRUE(done) << describe(done.error());
}

// Committed, then deleted by another: the grave still says who had put it.
TEST(Submit, AnUnknownPushIsFoundInItsGrave) {
  Meddled bed;
  bed.meddler.acts = {Meddler::Act::lose_answer};
  bed.meddler.at_barrier = nullptr;
  bed.meddler.meanwhile.resize(2);
  // Before the second submission another client deletes the manifest: planned by hand, as its planner would.
  GraveRecord grave;
  grave.operation = "delete";
  bool deleted = false;
  const Planner planner = bed.putting("app", "n", image({"layer"}));
  const auto watching = [&](const Planning& p) {
    if (!deleted) {
      deleted = true;
      grave.was.operation = p.operation;
      bed.meddler.meanwhile[1] = {"delete",
                                  {},
                                  {{keys::grave(name("app"), digest("n")), encode(grave), 0},
                                   {keys::repo(name("app")), encode(RepositoryRecord{}), 0}},
                                  {keys::manifest(name("app"), digest("n"))}};
    }
    return planner(p);
  };
  const auto done = bed.run(watching);
  ASSERT_TRUE(done) << describe(done.error());
  EXPECT_EQ(bed.meddler.commits, 2);
  EXPECT_FALSE(bed.now().manifest(name("app"), digest("n")).value());
}

// Never applied, and now it cannot be: a key that it would have written stands where it stood, so it is planned anew.
TEST(Submit, AnUnknownCommitThatLostIsPlannedAnew) {
  Meddled bed;
  bed.meddler.acts = {Meddler::Act::lose_commit};
  bed.meddler.meanwhile = {meta::Commit{}, bed.moving("other", "m")};
  const auto done = bed.run(bed.putting("app", "n", image({"layer"}), {"v"}));
  ASSERT_TRUE(done) << describe(done.error());
  EXPECT_EQ(bed.meddler.commits, 3);
  EXPECT_EQ(bed.now().tag(name("app"), tag("v")).value()->manifest.digest, digest("n"));
}

// All keys moved and none shows the operation: it may have been applied and overwritten. Nobody can say.
TEST(Submit, WhatCannotBeToldIsAmbiguous) {
  Meddled bed;
  bed.meddler.acts = {Meddler::Act::lose_commit};
  bed.meddler.meanwhile = {meta::Commit{}, bed.moving("other", "m")};
  const auto done = bed.run(bed.deleting_tag("app", "v"));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::ambiguous);
}

TEST(Submit, AStoreThatNeverAnswersIsAmbiguousInTheEnd) {
  Meddled bed;
  bed.meddler.acts.assign(1000, Meddler::Act::lose_commit);
  const auto began = bed.clock.monotonic();
  const auto done = bed.run(bed.deleting_tag("app", "v"));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::ambiguous);
  EXPECT_GE(bed.clock.monotonic() - began, settle_within) << "as long as another leader may take";
  EXPECT_LT(bed.clock.monotonic() - began, settle_within + 2 * max_backoff);
}

// etcd carries out some transactions that it answers so (its quota is crossed between its two looks).
TEST(Submit, AFullStoreThatTookTheCommitAllTheSameIsBelievedByWhatItShows) {
  Meddled bed;
  bed.meddler.acts = {Meddler::Act::say_full_after};
  const auto done = bed.run(bed.deleting_tag("app", "v"));
  ASSERT_TRUE(done) << describe(done.error());
  EXPECT_EQ(bed.meddler.commits, 1);
  EXPECT_FALSE(bed.now().tag(name("app"), tag("v")).value());
}

TEST(Submit, AFullStoreIsSaidToBeFull) {
  Meddled bed;
  bed.meddler.acts = {Meddler::Act::say_full};
  const auto done = bed.run(bed.deleting_tag("app", "v"));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::out_of_space);
  EXPECT_TRUE(bed.now().tag(name("app"), tag("v")).value());
}

TEST(Catalog, KnowsTheNewestTickAfterARestart) {
  Bed bed;
  bed.tick(3);
  EXPECT_EQ(bed.catalog->newest_tick(), 4u);
  bed.close();
  bed.open();
  EXPECT_EQ(bed.catalog->newest_tick(), 4u);
}

TEST(Catalog, AnAcknowledgedPushSurvivesAPowerCut) {
  Bed bed;
  bed.link("app", "layer");
  bed.put("app", "m", image({"layer"}), {"v"});
  bed.catalog.reset();
  bed.disk.crash();
  bed.close();
  bed.open();
  EXPECT_TRUE(bed.now().tag(name("app"), tag("v")).value());
  EXPECT_TRUE(bed.now().blob(name("app"), digest("layer")).value()->held);
}

}  // namespace
}  // namespace hansa::catalog
