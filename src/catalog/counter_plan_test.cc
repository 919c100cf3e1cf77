// Counters of pulls as rows of the commit table: batches, and what folds them.
#include "catalog/counter_plan.h"

#include <gtest/gtest.h>

#include "catalog/bed_test.h"

namespace hansa::catalog {
namespace {

using testing::Bed;
using testing::digest;
using testing::name;

class CounterPlan : public ::testing::Test {
 protected:
  CounterPlan() { lead(); }
  // Takes the leadership (again, as another node would).
  void lead() {
    for (const bool remove : {true, false}) {
      bed.must([remove](const Planning& p) -> Result<Plan> {
        meta::Commit commit{p.operation, {}, {}, {}};
        if (remove) {
          commit.deletes.emplace_back("task/pulls");
        } else {
          commit.puts.push_back({"task/pulls", encode_mark(p.operation), 0});
        }
        return Plan{std::move(commit), std::nullopt};
      });
    }
    task = {"task/pulls", bed.now().get("task/pulls").value()->create};
  }
  static PullBatchRecord counts(const std::string& repository, std::uint64_t pulls, std::int64_t last = 7) {
    PullsOf pending;
    add_pulls(pending, repository, digest("m").text(), "v1", {pulls, last});
    return take_batch(pending);
  }
  Planner putting(const std::string& node, const std::string& batch, const PullBatchRecord& record) const {
    return [=](const Planning& p) { return plan_pulls(p, node, batch, record); };
  }
  Planner folding() const {
    return [t = task](const Planning& p) { return plan_fold(p, t); };
  }
  bool changes(Planner planner) { return bed.submit(std::move(planner)).value().changed; }
  void fold_all() {
    int folds = 0;
    while (changes(folding())) ASSERT_LT(++folds, 1000);
  }
  Plan planned(const Planner& planner) {
    auto view = bed.now();
    return planner(Planning{view, "planned", {}}).value();
  }
  std::uint64_t pulls(const std::string& repository) {
    const auto stats = bed.now().stats(name(repository)).value();
    return stats ? stats->record.pulls : 0;
  }

