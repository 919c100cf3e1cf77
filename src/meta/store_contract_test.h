// What every MetadataStore promises (meta/store.h): the contract suite. A test program includes this once and says on
// which beds it runs (INSTANTIATE_TEST_SUITE_P). Revisions and versions of head count from where a bed begins: etcd
// starts at 1, and its older versions write head for every barrier.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>

#include "meta/sqlite/testing/beds.h"

namespace hansa::meta::sqlite::testing {
namespace {  // one program, one copy

using ::testing::ElementsAre;
using Field = Compare::Field;

struct Kind {
  const char* name;
  std::unique_ptr<Bed> (*make)();
};
void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.name;
}

class MetaContract : public ::testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<Bed> bed_owner_ = GetParam().make();
  Bed& bed = *bed_owner_;
};
Commit puts(std::vector<Put> writes, std::vector<Compare> compares = {}) {
  return {.operation = "op", .compares = std::move(compares), .puts = std::move(writes), .deletes = {}};
}

std::vector<std::string> keys_of(const std::vector<KeyValue>& records) {
  std::vector<std::string> keys;
  for (const auto& record : records) keys.push_back(record.key);
  return keys;
}

TEST_P(MetaContract, APutCreatesAKeyAndLaterPutsKeepItsCreationAndCountVersions) {
  const Revision first = bed.put("a", "1");
  const Revision second = bed.put("a", "2");
  EXPECT_EQ(second, first + 1);
  const auto record = bed.get("a");
  ASSERT_TRUE(record);
  EXPECT_EQ(record->value, "2");
  EXPECT_EQ(record->create, first);
  EXPECT_EQ(record->mod, second);
  EXPECT_EQ(record->version, 2U);
}

TEST_P(MetaContract, AKeyThatWasDeletedAndMadeAgainIsANewOne) {
  const Revision first = bed.put("a", "1");
  bed.remove("a");
  EXPECT_FALSE(bed.get("a"));
  const Revision again = bed.put("a", "2");
  EXPECT_GT(again, first);
  EXPECT_EQ(bed.get("a")->create, again);
  EXPECT_EQ(bed.get("a")->version, 1U);
}

TEST_P(MetaContract, EveryCommitPutsHeadWithItsOperationAndTheNumberOfOtherChanges) {
  const std::uint64_t before = bed.head_version();
  bed.put("a", "1");
  bed.committed({.operation = "two", .compares = {}, .puts = {{"b", "2"}}, .deletes = {"a", "absent"}});
  const auto head = bed.get(head_key);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->value, R"({"op":"two","n":2})") << "the delete of an absent key is no change";
  EXPECT_EQ(head->version, before + 2U);
  EXPECT_EQ(head->mod, bed.get("b")->mod);
}

TEST_P(MetaContract, ACommitWhoseComparesFailChangesNothing) {
  const std::uint64_t before = bed.head_version();
  const Revision first = bed.put("a", "1");
  const Revision second = bed.put("a", "2");
  const std::vector<Compare> wrong = {{"a", first, Field::mod},     {"a", 0, Field::mod},
                                      {"a", second, Field::create}, {"b", first, Field::mod},
                                      {"b", first, Field::create},  {"a", second + 1, Field::mod},
                                      {"a", 0, Field::create}};
  for (const auto& compare : wrong) {
    // A compare that holds does not save one that does not.
    auto outcome = bed.commit(puts({{"a", "x"}, {"c", "x"}}, {{"b", 0, Field::mod}, compare}));
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->status, CommitStatus::conflict) << compare.key << " = " << compare.equals;
  }
  EXPECT_EQ(bed.get("a")->mod, second);
  EXPECT_FALSE(bed.get("c"));
  EXPECT_EQ(bed.head_version(), before + 2U) << "a conflict is no commit";
}

TEST_P(MetaContract, ACommitWhoseComparesHoldIsApplied) {
  const Revision first = bed.put("a", "1");
  const Revision second = bed.put("a", "2");
  const Revision third = bed.committed(
      puts({{"a", "3"}}, {{"a", second, Field::mod}, {"a", first, Field::create}, {"b", 0, Field::create}}));
  EXPECT_EQ(bed.get("a")->mod, third);
}

