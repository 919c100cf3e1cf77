// Counters of two nodes over a metadata store that refuses, forgets to answer and acts late: every batch counts once.
#include "upkeep/counters.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "catalog/bed_test.h"
#include "io/wait.h"
#include "meta/sqlite/replica.h"
#include "sim/ports/meta_store.h"

namespace hansa::upkeep {
namespace {

using catalog::testing::digest;
using catalog::testing::name;
using catalog::testing::tag;

// The shared store as a node sees it: reads from a view of its own, which lags.
class Followed final : public meta::MetadataStore {
 public:
  Followed(sim::SimMetaStore& truth, meta::sqlite::Replica& replica) : truth_(truth), replica_(replica) {
    const auto apply = [&replica](const meta::ChangeSet& changes) {
      EXPECT_TRUE(replica.apply(std::span(&changes, 1)));
    };
    feed_ = truth.follow(replica.position().revision, apply).value();
  }
  Result<std::unique_ptr<meta::Snapshot>> snapshot() override {
    HANSA_TRY(auto read, replica_.read());
    return std::unique_ptr<meta::Snapshot>(std::move(read));
  }
  io::Task<Result<meta::Fence>> barrier() override {
    HANSA_CO_TRY(const auto fence, co_await truth_.barrier());
    HANSA_CO_CHECK(co_await shows(fence.revision));
    co_return fence;
  }
  io::Task<Result<meta::CommitOutcome>> commit(meta::Commit commit) override {
    HANSA_CO_TRY(const auto outcome, co_await truth_.commit(std::move(commit)));
    if (outcome.status == meta::CommitStatus::committed) HANSA_CO_CHECK(co_await shows(outcome.revision));
    co_return outcome;
  }
  Result<std::unique_ptr<meta::Subscription>> follow(meta::Revision from,
                                                     std::function<void(const meta::ChangeSet&)> listener) override {
    return truth_.follow(from, std::move(listener));
  }
  io::Task<Result<std::unique_ptr<meta::Lease>>> lease(io::Duration ttl) override { return truth_.lease(ttl); }

 private:
  io::Task<Result<void>> shows(meta::Revision revision) {
    while (replica_.position().revision < revision) {
      HANSA_CO_CHECK(co_await io::sleep_for(std::chrono::milliseconds(1)));
    }
    co_return Result<void>{};
  }

  sim::SimMetaStore& truth_;
  meta::sqlite::Replica& replica_;
  std::unique_ptr<meta::Subscription> feed_;
};

// One process of a node.
struct Life {
  Life(sim::World& in, sim::SimMetaStore& truth, const std::string& node, int number)
      : world(in),
        executor(in, node),
        clock(in, node),
        disk(in, node),
        random(in.random(node + std::to_string(number))) {
    EXPECT_TRUE(disk.make_directories("/data"));
    meta::sqlite::DatabaseOptions options;
    options.path = "/data/view.db";
    options.full_sync = false;
    replica = meta::sqlite::Replica::open(disk, clock, log, options, {&view}).value();
    store = std::make_unique<Followed>(truth, *replica);
    catalog::Catalog::Read read = [this] { return replica->read(); };
    catalog = catalog::Catalog::open(*store, std::move(read), view, clock, random, log).value();
    counters = std::make_unique<Counters>(Counters::Ports{.store = *store,
                                                          .catalog = *catalog,
                                                          .clock = clock,
                                                          .log = log,
                                                          .node = node,
                                                          .boot = "boot" + std::to_string(number)});
    scope = std::make_unique<io::TaskScope>(executor);
    counters->run(*scope);
  }
  ~Life() { sim::run(world, executor, scope->close()); }
  void pull(const std::string& repository, const std::string& manifest) const {
    const auto version = tag("v1");
    counters->count_pull(name(repository), digest(manifest), &version);
  }

