// The second copy of an upload is made while its bytes arrive, on simulated members.
#include "registry/testing/body_with_a_point.h"
#include "registry/testing/cluster_bed.h"

namespace hansa::registry::testing {
namespace {

using namespace std::chrono_literals;

const std::string large(3'000'000, 'l');

class ClusterRelay : public ::testing::Test {
 protected:
  void SetUp() override { bed.settle(); }
  Result<void> push(const std::string& at, io::ByteSource& body, const std::string& text) {
    return bed[at].run(bed[at].registry->push_blob(bed[at].alice(), repository, digest(text), body));
  }
  std::string begin(const std::string& at) {
    return bed[at].run(bed[at].registry->begin_upload(bed[at].alice(), repository, oci::Algorithm::sha256))->session;
  }
  Result<UploadStatus> append(const std::string& at, const std::string& session, io::ByteSource& body) {
    return bed[at].run(bed[at].registry->append_upload(bed[at].alice(), repository, session, std::nullopt, body));
  }
  Result<void> finish(const std::string& at, const std::string& session, const std::string& expected,
                      const std::string& rest = "") {
    io::MemorySource source(as_bytes(rest));
    return bed[at].run(
        bed[at].registry->finish_upload(bed[at].alice(), repository, session, std::nullopt, source, digest(expected)));
  }
  std::size_t staged() { return bed["n1"].staged_files() + bed["n2"].staged_files() + bed["n3"].staged_files(); }
  // The member that was asked to take the copy.
  std::string taker() { return bed["n2"].asked["relay.append"] > 0 ? "n2" : "n3"; }

