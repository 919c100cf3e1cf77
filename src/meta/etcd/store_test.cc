// etcd::Store against an etcd that misbehaves, in a simulated world.
#include "meta/etcd/store.h"

#include <gtest/gtest.h>

#include "sim/ports/clock.h"
#include "sim/ports/disk.h"
#include "sim/ports/etcd_model.h"

namespace hansa::meta::etcd::testing {
namespace {

using namespace std::chrono_literals;
using sim::TxnFate;

class EtcdStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(disk_.make_directories("/data")); }
  void TearDown() override { stop(); }

  void open() {
    StoreOptions options;
    options.endpoints = {endpoint("one"), endpoint("two")};
    options.view.path = "/data/view.db";
    options.view.full_sync = false;
    options.own_thread = false;
    store_ = Store::open(disk_, clock_, random_, log_, executor_, etcd_.channels(), options, {}).value();
  }
  void start() {
    open();
    ASSERT_TRUE(run(store_->ready()));
  }
  void stop() {
    if (!store_) return;
    sim::run(world_, executor_, store_->close());
    store_.reset();
  }
  template <class T>
  T run(io::Task<T> task) {
    return sim::run(world_, executor_, std::move(task));
  }
  Result<CommitOutcome> put(std::string key, std::string value) {
    return run(store_->commit(
        {.operation = random_.hex(8), .compares = {}, .puts = {{std::move(key), std::move(value)}}, .deletes = {}}));
  }
  Revision committed(std::string key, std::string value) {
    const auto outcome = put(std::move(key), std::move(value));
    EXPECT_TRUE(outcome && outcome->status == CommitStatus::committed);
    return outcome ? outcome->revision : 0;
  }
  // Passes a barrier, as often as it takes while the view is loaded anew.
  void pass() {
    for (int tries = 0; tries < 40; ++tries) {
      if (run(store_->barrier())) return;
      world_.run_for(100ms);
    }
    FAIL() << "no barrier passes";
  }
  std::string get(std::string_view key) {
    auto record = store_->snapshot().value()->get(key).value();
    return record ? record->value : "absent";
  }
  // The view shows exactly what etcd has below the prefix.
  void expect_truth() {
    auto all = store_->snapshot().value()->range("", "", 10'000).value();
    std::map<std::string, std::pair<std::string, Revision>> view;
    std::map<std::string, std::pair<std::string, Revision>> truth;
    for (const auto& record : all) view["hansa/" + record.key] = {record.value, record.mod};
    for (const auto& [key, record] : etcd_.state().keys) {
      if (key.starts_with("hansa/")) truth[key] = {record.value, record.mod};
    }
    EXPECT_EQ(view, truth);
  }
  static ChannelSettings endpoint(std::string name) {
    return {.endpoint = std::move(name), .tls = {}, .user = {}, .password = {}};
  }

  sim::World world_{{.seed = 31}};
  sim::SimExecutor executor_{world_, "node"};
  sim::SimClock clock_{world_, "node"};
  sim::SimDisk disk_{world_, "node"};
  sim::SimRandom random_{31};
  NullLogger log_;
  sim::EtcdModel etcd_{world_};
  std::unique_ptr<Store> store_;
};

TEST_F(EtcdStoreTest, AStoreThatWentBackAndThenPastTheViewWhileItWasAwayIsFoundAndAlarmed) {
  start();
  committed("a", "kept");
  const auto backup = etcd_.save();
  committed("b", "of the lost time");
  stop();
  etcd_.restore(backup);
  // Another member goes on from the backup, to the very head version that this view has and further.
  auto forked = etcd_.channels()(endpoint("one")).value();
  for (int i = 0; i < 3; ++i) {
    TxnRequest request;
    request.success.push_back({TxnOperation::Kind::put, "hansa/c", "of the new time", 0});
    request.success.push_back({TxnOperation::Kind::put, "hansa/head", head_value("fork" + std::to_string(i), 1), 0});
    ASSERT_TRUE(run(forked->txn(std::move(request), 1s))->succeeded);
  }
  start();
  EXPECT_EQ(store_->health().alarm, "rewound");
  EXPECT_EQ(get("b"), "absent");
  EXPECT_EQ(get("c"), "of the new time");
  expect_truth();
}

TEST_F(EtcdStoreTest, NoBarrierPassesOnAViewThatIsAheadOfARestoredStoreAtStart) {
  start();
  committed("a", "kept");
  const auto backup = etcd_.save();
  for (int i = 0; i < 4; ++i) committed("b", "lost" + std::to_string(i));
  stop();
  etcd_.restore(backup);
  start();
  EXPECT_EQ(get("b"), "absent") << "the first barrier that passes is of the store as it is";
  EXPECT_EQ(store_->health().alarm, "rewound");
  store_->clear_alarm();
  EXPECT_EQ(store_->health().alarm, "");
}

TEST_F(EtcdStoreTest, ListenersHearThatWhatARestoreTookAwayIsGone) {
  start();
  committed("a", "kept");
  const auto backup = etcd_.save();
  committed("b", "lost");
  std::map<std::string, std::string> heard;
  const auto listener = [&heard](const ChangeSet& changes) {
    for (const auto& change : changes.changes) heard[change.now.key] = change.deleted ? "gone" : change.now.value;
  };
  const auto following = store_->follow(store_->snapshot().value()->revision(), listener).value();
  etcd_.restore(backup);
  pass();
  EXPECT_EQ(store_->health().alarm, "rewound");
  EXPECT_EQ(heard["b"], "gone");
  EXPECT_EQ(heard["a"], "kept");
  expect_truth();
}

TEST_F(EtcdStoreTest, AServerThatIsTooOldEndsReadyWithAClearError) {
  etcd_.version = "3.3.27";
  open();
  const auto ready = run(store_->ready());
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().code, ErrorCode::unsupported);
}