  sim::World& world;
  sim::SimExecutor executor;
  sim::SimClock clock;
  sim::SimDisk disk;
  sim::SimRandom random;
  NullLogger log;
  catalog::View view;
  std::unique_ptr<meta::sqlite::Replica> replica;
  std::unique_ptr<Followed> store;
  std::unique_ptr<catalog::Catalog> catalog;
  std::unique_ptr<Counters> counters;
  std::unique_ptr<io::TaskScope> scope;
};

std::uint64_t pulls_in(const catalog::PullBatchRecord& batch) {
  std::uint64_t pulls = 0;
  for (const auto& [repository, counts] : batch.repositories) {
    for (const auto& [reference, count] : counts) pulls += reference.starts_with(':') ? 0 : count.pulls;
  }
  return pulls;
}

struct CountersBed {
  explicit CountersBed(std::uint64_t seed) : world({.seed = seed, .order = sim::Order::between_executors}) {
    audit = truth
                .follow(0,
                        [this](const meta::ChangeSet& changes) {
                          for (const auto& change : changes.changes) look(change);
                        })
                .value();
  }
  void look(const meta::Change& change) {
    const auto& now = change.now;
    if (change.deleted || !now.key.starts_with("pulls/") || now.version != 1) return;
    EXPECT_TRUE(batches.insert(now.key).second) << now.key << " came into being twice";
    put += pulls_in(catalog::decode_pull_batch(now.value).value());
  }
  std::uint64_t folded() {
    auto view = truth.snapshot().value();
    std::uint64_t pulls = 0;
    for (const auto& entry : view->range("stats/", "", 10'000).value()) {
      pulls += catalog::decode_stats(entry.value).value().pulls;
    }
    return pulls;
  }
  std::size_t waiting() { return truth.snapshot().value()->range("pulls/", "", 10'000).value().size(); }
  Life& start(const std::string& node) {
    lives[node].reset();
    lives[node] = std::make_unique<Life>(world, truth, node, ++started);
    return *lives[node];
  }

  sim::World world;
  sim::SimMetaStore truth{world, "etcd"};
  std::unique_ptr<meta::Subscription> audit;
  std::set<std::string> batches;
  std::uint64_t put = 0;  // in all batches that ever came into being
  std::map<std::string, std::unique_ptr<Life>> lives;
  int started = 0;
};

TEST(Counters, PullsOfTwoNodesAddUp) {
  CountersBed bed(1);
  bed.start("n1");
  bed.start("n2");
  for (int i = 0; i < 5; ++i) bed.lives["n1"]->pull("app", "m");
  bed.lives["n2"]->pull("app", "m");
  bed.lives["n2"]->pull("other", "m");
  bed.world.run_for(std::chrono::seconds(30));
  EXPECT_EQ(bed.folded(), 7U);
  EXPECT_EQ(bed.waiting(), 0U);
  auto view = bed.lives["n1"]->catalog->snapshot().value();
  EXPECT_EQ(view.stats(name("app")).value()->record.entries.at(":v1").pulls, 6U);
  EXPECT_GT(view.stats(name("app")).value()->record.last_ms, 0);
}

TEST(Counters, WhereNothingIsPulledNothingIsCommitted) {
  CountersBed bed(2);
  bed.start("n1");
  bed.world.run_for(std::chrono::minutes(2));
  EXPECT_EQ(bed.truth.revision(), 0U);
  bed.lives["n1"]->pull("app", "m");
  bed.world.run_for(std::chrono::minutes(1));
  const auto revision = bed.truth.revision();
  EXPECT_GT(revision, 0U);
  bed.world.run_for(std::chrono::minutes(5));
  EXPECT_EQ(bed.truth.revision(), revision);
}

TEST(Counters, WhatIsCountedInAnOutageIsPutAfterIt) {
  CountersBed bed(3);
  bed.start("n1");
  bed.truth.set_available(false);
  for (int i = 0; i < 10; ++i) {
    bed.lives["n1"]->pull("app", "m" + std::to_string(i));
    bed.world.run_for(std::chrono::seconds(7));
  }
  EXPECT_EQ(bed.put, 0U);
  bed.truth.set_available(true);
  bed.world.run_for(std::chrono::seconds(60));
  EXPECT_EQ(bed.folded(), 10U);
}

TEST(Counters, ACommitWhoseOutcomeIsUnknownCountsOnce) {
  for (const auto fate : {sim::Fate::unknown_lost, sim::Fate::unknown_applied, sim::Fate::unknown_late}) {
    CountersBed bed(4);
    bed.start("n1");
    bed.lives["n1"]->pull("app", "m");
    for (int i = 0; i < 12; ++i) bed.truth.next_commit(fate);
    bed.world.run_for(std::chrono::minutes(5));
    EXPECT_EQ(bed.put, 1U);
    EXPECT_EQ(bed.folded(), 1U);
  }
}

// Random pulls, refusals, unknown and late commits; with crashes, what was never put is lost and nothing else.
void live(std::uint64_t seed, bool crashes) {
  CountersBed bed(seed);
  sim::SimRandom roll(seed, "test");
  bed.truth.set_faults({.unavailable = 60, .unknown_lost = 60, .unknown_applied = 60, .unknown_late = 60});
  const std::array<std::string, 2> nodes = {"n1", "n2"};
  for (const auto& node : nodes) bed.start(node);
  std::uint64_t counted = 0;
  for (int step = 0; step < 60; ++step) {
    const std::string& node = nodes[roll.below(2)];
    for (std::uint64_t i = roll.below(20); i > 0; --i) {
      bed.lives[node]->pull("r" + std::to_string(roll.below(4)), "m" + std::to_string(roll.below(5)));
      ++counted;
    }
    bed.world.run_for(std::chrono::milliseconds(roll.between(0, 4000)));
    if (crashes && roll.one_in(8)) bed.start(nodes[roll.below(2)]);
  }
  bed.truth.set_faults({});
  bed.world.run_for(std::chrono::minutes(3));
  EXPECT_EQ(bed.waiting(), 0U) << seed;
  EXPECT_EQ(bed.folded(), bed.put) << seed;
  if (crashes) {
    EXPECT_LE(bed.put, counted) << seed;
    EXPECT_GT(bed.put, counted / 2) << seed;
  } else {
    EXPECT_EQ(bed.put, counted) << seed;
  }
}

TEST(Counters, UnderFaultsEveryPullCountsOnce) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) live(seed, false);
}

TEST(Counters, UnderFaultsAndCrashesEveryBatchCountsOnce) {
  for (std::uint64_t seed = 101; seed <= 112; ++seed) live(seed, true);
}

TEST(Counters, MemoryIsBoundedAndWhatDoesNotFitIsNotCounted) {
  CountersBed bed(5);
  const Life& life = bed.start("n1");
  for (std::size_t i = 0; i < max_counted + 10; ++i) life.pull("r" + std::to_string(i), "m");
  EXPECT_EQ(life.counters->not_counted(), 10U);
  bed.world.run_for(std::chrono::minutes(2));
  EXPECT_EQ(bed.folded(), max_counted);
  life.pull("another", "m");
  EXPECT_EQ(life.counters->not_counted(), 10U) << "what is not pulled any more is forgotten";
}

TEST(Counters, ThreadsLoseNothing) {
  CountersBed bed(6);
  const Life& life = bed.start("n1");
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&life] {
        for (int pull = 0; pull < 5000; ++pull) life.pull("app", "m" + std::to_string(pull % 50));
      });
    }
  }
  bed.world.run_for(std::chrono::minutes(1));
  EXPECT_EQ(bed.folded(), 20'000U);
}

}  // namespace
}  // namespace hansa::upkeep