  const oci::RepositoryName repository = name("team/app");
  ClusterBed bed{3};
};

TEST_F(ClusterRelay, ALargeBodyGoesToAnotherMemberWhileItComesAndIsNotSentAgain) {
  ASSERT_TRUE(bed["n1"].push_blob("team/app", large));
  EXPECT_EQ(bed.asked("relay.append"), 1);
  EXPECT_EQ(bed.asked("relay.finish"), 1);
  EXPECT_EQ(bed.asked("blob.put") + bed.asked("blob.receipt"), 0);
  EXPECT_EQ(bed.copies_of(digest(large)), 2U);
  EXPECT_EQ(bed.shared.now().link(repository, digest(large)).value()->record.on.size(), 2U);
  EXPECT_EQ(staged(), 0U);
}

// Another member's link is filled with the copy of the upload before, for as long as that took.
TEST_F(ClusterRelay, AnUploadThatFollowsALongOneGoesToTheSameMember) {
  for (int i = 0; i < 6; ++i) {
    const std::string content = large + std::to_string(i);
    const auto session = begin("n1");
    io::MemorySource source{as_bytes(content)};
    ASSERT_TRUE(append("n1", session, source));
    bed.shared.world.run_for(15s);
    ASSERT_TRUE(finish("n1", session, content));
  }
  EXPECT_EQ(bed["n2"].asked["relay.append"] * bed["n3"].asked["relay.append"], 0);
  EXPECT_EQ(bed.asked("relay.append"), 6);
}

TEST_F(ClusterRelay, AShortBodyIsOneMessageAtTheEnd) {
  ASSERT_TRUE(bed["n1"].push_blob("team/app", "short"));
  EXPECT_EQ(bed.asked("relay.append") + bed.asked("relay.finish"), 0);
  EXPECT_EQ(bed.asked("blob.put"), 1);
}

TEST_F(ClusterRelay, ASessionInChunksIsRelayedChunkByChunkAlsoThroughOtherMembers) {
  const auto session = begin("n1");
  const std::string last = "a short last chunk";
  io::MemorySource one{as_bytes(large)};
  io::MemorySource two{as_bytes(large)};
  ASSERT_TRUE(append("n1", session, one));
  ASSERT_TRUE(append("n2", session, two));
  ASSERT_TRUE(finish("n3", session, large + large + last, last));
  EXPECT_EQ(bed.asked("relay.append"), 3);
  EXPECT_EQ(bed.asked("relay.finish"), 1);
  EXPECT_EQ(bed.asked("blob.put"), 0);
  EXPECT_EQ(bed.copies_of(digest(large + large + last)), 2U);
}

TEST_F(ClusterRelay, BytesThatAreHereAlreadyAreNotSentAgain) {
  ASSERT_TRUE(bed["n1"].push_blob("team/app", large));
  ASSERT_TRUE(bed["n1"].push_blob("team/other", large));
  EXPECT_EQ(bed.asked("relay.append"), 1);
  EXPECT_GE(bed.asked("blob.receipt"), 1);
}

TEST_F(ClusterRelay, AMemberThatHasNotAnsweredLatelyIsNotBotheredWithAnUpload) {
  bed["n2"].executor.pause(1h);
  bed["n3"].executor.pause(1h);
  bed.shared.world.run_for(3s);
  EXPECT_FALSE(bed["n1"].push_blob("team/app", large));
  EXPECT_EQ(bed.asked("relay.append"), 0);
}

TEST_F(ClusterRelay, AClientThatBreaksOffAndGoesOnDoesNotEndTheRelay) {
  const auto session = begin("n1");
  BodyWithAPoint broken(large, 1'000'000, nullptr, true);
  EXPECT_FALSE(append("n1", session, broken));
  const std::string rest = large.substr(1'000'000);
  io::MemorySource body{as_bytes(rest)};
  ASSERT_EQ(append("n1", session, body)->received, large.size());
  ASSERT_TRUE(finish("n1", session, large));
  EXPECT_EQ(bed.asked("relay.append"), 2);
  EXPECT_EQ(bed.asked("blob.put"), 0);
  EXPECT_EQ(bed.copies_of(digest(large)), 2U);
}

TEST_F(ClusterRelay, APeerThatEndsOrHangsOrIsCutOffInTheMiddleIsReplacedAndThePushSucceeds) {
  for (const std::string how : {"ends", "hangs", "is cut off"}) {
    ClusterBed fresh(3);
    fresh.settle();
    std::string lost;
    BodyWithAPoint body(large, 1'500'000, [&] {
      lost = fresh["n2"].asked["relay.append"] > 0 ? "n2" : "n3";
      if (how == "ends") fresh[lost].executor.post([&] { fresh.network.isolate(io::NodeId(lost)); });
      if (how == "hangs") fresh[lost].executor.pause(1h);
      if (how == "is cut off") fresh.network.cut(io::NodeId("n1"), io::NodeId(lost));
    });
    const auto began = fresh.shared.world.now();
    ASSERT_TRUE(fresh["n1"].run(fresh["n1"].registry->push_blob(fresh["n1"].alice(), repository, digest(large), body)))
        << how;
    ASSERT_FALSE(lost.empty());
    EXPECT_TRUE(fresh["n1"].has_file(digest(large))) << how;
    EXPECT_TRUE(fresh[lost == "n2" ? "n3" : "n2"].has_file(digest(large))) << how;
    EXPECT_LT(fresh.shared.world.now() - began, 10s) << how;
  }
}

// The cut comes at many points of the transfer and of its end: the push ends whole, on two disks, or with an error and
// no name; what the peer had is dropped in time.
TEST_F(ClusterRelay, APeerThatIsCutOffAnywhereLeavesNoHalfPush) {
  std::set<std::string> outcomes;
  for (int step = 0; step < 60; ++step) {
    ClusterBed two(2);
    two.settle();
    BodyWithAPoint body(large, large.size(), nullptr);
    std::optional<Result<void>> done;
    io::TaskScope scope(two["n1"].executor);
    auto push = [](Member& member, io::ByteSource& from, std::optional<Result<void>>& out) -> io::Task<void> {
      out.emplace(co_await member.registry->push_blob(member.alice(), name("team/app"), digest(large), from));
    };
    scope.spawn("push", push(two["n1"], body, done));
    two.shared.world.run_for(std::chrono::milliseconds(step * 2));
    two.network.cut(io::NodeId("n1"), io::NodeId("n2"));
    ASSERT_TRUE(two.shared.world.run_until([&] { return done.has_value(); }, 2min)) << step;
    const bool named = two.shared.now().blob(repository, digest(large)).value().has_value();
    EXPECT_EQ(done->has_value(), named) << step;
    if (named) {
      EXPECT_EQ(two.copies_of(digest(large)), 2U) << step;
    }
    outcomes.insert(*done ? "done" : std::string(to_string(done->error().code)));
    two.network.heal();
    EXPECT_TRUE(two["n1"].push_blob("team/app", large)) << step;
    two.shared.world.run_for(11min);
    sim::run(two.shared.world, two["n2"].executor, two["n2"].relays->expire());
    EXPECT_EQ(two["n1"].staged_files() + two["n2"].staged_files(), 0U) << step;
    sim::run(two.shared.world, two["n1"].executor, scope.close());
  }
  EXPECT_EQ(outcomes, (std::set<std::string>{"done", "unavailable"}));
}

TEST_F(ClusterRelay, APeerWhoseDiskFailsInTheMiddleIsReplaced) {
  BodyWithAPoint body(large, 1'000'000, [&] { bed[taker()].disk.fail({.call = sim::Call::write}); });
  ASSERT_TRUE(push("n1", body, large));
  EXPECT_EQ(bed.copies_of(digest(large)), 2U);
  EXPECT_EQ(staged(), 0U);
}

TEST_F(ClusterRelay, WithNobodyElseAliveTheAnswerIsUnavailableAndNothingIsNamed) {
  ClusterBed two(2);
  two.settle();
  BodyWithAPoint body(large, 1'000'000, [&] { two.network.isolate(io::NodeId("n2")); });
  const auto pushed = two["n1"].run(two["n1"].registry->push_blob(two["n1"].alice(), repository, digest(large), body));
  EXPECT_TRUE(fails_with(pushed, ErrorCode::unavailable, Subject::blob));
  EXPECT_FALSE(two.shared.now().blob(repository, digest(large)).value());
  two.network.heal();
  EXPECT_TRUE(two["n1"].push_blob("team/app", large));
  EXPECT_EQ(two["n1"].staged_files() + two["n2"].staged_files(), 0U);
}

TEST_F(ClusterRelay, BytesOfAnotherDigestAreRefusedAndLeaveNothingAnywhere) {
  io::MemorySource source{as_bytes(large)};
  EXPECT_TRUE(fails_with(push("n1", source, "something else"), ErrorCode::invalid, Subject::digest));
  EXPECT_EQ(staged(), 0U);
  EXPECT_EQ(bed.copies_of(digest(large)), 0U);
}

TEST_F(ClusterRelay, ACancelledUploadLeavesNothingWithThePeer) {
  const auto session = begin("n1");
  io::MemorySource source{as_bytes(large)};
  ASSERT_TRUE(append("n1", session, source));
  EXPECT_EQ(staged(), 2U);
  ASSERT_TRUE(bed["n1"].run(bed["n1"].registry->cancel_upload(bed["n1"].alice(), repository, session)));
  EXPECT_EQ(staged(), 0U);
}

// The sender is gone for good: its bytes go after a while, also when the own sessions expire meanwhile.
TEST_F(ClusterRelay, WhatASenderForgotIsDroppedAfterItsTimeAndNotBefore) {
  const auto session = begin("n1");
  io::MemorySource source{as_bytes(large)};
  ASSERT_TRUE(append("n1", session, source));
  const std::string keeper = taker();
  bed.stop("n1");
  const auto expire = [&] {
    bed.tick(12);
    EXPECT_TRUE(bed[keeper].run(bed[keeper].registry->expire_uploads()));
    sim::run(bed.shared.world, bed[keeper].executor, bed[keeper].relays->expire());
  };
  expire();
  EXPECT_EQ(bed[keeper].staged_files(), 1U);
  bed.shared.world.run_for(10min);
  expire();
  EXPECT_EQ(bed[keeper].staged_files(), 0U);
}

TEST_F(ClusterRelay, APeerThatStartedAnewKnowsNothingOfTheUploadWhichSucceeds) {
  const auto session = begin("n1");
  io::MemorySource source{as_bytes(large)};
  ASSERT_TRUE(append("n1", session, source));
  const std::string keeper = taker();
  bed[keeper].stop();
  bed[keeper].start();
  ASSERT_TRUE(finish("n1", session, large));
  EXPECT_EQ(bed.copies_of(digest(large)), 2U);
}

TEST_F(ClusterRelay, AnOwnerThatStartedAnewRelaysAgainFromTheStart) {
  const auto session = begin("n1");
  io::MemorySource source{as_bytes(large)};
  ASSERT_TRUE(append("n1", session, source));
  bed["n1"].stop();
  bed["n1"].start();
  bed.settle();
  io::MemorySource more{as_bytes(large)};
  ASSERT_TRUE(append("n1", session, more));
  ASSERT_TRUE(finish("n1", session, large + large));
  EXPECT_EQ(bed.asked("relay.append"), 2);
  EXPECT_EQ(bed.asked("blob.put"), 0);
  EXPECT_EQ(bed.copies_of(digest(large + large)), 2U);
}

}  // namespace
}  // namespace hansa::registry::testing