TEST_F(EtcdStoreTest, TheNewestEventLostIsFetchedAgainThoughNothingFollowsIt) {
  start();
  committed("a", "1");
  etcd_.lose(etcd_.state().revision + 1);
  EXPECT_EQ(put("a", "2")->status, CommitStatus::committed) << "the view lags, the commit stands";
  pass();
  EXPECT_EQ(get("a"), "2");
}

TEST_F(EtcdStoreTest, AnEventLostInBetweenIsNoticedAtTheNextHead) {
  start();
  committed("a", "1");
  etcd_.lose(etcd_.state().revision + 1);
  (void)put("a", "2");
  (void)put("b", "3");
  pass();
  expect_truth();
  EXPECT_EQ(store_->health().resyncs, 1U);
}

// A revision without head, of a lease's end, moves the view past the one that was lost.
TEST_F(EtcdStoreTest, AnEventLostBeforeTheEndOfALeaseIsNoStoreThatWentBack) {
  start();
  auto lease = run(store_->lease(3s)).value();
  (void)run(
      store_->commit({.operation = "op", .compares = {}, .puts = {{"alive/x", "1", lease->id()}}, .deletes = {}}));
  etcd_.lose(etcd_.state().revision + 1);
  (void)put("a", "lost");
  lease.reset();
  world_.run_for(1s);
  etcd_.break_watches();
  world_.run_for(5s);
  pass();
  expect_truth();
  EXPECT_EQ(get("a"), "lost");
  EXPECT_EQ(store_->health().alarm, "");
  EXPECT_EQ(store_->health().resyncs, 1U);
}

TEST_F(EtcdStoreTest, TheLostEndOfALeaseIsFoundByLooking) {
  start();
  auto lease = run(store_->lease(3s)).value();
  (void)run(
      store_->commit({.operation = "op", .compares = {}, .puts = {{"alive/x", "1", lease->id()}}, .deletes = {}}));
  etcd_.set_warts({.lost_end = 1000});
  lease.reset();
  world_.run_for(1s);
  EXPECT_EQ(get("alive/x"), "1") << "nothing tells the view";
  world_.run_for(10s);
  pass();
  expect_truth();
  EXPECT_EQ(store_->health().resyncs, 1U);
  EXPECT_EQ(store_->health().alarm, "");
}

TEST_F(EtcdStoreTest, LeasedKeysThatLiveAreNoReasonToLoadAnything) {
  start();
  auto lease = run(store_->lease(3s)).value();
  for (int i = 0; i < 30; ++i) {
    (void)run(store_->commit(
        {.operation = "op", .compares = {}, .puts = {{"alive/x", std::to_string(i), lease->id()}}, .deletes = {}}));
    world_.run_for(2s);
  }
  EXPECT_EQ(store_->health().resyncs, 0U);
}