TEST_P(MetaContract, TheSameCommitTwiceIsAppliedOnce) {
  const Commit commit = puts({{"a", "1"}}, {{"a", 0, Field::mod}});
  bed.committed(commit);
  EXPECT_EQ(bed.commit(commit).value().status, CommitStatus::conflict);
  EXPECT_EQ(bed.get("a")->version, 1U);
}

TEST_P(MetaContract, RangesComeInByteOrderInPagesAndStayInsideTheirPrefix) {
  for (const auto* key : {"t/b", "t/a", "t", "t/", "u", "s/z", "t/a/b", "t0", "t/\xff", "t/\xff\xff"})
    bed.put(key, key);
  auto snapshot = bed.store().snapshot().value();
  EXPECT_THAT(keys_of(snapshot->range("t/", "", 100).value()),
              ElementsAre("t/", "t/a", "t/a/b", "t/b", "t/\xff", "t/\xff\xff"));
  EXPECT_THAT(keys_of(snapshot->range("t/", "", 2).value()), ElementsAre("t/", "t/a"));
  EXPECT_THAT(keys_of(snapshot->range("t/", "t/a", 2).value()), ElementsAre("t/a/b", "t/b"));
  EXPECT_THAT(keys_of(snapshot->range("t/", "t/aa", 2).value()), ElementsAre("t/b", "t/\xff"));
  EXPECT_THAT(keys_of(snapshot->range("t/", "a", 2).value()), ElementsAre("t/", "t/a")) << "`after` before the prefix";
  EXPECT_THAT(keys_of(snapshot->range("t/", "v", 2).value()), ElementsAre()) << "`after` past the prefix";
  EXPECT_THAT(keys_of(snapshot->range("t/\xff", "", 9).value()), ElementsAre("t/\xff", "t/\xff\xff"));
  EXPECT_THAT(keys_of(snapshot->range("x", "", 9).value()), ElementsAre());
  EXPECT_EQ(snapshot->range("", "", 1000).value().size(), 11U) << "an empty prefix is everything, head included";
  EXPECT_EQ(snapshot->range("t/", "", 0).value().size(), 0U);
}

TEST_P(MetaContract, ASnapshotShowsOneRevisionForAsLongAsItLives) {
  const Revision first = bed.put("a", "1");
  auto snapshot = bed.store().snapshot().value();
  bed.put("a", "2");
  bed.put("b", "2");
  EXPECT_EQ(snapshot->revision(), first);
  EXPECT_EQ(snapshot->get("a").value()->value, "1");
  EXPECT_EQ(snapshot->get("b").value(), nullptr);
  EXPECT_THAT(keys_of(snapshot->range("", "", 10).value()), ElementsAre("a", "head"));
  EXPECT_EQ(bed.store().snapshot().value()->revision(), first + 2);
}

TEST_P(MetaContract, ValuesOfAnyBytesAndSizesComeBackAsTheyWere) {
  const std::string large(max_commit_bytes - 1024, 'x');
  const std::string odd("\0\xff\n'\"", 5);
  bed.committed(puts({{"large", large}, {"empty", ""}, {odd, odd}}));
  EXPECT_EQ(bed.get("large")->value, large);
  EXPECT_EQ(bed.get("empty")->value, "");
  EXPECT_EQ(bed.get(odd)->value, odd);
  bed.put("large", "small now");
  EXPECT_EQ(bed.get("large")->value, "small now");
}

