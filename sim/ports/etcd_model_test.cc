// Each wart of the model of etcd, alone: a client sees it, and sees it go.
#include "sim/ports/etcd_model.h"

#include <gtest/gtest.h>

namespace hansa::sim {
namespace {

using namespace std::chrono_literals;
using meta::LeaseId;
using meta::Revision;
using meta::etcd::Channel;
using meta::etcd::RangeReply;
using meta::etcd::RangeRequest;
using meta::etcd::TxnCompare;
using meta::etcd::TxnOperation;
using meta::etcd::TxnReply;
using meta::etcd::TxnRequest;
using meta::etcd::Watch;
using meta::etcd::WatchReply;

constexpr unsigned always = 1000;

class EtcdModelTest : public ::testing::Test {
 protected:
  std::shared_ptr<Channel> channel(const std::string& client, const std::string& endpoint = "one") {
    return etcd_.channels(client)({.endpoint = endpoint, .tls = {}, .user = {}, .password = {}}).value();
  }
  template <class T>
  T run(io::Task<T> task) {
    return sim::run(world_, executor_, std::move(task));
  }
  static TxnRequest putting(const std::string& key, const std::string& value, LeaseId lease = 0) {
    TxnRequest request;
    request.success.push_back({.kind = TxnOperation::Kind::put, .key = key, .value = value, .lease = lease});
    return request;
  }
  Result<TxnReply> put(const std::string& key, const std::string& value, LeaseId lease = 0) {
    return run(channel_->txn(putting(key, value, lease), 1s));
  }
  Revision must_put(const std::string& key, const std::string& value, LeaseId lease = 0) {
    auto reply = put(key, value, lease);
    EXPECT_TRUE(reply && reply->succeeded);
    return reply ? reply->header.revision : 0;
  }
  Result<RangeReply> read(const std::string& key, bool serializable = false, Revision at = 0) {
    return run(channel_->range({.key = key, .end = {}, .revision = at, .serializable = serializable}, 1s));
  }
  // The value, "absent", or the error.
  std::string get(const std::string& key, bool serializable = false) {
    auto reply = read(key, serializable);
    if (!reply) return std::string(to_string(reply.error().code));
    return reply->values.empty() ? "absent" : reply->values.front().value;
  }
  template <class T>
  static std::string outcome(const Result<T>& result) {
    return result ? "ok" : std::string(to_string(result.error().code));
  }

  // A watch of every key of one letter, whose "created" was heard.
  std::unique_ptr<Watch> watch(Revision from, const std::string& client = "n") {
    auto watch = run(channel(client)->watch("a", "{", from)).value();
    EXPECT_TRUE(run(watch->next())->created);
    return watch;
  }
  static io::Task<Result<WatchReply>> next_of(Watch* watch) {
    auto next = watch->next();
    co_return co_await io::with_deadline(1s, std::move(next));
  }
  // Of the next reply: "a@2 b@3", then "..." where more parts follow; an error; or "silence".
  std::string heard(Watch& watch) {
    auto reply = run(next_of(&watch));
    if (!reply)
      return reply.error().code == ErrorCode::timeout ? "silence" : std::string(to_string(reply.error().code));
    if (reply->canceled) return "compacted@" + std::to_string(reply->compacted);
    std::string out;
    for (const auto& event : reply->events) {
      out += (out.empty() ? "" : " ") + event.now.key + (event.deleted ? "-" : "@") + std::to_string(event.now.mod);
    }
    if (reply->events.empty()) out = "progress@" + std::to_string(reply->header.revision);
    return out + (reply->fragment ? "..." : "");
  }