TEST_F(EtcdStoreTest, AViewWhoseHistoryWasCompactedWhileItWasAwayIsLoadedAnew) {
  start();
  committed("a", "1");
  stop();
  auto other = etcd_.channels()(endpoint("one")).value();
  TxnRequest request;
  request.success.push_back({TxnOperation::Kind::remove, "hansa/a", {}, 0});
  request.success.push_back({TxnOperation::Kind::put, "hansa/z", "2", 0});
  request.success.push_back({TxnOperation::Kind::put, "hansa/head", head_value("other", 2), 0});
  ASSERT_TRUE(run(other->txn(std::move(request), 1s))->succeeded);
  etcd_.compact(etcd_.state().revision);
  start();
  expect_truth();
  EXPECT_EQ(store_->health().alarm, "") << "compaction is nothing to alarm about";
}

TEST_F(EtcdStoreTest, AForeignWriterRaisesTheAlarmAndIsShownAsTheTruth) {
  start();
  committed("a", "1");
  etcd_.put_foreign("elsewhere/x", "not ours");
  etcd_.put_foreign("hansa/a", "foreign");
  world_.run_for(1s);
  EXPECT_EQ(store_->health().alarm, "foreign");
  EXPECT_EQ(get("a"), "foreign");
}

TEST_F(EtcdStoreTest, EventsThatTravelBackInTimeChangeNothing) {
  start();
  committed("a", "1");
  committed("a", "2");
  etcd_.repeat_all();
  committed("b", "3");
  pass();
  expect_truth();
  EXPECT_EQ(store_->health().resyncs, 0U);
}

TEST_F(EtcdStoreTest, CommitsThatMayHaveHappenedAreUnknownAndNeverSentTwice) {
  start();
  etcd_.next_txn(TxnFate::unknown_applied);
  EXPECT_EQ(put("a", "1")->status, CommitStatus::unknown);
  etcd_.next_txn(TxnFate::unknown_lost);
  EXPECT_EQ(put("b", "1")->status, CommitStatus::unknown);
  pass();
  EXPECT_EQ(get("a"), "1");
  EXPECT_EQ(get("b"), "absent");
  EXPECT_EQ(etcd_.state().keys.at("hansa/a").version, 1U);
}

TEST_F(EtcdStoreTest, AnotherEndpointServesWhenOneIsCutOff) {
  start();
  etcd_.set_away({"one"});
  committed("a", "1");
  pass();
  etcd_.set_away({"two"});
  committed("a", "2");
  pass();
  EXPECT_EQ(get("a"), "2");
}

TEST_F(EtcdStoreTest, AnOutageFailsWithinItsTimesAndEndsSoonAfterEtcdIsBack) {
  start();
  etcd_.set_available(false);
  auto before = world_.now();
  EXPECT_EQ(run(store_->barrier()).error().code, ErrorCode::unavailable);
  EXPECT_LE(world_.now() - before, 4s);
  before = world_.now();
  EXPECT_EQ(run(store_->barrier()).error().code, ErrorCode::unavailable);
  EXPECT_EQ(put("a", "1").error().code, ErrorCode::unavailable) << "nothing happened";
  EXPECT_LE(world_.now() - before, 2s);
  etcd_.set_available(true);
  before = world_.now();
  pass();
  committed("a", "1");
  EXPECT_LE(world_.now() - before, 2s);
}

TEST_F(EtcdStoreTest, AHundredBarriersAtOnceMakeFewReads) {
  start();
  const auto reads = etcd_.head_reads();
  std::map<std::uint64_t, int> passed;  // by the number of their round
  {
    io::TaskScope scope(executor_);
    auto one = [](MetadataStore* store, std::map<std::uint64_t, int>* rounds) -> io::Task<void> {
      const auto fence = co_await store->barrier();
      if (fence) ++(*rounds)[fence->round];
    };
    for (int i = 0; i < 100; ++i) scope.spawn("barrier", one(store_.get(), &passed));
    ASSERT_TRUE(world_.run_until([&] { return scope.running() == 0; }));
  }
  const auto used = etcd_.head_reads() - reads;
  EXPECT_LE(used, 3U);
  int together = 0;
  for (const auto& [round, count] : passed) together += count;
  EXPECT_EQ(together, 100);
  EXPECT_LE(passed.size(), used) << "who is answered by one read may share what is read then";
  EXPECT_FALSE(passed.contains(0));
  const auto later = run(store_->barrier());
  ASSERT_TRUE(later);
  EXPECT_FALSE(passed.contains(later->round)) << "who came later shares nothing with them";
}