TEST_P(MetaContract, CommitsOverALimitAreRefusedAndChangeNothing) {
  const std::uint64_t before = bed.head_version();
  std::map<std::string, Commit> bad;
  bad["key written twice"] = puts({{"a", "1"}, {"a", "2"}});
  bad["key put and deleted"] = {.operation = "op", .compares = {}, .puts = {{"a", "1"}}, .deletes = {"a"}};
  bad["head put"] = puts({{"head", "1"}});
  bad["head deleted"] = {.operation = "op", .compares = {}, .puts = {}, .deletes = {"head"}};
  bad["empty key"] = puts({{"", "1"}});
  bad["long key"] = puts({{std::string(max_key_bytes + 1, 'k'), "1"}});
  bad["bytes"] = puts({{"a", std::string(max_commit_bytes, 'x')}});
  bad["no operation"] = {.operation = "", .compares = {}, .puts = {{"a", "1"}}, .deletes = {}};
  bad["operation that is no plain text"] = {.operation = "a\"b", .compares = {}, .puts = {{"a", "1"}}, .deletes = {}};
  for (std::size_t i = 0; i < max_compares + 1; ++i) bad["compares"].compares.push_back({"c" + std::to_string(i)});
  bad["compares"].operation = "op";
  for (std::size_t i = 0; i < max_writes; ++i) bad["writes"].deletes.push_back("d" + std::to_string(i));
  bad["writes"].operation = "op";
  for (const auto& [what, commit] : bad) {
    const auto outcome = bed.commit(commit);
    ASSERT_FALSE(outcome) << what;
    EXPECT_EQ(outcome.error().code, ErrorCode::invalid) << what;
  }
  EXPECT_EQ(bed.head_version(), before);
  bad["compares"].compares.pop_back();
  bad["writes"].deletes.pop_back();
  bed.committed(bad["compares"]);
  bed.committed(bad["writes"]);
  bed.put(std::string(max_key_bytes, 'k'), "1");
}

// ---- the feed ---------------------------------------------------------------------------------------------------

class Heard {
 public:
  std::function<void(const ChangeSet&)> listener() {
    return [this](const ChangeSet& changes) {
      const std::lock_guard guard(mutex_);
      all_.push_back(changes);
    };
  }
  std::vector<ChangeSet> all() const {
    const std::lock_guard guard(mutex_);
    return all_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<ChangeSet> all_;
};

TEST_P(MetaContract, AFollowerHearsEachRevisionOnceInOrderWithAllItsChanges) {
  const Revision begin = bed.begin();
  const std::uint64_t before = bed.head_version();
  const Revision from = bed.put("a", "1");
  Heard from_now;
  Heard from_start;
  const auto now = bed.store().follow(from, from_now.listener()).value();
  const auto start = bed.store().follow(begin, from_start.listener()).value();
  bed.committed({.operation = "two", .compares = {}, .puts = {{"z", "2"}, {"b", "2"}}, .deletes = {"a", "absent"}});
  bed.settle();
  ASSERT_GE(from_now.all().size(), 1U);
  const ChangeSet changes = from_now.all()[0];
  EXPECT_EQ(changes.revision, from + 1);
  std::vector<std::string> seen;
  for (const auto& change : changes.changes) {
    seen.push_back(change.now.key + (change.deleted ? " deleted" : "=" + change.now.value) + " v" +
                   std::to_string(change.now.version));
    EXPECT_EQ(change.now.mod, from + 1);
  }
  EXPECT_THAT(seen, ElementsAre("a deleted v0", "b=2 v1", R"(head={"op":"two","n":3} v)" + std::to_string(before + 2),
                                "z=2 v1"));
  ASSERT_GE(from_start.all().size(), 2U);
  EXPECT_EQ(from_start.all()[0].revision, from);
  EXPECT_EQ(from_start.all()[1].revision, from + 1);
}

TEST_P(MetaContract, FollowingFromARevisionThatIsNotThereIsARangeError) {
  const Revision now = bed.put("a", "1");
  Heard heard;
  const auto early = bed.store().follow(now + 1, heard.listener());
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, ErrorCode::range);
}

TEST_P(MetaContract, AnEndedSubscriptionHearsNothing) {
  Heard heard;
  bed.store().follow(bed.begin(), heard.listener()).value().reset();
  bed.put("a", "1");
  bed.settle();
  EXPECT_TRUE(heard.all().empty());
}

// ---- races ------------------------------------------------------------------------------------------------------

io::Task<void> commit_and_count(MetadataStore& store, Commit commit, std::atomic<int>& winners) {
  const auto outcome = co_await store.commit(std::move(commit));
  EXPECT_TRUE(outcome);
  if (outcome && outcome->status == CommitStatus::committed) ++winners;
}