  World world_{{.seed = 5}};
  SimExecutor executor_{world_, "client"};
  EtcdModel etcd_{world_};
  std::shared_ptr<Channel> channel_ = channel("n");
};

TEST_F(EtcdModelTest, AnEndpointThatIsAwayRefusesAndTheOthersServe) {
  etcd_.set_away({"one"});
  EXPECT_EQ(get("a"), "unavailable");
  EXPECT_EQ(outcome(run(channel("n", "two")->txn(putting("a", "1"), 1s))), "ok");
  etcd_.heal();
  EXPECT_EQ(get("a"), "1");
}

TEST_F(EtcdModelTest, APausedEndpointAnswersNothingUntilTheDeadlineAndCarriesOutWhatItWasGivenLater) {
  etcd_.pause("one");
  const auto before = world_.now();
  EXPECT_EQ(outcome(put("a", "late")), "ambiguous");
  EXPECT_EQ(world_.now() - before, 1s);
  EXPECT_EQ(outcome(run(channel("n", "two")->txn(putting("a", "between"), 1s))), "ok");
  etcd_.resume("one");
  world_.run_for(1s);
  EXPECT_EQ(get("a"), "late");
}

TEST_F(EtcdModelTest, AClientThatIsCutOffIsRefusedOrWaitsInVainWhileOthersAreServed) {
  etcd_.cut("n");
  std::map<std::string, int> outcomes;
  for (int i = 0; i < 20; ++i) ++outcomes[outcome(put("a", "1"))];
  EXPECT_GT(outcomes["ambiguous"], 0);
  EXPECT_GT(outcomes["unavailable"], 0);
  EXPECT_EQ(outcomes["ok"], 0);
  EXPECT_EQ(outcome(run(channel("other")->txn(putting("b", "1"), 1s))), "ok");
  etcd_.heal();
  EXPECT_EQ(get("a"), "absent");
  etcd_.cut("n", "two");
  EXPECT_EQ(get("b"), "1") << "only one endpoint is cut off";
}

TEST_F(EtcdModelTest, WhatWasSentIsCarriedOutThoughItsCallerIsGone) {
  {
    io::TaskScope scope(executor_);
    auto sending = [](Channel* to, TxnRequest request) -> io::Task<void> {
      auto reply = co_await to->txn(std::move(request), 1s);
      EXPECT_FALSE(reply);
    };
    scope.spawn("caller", sending(channel_.get(), putting("a", "1")));
    world_.step();  // it has begun
    sim::run(world_, executor_, scope.close());
  }
  world_.run_for(1s);
  EXPECT_EQ(get("a"), "1");
}

TEST_F(EtcdModelTest, SlowAnswersComeLateOrNotBeforeTheDeadline) {
  etcd_.set_warts({.slow = always});
  std::map<std::string, int> outcomes;
  for (int i = 0; i < 30; ++i) ++outcomes[outcome(put("a", std::to_string(i)))];
  EXPECT_GT(outcomes["ok"], 0);
  EXPECT_GT(outcomes["ambiguous"], 0);
}

TEST_F(EtcdModelTest, CallsAreRefusedByChanceAndThenProposedNothing) {
  etcd_.set_warts({.refused = always});
  EXPECT_EQ(outcome(put("a", "1")), "unavailable");
  etcd_.set_warts({});
  world_.run_for(10s);
  EXPECT_EQ(get("a"), "absent");
}

TEST_F(EtcdModelTest, AnUnknownTransactionWasAppliedOrIsLost) {
  etcd_.next_txn(TxnFate::unknown_applied);
  EXPECT_EQ(outcome(put("a", "1")), "ambiguous");
  EXPECT_EQ(get("a"), "1");
  etcd_.next_txn(TxnFate::unknown_lost);
  EXPECT_EQ(outcome(put("a", "2")), "ambiguous");
  world_.run_for(1min);
  EXPECT_EQ(get("a"), "1");
  for (const unsigned chance : {0U, always}) {
    etcd_.set_warts({.unknown_applied = chance});
    EXPECT_EQ(outcome(put("b", "1")), chance == 0 ? "ok" : "ambiguous");
  }
}

TEST_F(EtcdModelTest, ALateTransactionIsAppliedAfterItsCallerGaveUpIfItsComparesHoldThen) {
  const Revision first = must_put("a", "1");
  etcd_.next_txn(TxnFate::unknown_late);
  EXPECT_EQ(outcome(put("b", "late")), "ambiguous");
  EXPECT_EQ(get("b"), "absent");
  auto compared = putting("a", "late");
  compared.compares.push_back({.key = "a", .field = TxnCompare::Field::mod, .equals = first});
  etcd_.next_txn(TxnFate::unknown_late);
  EXPECT_EQ(outcome(run(channel_->txn(std::move(compared), 1s))), "ambiguous");
  must_put("a", "in between");
  world_.run_for(5s);
  EXPECT_EQ(get("b"), "late");
  EXPECT_EQ(get("a"), "in between");
}

TEST_F(EtcdModelTest, ALateTransactionDoesNotOutliveARestore) {
  etcd_.next_txn(TxnFate::unknown_late);
  EXPECT_EQ(outcome(put("a", "late")), "ambiguous");
  etcd_.restore(etcd_.save());
  world_.run_for(1min);
  EXPECT_EQ(get("a"), "absent");
}

TEST_F(EtcdModelTest, ReadsShowThePastWhereTheServersVersionMayDoSo) {
  for (int i = 0; i < 30; ++i) must_put("a", std::to_string(i));
  etcd_.set_warts({.stale = always});
  EXPECT_EQ(get("a"), "29") << "a linearizable read of a current version";
  EXPECT_NE(get("a", true), "29") << "a serializable one";
  etcd_.version = "3.4.23";
  EXPECT_NE(get("a"), "29");
  const auto reply = read("a");
  EXPECT_LT(reply->header.revision, etcd_.state().revision);
  EXPECT_EQ(outcome(read("a", false, etcd_.state().revision)), "range") << "that member is not there yet";
}

TEST_F(EtcdModelTest, AReadAtARevisionShowsThatRevision) {
  const Revision first = must_put("a", "1");
  must_put("a", "2");
  EXPECT_EQ(read("a", false, first)->values.front().value, "1");
  EXPECT_EQ(outcome(read("a", false, first + 9)), "range");
  etcd_.compact(first + 1);
  EXPECT_EQ(outcome(read("a", false, first)), "range");
  etcd_.compact(first);
  EXPECT_EQ(outcome(read("a", false, first)), "range") << "what is gone does not come back";
}

TEST_F(EtcdModelTest, AWatchTellsEveryEventOnceInOrder) {
  const auto one = watch(2);
  must_put("a", "1");
  EXPECT_EQ(heard(*one), "a@2");
  must_put("b", "1");
  must_put("a", "2");
  EXPECT_EQ(heard(*one), "b@3 a@4");
  EXPECT_EQ(heard(*one), "silence");
}

TEST_F(EtcdModelTest, AWatchLosesEventsOfRevisionsWithAHead) {
  const auto one = watch(2);
  auto request = putting("a", "1");
  request.success.push_back(putting("head", "{}").success.front());
  const auto commit = [&] { ASSERT_TRUE(run(channel_->txn(request, 1s))); };
  etcd_.set_warts({.lost_event = always});
  commit();
  EXPECT_EQ(heard(*one), "head@2");
  etcd_.set_warts({.lost_revision = always});
  commit();
  EXPECT_EQ(heard(*one), "silence");
  must_put("b", "1");
  EXPECT_EQ(heard(*one), "b@4") << "what was lost is not told later";
  etcd_.set_warts({});
  EXPECT_EQ(heard(*watch(3)), "a@3 head@3 b@4") << "a new stream tells all";
}

TEST_F(EtcdModelTest, AWatchLosesTheEndOfALease) {
  must_put("a", "mine", run(channel_->lease_grant(2s, 1s)).value());
  const auto one = watch(3);
  etcd_.set_warts({.lost_end = always});
  world_.run_for(3s);
  EXPECT_EQ(heard(*one), "silence");
  etcd_.set_warts({});
  EXPECT_EQ(heard(*watch(3)), "a-3");
}

TEST_F(EtcdModelTest, ARevisionThatIsNamedIsNotToldByTheFirstStreamThatReachesIt) {
  const auto one = watch(2);
  etcd_.lose(2);
  must_put("a", "1");
  EXPECT_EQ(heard(*one), "silence");
  EXPECT_EQ(heard(*watch(2)), "a@2");
}

TEST_F(EtcdModelTest, AWatchRepeatsWhatItTold) {
  const auto one = watch(2);
  must_put("a", "1");
  EXPECT_EQ(heard(*one), "a@2");
  etcd_.set_warts({.repeated = always});
  must_put("b", "1");
  EXPECT_EQ(heard(*one), "a@2 b@3");
}

TEST_F(EtcdModelTest, AWatchNotifiesOfProgressThatItHasNotMade) {
  const auto one = watch(2);
  etcd_.set_warts({.early_progress = always});
  must_put("a", "1");
  must_put("b", "1");
  EXPECT_EQ(heard(*one), "progress@3");
  EXPECT_EQ(heard(*one), "a@2 b@3");
}

TEST_F(EtcdModelTest, AReplyOfAWatchComesInParts) {
  const auto one = watch(2);
  auto request = putting("a", "1");
  request.success.push_back(putting("b", "1").success.front());
  ASSERT_TRUE(run(channel_->txn(std::move(request), 1s)));
  etcd_.set_warts({.fragments = always});
  EXPECT_EQ(heard(*one), "a@2...");
  EXPECT_EQ(heard(*one), "b@2");
}

TEST_F(EtcdModelTest, AStreamBreaksByChanceByRequestAndSomeTimeAfterItsWayWasCut) {
  const auto one = watch(2);
  etcd_.set_warts({.broken = always});
  must_put("a", "1");
  EXPECT_EQ(heard(*one), "unavailable");
  etcd_.set_warts({});
  const auto two = watch(2);
  etcd_.break_watches();
  EXPECT_EQ(heard(*two), "unavailable");
  const auto three = watch(3, "far");
  etcd_.cut("far");
  must_put("b", "1");
  EXPECT_EQ(heard(*three), "silence");
  EXPECT_EQ(heard(*three), "unavailable");
}

TEST_F(EtcdModelTest, AStreamWhoseWayIsMendedInTimeTellsWhatItHeldBack) {
  const auto one = watch(2, "far");
  etcd_.cut("far");
  must_put("a", "1");
  EXPECT_EQ(heard(*one), "silence");
  etcd_.heal();
  EXPECT_EQ(heard(*one), "a@2");
}

TEST_F(EtcdModelTest, CompactionEndsAWatchOfTheTimeBefore) {
  const Revision first = must_put("a", "1");
  must_put("a", "2");
  etcd_.compact(first + 1);
  EXPECT_EQ(heard(*watch(first)), "compacted@" + std::to_string(first + 1));
  EXPECT_EQ(heard(*watch(first + 1)), "a@3");
}

TEST_F(EtcdModelTest, WithoutSpaceNothingThatPutsIsTaken) {
  must_put("a", "1");
  etcd_.no_space = true;
  EXPECT_EQ(outcome(put("b", "1")), "out_of_space");
  EXPECT_EQ(outcome(run(channel_->lease_grant(1s, 1s))), "out_of_space");
  TxnRequest removing;
  removing.success.push_back({.kind = TxnOperation::Kind::remove, .key = "a", .value = {}, .lease = 0});
  EXPECT_EQ(outcome(run(channel_->txn(std::move(removing), 1s))), "ok");
  EXPECT_EQ(get("a"), "absent");
}

TEST_F(EtcdModelTest, ALeaseTakesItsKeysWithItAtItsTimeOrEarlyOrLate) {
  const auto life = [this](EtcdWarts warts) {
    etcd_.set_warts(warts);
    const LeaseId lease = run(channel_->lease_grant(10s, 1s)).value();
    const auto before = world_.now();
    must_put("a", "mine", lease);
    EXPECT_TRUE(world_.run_until([this] { return !etcd_.state().keys.contains("a"); }, 1min));
    return world_.now() - before;
  };
  const auto whole = life({});
  EXPECT_GE(whole, 9s);
  EXPECT_LE(whole, 11s);
  EXPECT_LT(life({.lease_early = always}), 10s);
  EXPECT_GT(life({.lease_late = always}), 10s);
  EXPECT_EQ(outcome(run(channel_->lease_keep_alive(1, 1s))), "not_found");
}

TEST_F(EtcdModelTest, SignsOfLifeKeepALeaseAndWithoutAQuorumNoneEnds) {
  const LeaseId lease = run(channel_->lease_grant(2s, 1s)).value();
  must_put("a", "mine", lease);
  for (int i = 0; i < 5; ++i) {
    world_.run_for(1s);
    EXPECT_EQ(outcome(run(channel_->lease_keep_alive(lease, 1s))), "ok");
  }
  etcd_.set_available(false);
  world_.run_for(1min);
  etcd_.set_available(true);
  world_.run_for(1s);
  EXPECT_EQ(get("a"), "mine") << "a new leader gives it its whole time again";
  etcd_.expire(lease);
  EXPECT_EQ(get("a"), "absent");
}

TEST_F(EtcdModelTest, ARestoreBreaksStreamsAndBringsBackWhatWas) {
  must_put("a", "kept");
  const auto backup = etcd_.save();
  must_put("a", "gone");
  const auto one = watch(2);
  etcd_.restore(backup);
  EXPECT_EQ(heard(*one), "unavailable");
  EXPECT_EQ(get("a"), "kept");
  EXPECT_EQ(must_put("b", "1"), backup.revision + 1) << "revisions are given anew";
}

TEST_F(EtcdModelTest, AForgetfulVoterTakesTheLastCommitsThoughTheyWereAcknowledged) {
  must_put("a", "1");
  must_put("b", "1");
  must_put("a", "2");
  etcd_.lose_last(2);
  EXPECT_EQ(get("a"), "1");
  EXPECT_EQ(get("b"), "absent");
  EXPECT_EQ(must_put("a", "3"), 3U);
}

TEST_F(EtcdModelTest, ForeignWritesHaveARevisionOfTheirOwn) {
  const auto one = watch(2);
  etcd_.put_foreign("z", "not ours");
  EXPECT_EQ(heard(*one), "z@2");
}

TEST_F(EtcdModelTest, TheSameSeedGivesTheSameEvents) {
  const auto trace = [] {
    World world({.seed = 9});
    SimExecutor executor(world, "client");
    EtcdModel etcd(world);
    etcd.set_warts({.refused = 100, .slow = 100, .unknown_applied = 100, .unknown_late = 100});
    auto to = etcd.channels()({.endpoint = "one", .tls = {}, .user = {}, .password = {}}).value();
    for (int i = 0; i < 50; ++i) {
      const auto reply = sim::run(world, executor, to->txn(putting("a", std::to_string(i)), 1s));
      world.note(outcome(reply));
    }
    return world.trace();
  };
  EXPECT_EQ(trace(), trace());
}

}  // namespace
}  // namespace hansa::sim