TEST_F(EtcdStoreTest, WhoAsksAgainAtOnceIsServedTogetherWithAllOthersThoughReadsAreSlow) {
  constexpr int readers = 50;
  constexpr int times = 40;
  start();
  etcd_.set_warts({.least_delay = 3ms, .most_delay = 4ms});
  const auto reads = etcd_.head_reads();
  {
    io::TaskScope scope(executor_);
    auto reader = [](MetadataStore* store, io::Duration first) -> io::Task<void> {
      auto slept = co_await io::sleep_for(first);
      for (int i = 0; slept && i < times; ++i) {
        auto passed = co_await store->barrier();
        EXPECT_TRUE(passed);
        slept = co_await io::sleep_for(100us);
      }
    };
    // They begin while reads are under way.
    for (int i = 0; i < readers; ++i) scope.spawn("reader", reader(store_.get(), i * 300us));
    ASSERT_TRUE(world_.run_until([&] { return scope.running() == 0; }));
  }
  EXPECT_LE(etcd_.head_reads() - reads, times + times / 4);
}

TEST_F(EtcdStoreTest, NoMoreBarriersWaitThanMayAlsoWhileEtcdIsAway) {
  start();
  etcd_.set_available(false);
  EXPECT_FALSE(run(store_->barrier()));
  std::map<ErrorCode, int> codes;
  const auto before = world_.now();
  {
    io::TaskScope scope(executor_);
    auto one = [](MetadataStore* store, std::map<ErrorCode, int>* seen) -> io::Task<void> {
      auto passed = co_await store->barrier();
      if (!passed) ++(*seen)[passed.error().code];
    };
    for (int i = 0; i < 2100; ++i) scope.spawn("barrier", one(store_.get(), &codes));
    ASSERT_TRUE(world_.run_until([&] { return scope.running() == 0; }));
  }
  EXPECT_EQ(codes[ErrorCode::too_many], 100);
  EXPECT_EQ(codes[ErrorCode::unavailable], 2000);
  EXPECT_LE(world_.now() - before, 1s);
}

// A put each would fill the quota of a busy cluster within hours.
TEST_F(EtcdStoreTest, WhereReadsCanBeStaleTheBarrierGoesThroughTheLogAndChangesNothing) {
  etcd_.version = "3.4.23";
  start();
  committed("a", "1");
  const Revision before = etcd_.state().revision;
  const auto reads = etcd_.head_reads();
  pass();
  EXPECT_TRUE(store_->health().barrier_by_log);
  EXPECT_EQ(etcd_.head_reads(), reads) << "a read could be stale";
  EXPECT_EQ(etcd_.state().revision, before);
  etcd_.no_space = true;
  pass();
  expect_truth();
  EXPECT_EQ(store_->health().resyncs, 0U);
}

// The read after a fail-over went by what the endpoint before had said of its version.
TEST_F(EtcdStoreTest, AMemberOfAnOlderVersionIsNotTrustedAfterAFailOver) {
  etcd_.versions["two"] = "3.5.16";
  start();
  committed("a", "1");
  pass();
  const auto reads = etcd_.head_reads();
  etcd_.set_away({"one"});
  pass();
  EXPECT_EQ(etcd_.head_reads(), reads);
  world_.run_for(10s);
  EXPECT_TRUE(store_->health().barrier_by_log);
  etcd_.heal();
}

TEST_F(EtcdStoreTest, NearTheQuotaWhatGrowsIsRefusedAndRemovalsGoOn) {
  start();
  committed("a", "1");
  etcd_.db_size = 2ULL * 1024 * 1024 * 1024;
  world_.run_for(10s);
  EXPECT_EQ(put("b", "1").error().code, ErrorCode::out_of_space);
  committed("tick", "1");
  const auto removed = run(store_->commit({.operation = "op", .compares = {}, .puts = {}, .deletes = {"a"}}));
  EXPECT_EQ(removed->status, CommitStatus::committed);
  etcd_.db_size = 0;
  world_.run_for(10s);
  etcd_.no_space = true;
  EXPECT_EQ(put("b", "1").error().code, ErrorCode::out_of_space) << "etcd's own word";
}