TEST_P(MetaContract, OfManyCommitsWithTheSameCompareExactlyOneWins) {
  Revision mod = bed.put("a", "0");
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> winners = 0;
    std::vector<io::Task<void>> tasks;
    for (int i = 0; i < 12; ++i) {
      // Each writes a key of its own too: a loser leaves nothing.
      auto commit = puts({{"a", "x"}, {"by/" + std::to_string(round) + "/" + std::to_string(i), "x"}}, {{"a", mod}});
      tasks.push_back(commit_and_count(bed.store(), std::move(commit), winners));
    }
    bed.run_all(std::move(tasks));
    EXPECT_EQ(winners, 1);
    auto snapshot = bed.store().snapshot().value();
    EXPECT_EQ(snapshot->range("by/" + std::to_string(round) + "/", "", 100).value().size(), 1U);
    mod = bed.get("a")->mod;
  }
  EXPECT_EQ(bed.get("a")->version, 11U);
}

io::Task<void> count_up(MetadataStore& store, int times, std::mutex& mutex, std::set<Revision>& revisions) {
  for (int done = 0; done < times;) {
    const auto fence = co_await store.barrier();
    EXPECT_TRUE(fence);
    Commit commit;
    {
      auto record = store.snapshot().value()->get("counter").value();
      const int value = record ? std::stoi(record->value) : 0;
      commit = puts({{"counter", std::to_string(value + 1)}}, {{"counter", record ? record->mod : 0}});
    }
    const auto outcome = co_await store.commit(std::move(commit));
    if (!outcome || outcome->status != CommitStatus::committed) continue;
    const std::lock_guard guard(mutex);
    EXPECT_TRUE(revisions.insert(outcome->revision).second) << "each commit has a revision of its own";
    ++done;
  }
}

TEST_P(MetaContract, CountersThatManyRaiseLoseNothingAndFollowersMissNothing) {
  const Revision begin = bed.begin();
  const std::uint64_t before = bed.head_version();
  Heard heard;
  const auto following = bed.store().follow(begin, heard.listener()).value();
  std::mutex mutex;
  std::set<Revision> revisions;
  std::vector<io::Task<void>> tasks;
  for (int i = 0; i < 6; ++i) tasks.push_back(count_up(bed.store(), 30, mutex, revisions));
  bed.run_all(std::move(tasks));
  EXPECT_EQ(bed.get("counter")->value, "180");
  EXPECT_EQ(bed.get("counter")->version, 180U);
  EXPECT_EQ(bed.head_version(), before + 180U);
  bed.settle();
  Revision expected = begin;
  for (const auto& changes : heard.all()) EXPECT_EQ(changes.revision, ++expected);
  EXPECT_GE(expected, begin + 180U);
}

TEST_P(MetaContract, AfterABarrierASnapshotShowsWhatWasAcknowledgedBefore) {
  for (int i = 0; i < 20; ++i) {
    const Revision revision = bed.put("a", std::to_string(i));
    EXPECT_GE(bed.run(bed.store().barrier()).value().revision, revision);
    EXPECT_GE(bed.store().snapshot().value()->revision(), revision);
  }
}

// ---- leases -----------------------------------------------------------------------------------------------------

TEST_P(MetaContract, TheKeysOfALeaseGoWithItAndOtherKeysStay) {
  auto lease = bed.run(bed.store().lease(std::chrono::seconds(5))).value();
  auto other = bed.run(bed.store().lease(std::chrono::seconds(5))).value();
  EXPECT_TRUE(lease->alive());
  EXPECT_NE(lease->id(), other->id());
  for (int i = 0; i < 2; ++i) {
    std::vector<Put> writes;
    for (int j = 0; j < 100; ++j) {
      writes.push_back({"mine/" + std::to_string(i) + "/" + std::to_string(j), "x", lease->id()});
    }
    bed.committed(puts(writes));
  }
  bed.committed(puts({{"freed", "x", lease->id()}, {"theirs", "x", other->id()}}));
  bed.committed(puts({{"freed", "x"}}));  // a put without a lease takes the key from the lease
  const LeaseId dead = lease->id();
  lease.reset();
  bed.settle();
  EXPECT_FALSE(bed.get("mine/0/0"));
  EXPECT_EQ(bed.store().snapshot().value()->range("mine/", "", 1000).value().size(), 0U);
  EXPECT_TRUE(bed.get("theirs"));
  EXPECT_TRUE(bed.get("freed"));
  const auto late = bed.commit(puts({{"mine/late", "x", dead}}));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::invalid);
}

}  // namespace
}  // namespace hansa::meta::sqlite::testing