  Bed bed;
  TaskHold task;
};

TEST_F(CounterPlan, BatchesOfSeveralNodesAddUpAndGo) {
  bed.must(putting("n1", "b1", counts("app", 3, 10)));
  bed.must(putting("n2", "b1", counts("app", 4, 5)));
  bed.must(putting("n2", "b2", counts("other", 1)));
  fold_all();
  const auto stats = bed.now().stats(name("app")).value();
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->record.pulls, 7U) << "a pull by tag is one pull";
  EXPECT_EQ(stats->record.last_ms, 10);
  EXPECT_EQ(stats->record.entries.at(":v1").pulls, 7U);
  EXPECT_EQ(stats->record.entries.at(digest("m").text()).pulls, 7U);
  EXPECT_EQ(pulls("other"), 1U);
  EXPECT_TRUE(bed.now().pull_batches(10)->empty());
}

TEST_F(CounterPlan, ABatchIsPutOnceBeforeAndAfterItsFold) {
  EXPECT_TRUE(changes(putting("n1", "b1", counts("app", 3))));
  EXPECT_FALSE(changes(putting("n1", "b1", counts("app", 3))));
  fold_all();
  EXPECT_FALSE(changes(putting("n1", "b1", counts("app", 3))));
  EXPECT_TRUE(changes(putting("n1", "b2", counts("app", 1))));
  fold_all();
  EXPECT_EQ(pulls("app"), 4U);
}

// The first attempt was unknown, the second was folded, and now the first arrives.
TEST_F(CounterPlan, ALateAttemptConflicts) {
  const Plan first = planned(putting("n1", "b1", counts("app", 3)));
  bed.must(putting("n1", "b1", counts("app", 3)));
  EXPECT_TRUE(bed.conflicts(first));
  fold_all();
  EXPECT_TRUE(bed.conflicts(first));
  EXPECT_EQ(pulls("app"), 3U);
}

TEST_F(CounterPlan, TheSameFoldTwiceAndTheFoldOfAFormerLeaderConflict) {
  bed.must(putting("n1", "b1", counts("app", 3)));
  const Plan fold = planned(folding());
  const Plan former = planned(folding());
  EXPECT_FALSE(bed.conflicts(fold));
  EXPECT_TRUE(bed.conflicts(fold));
  bed.must(putting("n1", "b2", counts("app", 1)));
  const Plan of_a_former_leader = planned(folding());
  lead();
  EXPECT_TRUE(bed.conflicts(of_a_former_leader));
  EXPECT_TRUE(bed.conflicts(former));
  fold_all();
  EXPECT_EQ(pulls("app"), 4U);
}

// The widest that nodes can put: many repositories, with the longest digests and tags; folds fit their commits.
TEST_F(CounterPlan, WideBatchesFoldInPartsAndLoseNothing) {
  PullsOf pending;
  std::uint64_t total = 0;
  for (int repository = 0; repository < 300; ++repository) {
    for (int manifest = 0; manifest < 20; ++manifest) {
      const auto id = oci::Digest::compute(oci::Algorithm::sha512, as_bytes(std::to_string(manifest)));
      add_pulls(pending, "r" + std::to_string(repository), id.text(), std::string(120, 't') + std::to_string(manifest),
                {2, 1'700'000'000'000});
      total += 2;
    }
  }
  int batches = 0;
  while (!pending.empty()) {
    const PullBatchRecord record = take_batch(pending);
    EXPECT_LE(encode(record).size(), max_batch_bytes);
    bed.must(putting("n" + std::to_string(batches % 7), "b" + std::to_string(batches), record));
    ++batches;
  }
  EXPECT_GT(batches, 20);
  fold_all();
  std::uint64_t counted = 0;
  for (int repository = 0; repository < 300; ++repository) counted += pulls("r" + std::to_string(repository));
  EXPECT_EQ(counted, total);
}

TEST_F(CounterPlan, OneBatchOverManyRepositoriesKeepsTheRest) {
  PullsOf pending;
  for (int i = 0; i < 200; ++i) add_pulls(pending, "r" + std::to_string(i), digest("m").text(), "", {1, 1});
  bed.must(putting("n1", "b1", take_batch(pending)));
  ASSERT_TRUE(pending.empty());
  ASSERT_TRUE(changes(folding()));
  ASSERT_EQ(bed.now().pull_batches(10)->size(), 1U);
  EXPECT_FALSE(changes(putting("n1", "b1", counts("r0", 1)))) << "what is left of it is the same batch";
  fold_all();
  for (int i = 0; i < 200; ++i) EXPECT_EQ(pulls("r" + std::to_string(i)), 1U) << i;
}

TEST_F(CounterPlan, TheEntriesPulledLongestAgoGoFirstAndTheTotalStays) {
  std::int64_t now = 0;
  for (int batch = 0; batch < 3; ++batch) {
    PullsOf pending;
    for (int i = 0; i < 400; ++i) {
      add_pulls(pending, "app", digest(std::to_string(batch * 400 + i)).text(), "", {1, ++now});
    }
    bed.must(putting("n1", "b" + std::to_string(batch), take_batch(pending)));
    ASSERT_TRUE(pending.empty());
  }
  fold_all();
  const auto stats = bed.now().stats(name("app")).value();
  EXPECT_EQ(stats->record.pulls, 1200U);
  EXPECT_EQ(stats->record.entries.size(), max_stats_entries);
  EXPECT_FALSE(stats->record.entries.contains(digest("399").text()));
  EXPECT_TRUE(stats->record.entries.contains(digest("400").text()));
}

TEST_F(CounterPlan, OnlyTheNewestFoldedBatchesAreRemembered) {
  for (std::size_t i = 0; i < max_folded + 5; ++i) {
    bed.must(putting("n1", "b" + std::to_string(i), counts("app", 1)));
    fold_all();
  }
  const auto folded = bed.now().folded("n1").value();
  EXPECT_EQ(folded->record.batches.size(), max_folded);
  EXPECT_EQ(folded->record.batches.back(), "b" + std::to_string(max_folded + 4));
}

}  // namespace
}  // namespace hansa::catalog