TEST_F(EtcdStoreTest, ALeaseOutlivesAnEndpointThatFallsSilent) {
  start();
  auto lease = run(store_->lease(2s)).value();
  world_.run_for(1s);
  etcd_.pause("one");
  for (int i = 0; i < 60; ++i) {
    world_.run_for(100ms);
    ASSERT_TRUE(lease->alive()) << i;
  }
  etcd_.resume("one");
}

TEST_F(EtcdStoreTest, ALeaseWithoutAnAnswerForItsTtlIsNotAlive) {
  start();
  auto lease = run(store_->lease(3s)).value();
  world_.run_for(10s);
  EXPECT_TRUE(lease->alive());
  etcd_.set_available(false);
  world_.run_for(3s);
  EXPECT_FALSE(lease->alive());
}

// What is drawn may happen in any order.
class EtcdStoreSeeds : public EtcdStoreTest, public ::testing::WithParamInterface<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Drawn, EtcdStoreSeeds, ::testing::Range<std::uint64_t>(1, 41));

TEST_P(EtcdStoreSeeds, WhateverHappensTheViewShowsTheTruthAfterABarrier) {
  sim::SimRandom draw(GetParam());
  if (draw.one_in(3)) etcd_.version = "3.4.23";
  constexpr int rounds = 400;
  start();
  for (int i = 0; i < rounds; ++i) {
    const std::string key = "k/" + std::to_string(draw.below(12));
    switch (draw.below(13)) {
      case 12: etcd_.repeat_all(); break;
      case 0: etcd_.lose(etcd_.state().revision + 1 + draw.below(2)); break;
      case 1: etcd_.break_watches(); break;
      case 2: etcd_.next_txn(draw.one_in(2) ? TxnFate::unknown_applied : TxnFate::unknown_lost); break;
      case 3: etcd_.compact(etcd_.state().revision); break;
      case 4: etcd_.set_away({draw.one_in(2) ? "one" : "two"}); break;
      case 5: etcd_.put_foreign("elsewhere/x", "x"); break;
      case 6:
        if (draw.one_in(5)) {
          stop();
          open();
        }
        break;
      case 7:
        (void)run(store_->commit({.operation = random_.hex(8), .compares = {}, .puts = {}, .deletes = {key}}));
        break;
      default: (void)put(key, std::to_string(i)); break;
    }
    if (!draw.one_in(8)) continue;
    pass();
    expect_truth();
  }
  EXPECT_EQ(store_->health().alarm, "");
}

// All warts at once, a drawn share of each. A commit that was acknowledged is in the truth, and what the view shows
// after a barrier is no older than what was acknowledged before.
TEST_P(EtcdStoreSeeds, WithWartsOfEveryKindNothingAcknowledgedIsMissingAfterABarrier) {
  sim::SimRandom draw(GetParam() + 1000);
  if (draw.one_in(3)) etcd_.version = "3.4.23";
  start();
  etcd_.set_warts(sim::draw_warts(draw));
  std::map<std::string, Revision> acknowledged;
  for (int i = 0; i < 150; ++i) {
    const std::string key = "k/" + std::to_string(draw.below(6));
    const auto outcome = put(key, std::to_string(i));
    if (outcome && outcome->status == CommitStatus::committed) acknowledged[key] = outcome->revision;
    if (!draw.one_in(4) || !run(store_->barrier())) continue;
    const auto view = store_->snapshot();
    if (!view) continue;  // loaded anew at this moment
    for (const auto& [name, revision] : acknowledged) {
      const auto record = (*view)->get(name).value();
      EXPECT_TRUE(record && record->mod >= revision) << name;
    }
  }
  etcd_.set_warts({});
  etcd_.heal();
  world_.run_for(10s);
  pass();
  expect_truth();
  EXPECT_EQ(store_->health().alarm, "");
}

}  // namespace
}  // namespace hansa::meta::etcd::testing
