// Upload sessions whose member is lost, on simulated members: who has the bytes goes on with them.
#include "registry/testing/body_with_a_point.h"
#include "registry/testing/takeover.h"

namespace hansa::registry::testing {
namespace {

TEST_F(ClusterTakeover, AnUploadWhoseMemberIsLostGoesOnThroughAnyOtherAfterWhatWasAcknowledged) {
  const auto session = begin("n1");
  ASSERT_EQ(received(append("n2", session, "a short chunk, ")), 15U);
  ASSERT_EQ(received(append("n3", session, large, 15)), 15 + large.size());
  ASSERT_EQ(received(append("n1", session, "short again", 15 + large.size())), 26 + large.size());
  lose("n1");
  const std::uint64_t acknowledged = 26 + large.size();
  EXPECT_EQ(received(status("n2", session)), acknowledged);
  EXPECT_EQ(received(status("n3", session)), acknowledged);
  EXPECT_EQ(status("n3", session).value().session, session);
  ASSERT_EQ(received(append("n3", session, "more", acknowledged)), acknowledged + 4);
  ASSERT_EQ(received(append("n2", session, large)), acknowledged + 4 + large.size());
  const std::string whole = "a short chunk, " + large + "short again" + "more" + large + "end";
  ASSERT_TRUE(finish("n2", session, whole, "end"));
  EXPECT_TRUE(finish("n3", session, whole));  // repeated
  EXPECT_EQ(bed["n3"].pull_blob("team/app", digest(whole)), whole);
  EXPECT_EQ(bed.copies_of(digest(whole)), 2U);
  EXPECT_EQ(bed.shared.now().link(repository, digest(whole)).value()->record.on.size(), 2U);
  EXPECT_EQ(bed["n2"].staged_files() + bed["n3"].staged_files(), 0U);
  EXPECT_EQ(bed.asked("blob.put"), 0);  // the new member relays on while the bytes come
}

TEST_F(ClusterTakeover, ALeaseThatStillStandsDoesNotHoldUpWhoHasTheBytes) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  lose("n1", false);
  EXPECT_EQ(received(status("n2", session)), 3U);
}

TEST_F(ClusterTakeover, AMomentsSilenceIsUnavailable) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  bed.network.cut(io::NodeId("n1"), io::NodeId("n2"));
  bed.network.cut(io::NodeId("n1"), io::NodeId("n3"));
  EXPECT_TRUE(fails_with(status("n2", session), ErrorCode::unavailable, Subject::upload));
  EXPECT_TRUE(fails_with(status("n3", session), ErrorCode::unavailable, Subject::upload));
  EXPECT_EQ(bed["n2"].registry->open_uploads() + bed["n3"].registry->open_uploads(), 0U);
  bed.network.heal();
  EXPECT_EQ(received(append("n2", session, "def")), 6U);
}

TEST_F(ClusterTakeover, NobodyElseCanTakeIt) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  lose("n1");
  for (const std::string at : {"n2", "n3"}) {
    bed[at].rights->creators.insert("dave");
    EXPECT_TRUE(fails_with(status(at, session, "dave"), ErrorCode::not_found, Subject::upload));
    auto elsewhere = bed[at].run(bed[at].registry->upload_status(bed[at].alice(), name("team/other"), session));
    EXPECT_TRUE(fails_with(elsewhere, ErrorCode::not_found, Subject::upload));
  }
  EXPECT_EQ(bed["n2"].registry->open_uploads() + bed["n3"].registry->open_uploads(), 0U);
  EXPECT_EQ(received(status("n2", session)), 3U);
}

// A member's word for another user does not help either: the keeper checks the id itself.
TEST_F(ClusterTakeover, WhatIsAskedForAnotherUserIsNotFoundWhoeverAsks) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  const auto found = [&](const std::string& user, const std::string& repo) {
    const std::string arguments =
        R"({"repository":")" + repo + R"(","user":")" + user + R"(","session":")" + session + R"("})";
    io::PeerRequest request{.verb = "upload.find", .arguments = arguments, .body = nullptr};
    return bed["n1"].run(bed["n1"].peer->call(io::NodeId(keeper()), std::move(request)));
  };
  EXPECT_TRUE(found("alice", "team/app"));
  EXPECT_TRUE(fails_with(found("dave", "team/app"), ErrorCode::not_found));
  EXPECT_TRUE(fails_with(found("alice", "team/other"), ErrorCode::not_found));
}

TEST_F(ClusterTakeover, WithoutBytesItIsUnavailableWhileTheLeaseStandsAndNotFoundAfterwards) {
  const auto session = begin("n1");
  lose("n1", false);
  EXPECT_TRUE(fails_with(status("n2", session), ErrorCode::unavailable, Subject::upload));
  bed.stop("n1");
  EXPECT_TRUE(fails_with(status("n2", session), ErrorCode::not_found, Subject::upload));
  EXPECT_TRUE(fails_with(append("n3", session, "abc"), ErrorCode::not_found, Subject::upload));
  EXPECT_TRUE(fails_with(finish("n3", session, "abc", "abc"), ErrorCode::not_found, Subject::upload));
}

TEST_F(ClusterTakeover, WhenThePeerIsLostTooTheUploadIsNotFound) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  const std::string left = other(keeper());
  lose("n1");
  lose(keeper());
  EXPECT_TRUE(fails_with(status(left, session), ErrorCode::not_found, Subject::upload));
}

TEST_F(ClusterTakeover, TheNewMemberRelaysOnSoThatItMayBeLostToo) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, large));
  const std::string second = keeper();
  const std::string third = other(second);
  lose("n1");
  ASSERT_EQ(received(status(third, session)), large.size());
  ASSERT_TRUE(append(third, session, "more", large.size()));
  lose(second);
  EXPECT_EQ(received(status(third, session)), large.size() + 4);
  bed["n1"].start();
  bed.settle();
  ASSERT_TRUE(finish(third, session, large + "more"));
  EXPECT_EQ(bed["n1"].pull_blob("team/app", digest(large + "more")), large + "more");
}

// A 202 stands for two members: a peer that is lost is replaced before the next one.
TEST_F(ClusterTakeover, ALostPeerIsReplacedByOneThatIsSentEverything) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, large));
  const std::string lost = keeper();
  bed.stop(lost);  // not noticed yet
  ASSERT_EQ(received(append("n1", session, "more")), large.size() + 4);
  lose("n1");
  EXPECT_EQ(received(status(other(lost), session)), large.size() + 4);
}

// Its one copy elsewhere is what the peer has from before, until all has come again.
TEST_F(ClusterTakeover, ARelayThatBeginsAnewAtTheSamePeerKeepsWhatThePeerHas) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, large));
  const io::NodeId peer(keeper());
  bed.stop(other(keeper()));
  const auto cut = [&] { bed.network.cut(io::NodeId("n1"), peer); };
  const auto append_from = [&](io::ByteSource& body) {
    auto appended = bed["n1"].run(bed["n1"].registry->append_upload(bed["n1"].alice(), repository, session, {}, body));
    static_cast<void>(appended.has_value());
  };
  BodyWithAPoint broken(large, 1'000'000, cut);
  append_from(broken);
  bed.network.heal();
  bed.settle();
  BodyWithAPoint again(large, 500'000, cut);
  append_from(again);
  EXPECT_GE(bed[peer.value()].asked["relay.append"], 3);
  lose("n1");
  EXPECT_GE(received(status(peer.value(), session)), large.size());
}

TEST_F(ClusterTakeover, ABodyWithoutARangeIsRefusedUntilTheClientHasAsked) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  lose("n1");
  EXPECT_TRUE(fails_with(append("n2", session, "def"), ErrorCode::range, Subject::upload));
  EXPECT_TRUE(fails_with(append("n2", session, "def", 2), ErrorCode::range, Subject::upload));
  EXPECT_EQ(received(status("n3", session)), 3U);
  EXPECT_EQ(received(append("n2", session, "def")), 6U);
  EXPECT_TRUE(finish("n3", session, "abcdef"));
}

// What docker does: one PATCH, then a PUT without a body.
TEST_F(ClusterTakeover, APutWithoutABodyEndsAnUploadWhoseMemberIsLost) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, large));
  lose("n1");
  ASSERT_TRUE(finish(other(keeper()), session, large));
  EXPECT_EQ(bed.copies_of(digest(large)), 2U);
}

TEST_F(ClusterTakeover, APutIsRepeatedAfterTheLossOfTheMemberThatDidIt) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  ASSERT_TRUE(finish("n1", session, "abc"));
  lose("n1");
  EXPECT_TRUE(finish("n2", session, "abc"));
  EXPECT_TRUE(fails_with(finish("n2", session, "other"), ErrorCode::not_found, Subject::upload));
}

// The bytes of a PATCH under way: as many as came. Nothing tells the peer that its sender is gone.
TEST_F(ClusterTakeover, AChunkWhoseMemberHangsInTheMiddleGoesOnWhereThePeerStands) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  std::optional<Result<UploadStatus>> sent;
  BodyWithAPoint body(large, 1'500'000, [&] { bed["n1"].executor.pause(1h); });
  io::TaskScope scope(bed["n1"].executor);
  auto send = [&]() -> io::Task<void> {
    sent.emplace(
        co_await bed["n1"].registry->append_upload(bed["n1"].alice(), repository, session, std::nullopt, body));
  };
  scope.spawn("send", send());
  bed.shared.world.run_for(3s);
  const auto stands = status("n2", session);
  ASSERT_TRUE(stands) << describe(stands.error());
  EXPECT_GE(stands->received, 1'000'000U);
  EXPECT_LE(stands->received, 1'500'003U);
  EXPECT_EQ(received(status("n3", session)), stands->received);
  const std::string rest = large.substr(stands->received - 3);
  ASSERT_EQ(received(append("n3", session, rest, stands->received)), large.size() + 3);
  ASSERT_TRUE(finish("n2", session, "abc" + large));
  EXPECT_EQ(bed["n3"].pull_blob("team/app", digest("abc" + large)), "abc" + large);
  bed.shared.world.run_for(1h);
  ASSERT_TRUE(bed.shared.world.run_until([&] { return sent.has_value(); }, 3min));
  sim::run(bed.shared.world, bed["n1"].executor, scope.join());
}

// At many points of a chunk: its member is cut off, and the client goes on elsewhere, where it is told to.
TEST_F(ClusterTakeover, AMemberThatIsLostAnywhereInAChunkLosesNothingAcknowledged) {
  std::set<bool> outcomes;
  for (int step = 0; step < 40; ++step) {
    ClusterBed fresh(3);
    fresh.settle();
    Member& n1 = fresh["n1"];
    Member& n2 = fresh["n2"];
    const auto session = n1.run(n1.registry->begin_upload(n1.alice(), repository, oci::Algorithm::sha256))->session;
    io::MemorySource first(as_bytes(std::string_view("first")));
    ASSERT_TRUE(n1.run(n1.registry->append_upload(n1.alice(), repository, session, std::nullopt, first)));
    BodyWithAPoint body(large, large.size(), nullptr);
    std::optional<Result<UploadStatus>> sent;
    io::TaskScope scope(n2.executor);
    auto send = [&]() -> io::Task<void> {
      const ChunkRange range{.first = 5, .last = 4 + large.size()};
      sent.emplace(co_await n2.registry->append_upload(n2.alice(), repository, session, range, body));
    };
    scope.spawn("send", send());
    fresh.shared.world.run_for(2ms * step);
    fresh.network.isolate(io::NodeId("n1"));
    ASSERT_TRUE(fresh.shared.world.run_until([&] { return sent.has_value(); }, 3min)) << step;
    sim::run(fresh.shared.world, n2.executor, scope.close());
    fresh.shared.world.run_for(2s);
    outcomes.insert(sent->has_value());
    const std::uint64_t acknowledged = *sent ? (*sent)->received : 5;
    const auto stands = n2.run(n2.registry->upload_status(n2.alice(), repository, session));
    ASSERT_TRUE(stands) << step << ": " << describe(stands.error());
    EXPECT_GE(stands->received, acknowledged) << step;
    const std::string rest = large.substr(stands->received - 5);
    io::MemorySource last(as_bytes(rest));
    EXPECT_TRUE(n2.run(
        n2.registry->finish_upload(n2.alice(), repository, session, std::nullopt, last, digest("first" + large))))
        << step;
    EXPECT_EQ(fresh.copies_of(digest("first" + large)), 2U) << step;
  }
  EXPECT_EQ(outcomes.size(), 2U);
}

// Two ask at the same time, and the owner wakes up again: one member goes on, and the owner learns of it.
TEST_F(ClusterTakeover, ASlowOwnerIsNotTakenOverTwiceAndGivesWayWhenItWakesUp) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, large));
  bed["n1"].executor.pause(20s);
  bed.shared.world.run_for(2s);
  std::map<std::string, Result<UploadStatus>> answers;
  io::TaskScope two(bed["n2"].executor);
  io::TaskScope three(bed["n3"].executor);
  auto ask = [&](std::string at) -> io::Task<void> {
    auto answer = co_await bed[at].registry->upload_status(bed[at].alice(), repository, session);
    answers.emplace(at, std::move(answer));
  };
  two.spawn("ask", ask("n2"));
  three.spawn("ask", ask("n3"));
  ASSERT_TRUE(bed.shared.world.run_until([&] { return answers.size() == 2; }, 15s));
  for (const auto& [at, answer] : answers) {
    // One request of a session at a time.
    EXPECT_TRUE(answer ? answer->received == large.size() : answer.error().code == ErrorCode::too_many) << at;
  }
  sim::run(bed.shared.world, bed["n2"].executor, two.join());
  sim::run(bed.shared.world, bed["n3"].executor, three.join());
  EXPECT_EQ(bed["n2"].registry->open_uploads() + bed["n3"].registry->open_uploads(), 1U);
  ASSERT_EQ(received(append("n3", session, "more", large.size())), large.size() + 4);
  bed.shared.world.run_for(30s);
  // The old owner still has its part in memory, and learns from its peer that the upload goes on elsewhere.
  EXPECT_EQ(bed["n1"].registry->open_uploads(), 1U);
  EXPECT_TRUE(fails_with(append("n1", session, "other", large.size()), ErrorCode::unavailable, Subject::upload));
  EXPECT_EQ(bed["n1"].registry->open_uploads(), 0U);
  EXPECT_EQ(received(status("n1", session)), large.size() + 4);
  EXPECT_TRUE(finish("n1", session, large + "more"));
}

TEST_F(ClusterTakeover, AnOwnerThatWasCutOffSaysNothingOld) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  bed.network.isolate(io::NodeId("n1"));
  bed.shared.world.run_for(2s);
  ASSERT_EQ(received(status("n2", session)), 3U);
  ASSERT_EQ(received(append("n2", session, "def", 3)), 6U);
  bed.network.readmit(io::NodeId("n1"));
  bed.settle();
  EXPECT_TRUE(fails_with(status("n1", session), ErrorCode::unavailable, Subject::upload));
  EXPECT_EQ(received(status("n1", session)), 6U);
  EXPECT_TRUE(finish("n1", session, "abcdef"));
}

// Also when the peer that it would send its bytes to now has not heard of it.
TEST_F(ClusterTakeover, AnOwnerThatWentOnAloneWhileItWasCutOffGivesWay) {
  const auto session = begin("n1");
  ASSERT_EQ(received(append("n1", session, "abc")), 3U);
  bed.network.isolate(io::NodeId("n1"));
  ASSERT_EQ(received(append("n1", session, "xyz")), 6U);
  bed.shared.world.run_for(2s);
  ASSERT_EQ(received(status("n2", session)), 3U);
  bed.network.readmit(io::NodeId("n1"));
  bed.set_layout({"n1", other(keeper())}, 2);
  bed.settle();
  EXPECT_TRUE(fails_with(append("n1", session, "ghi"), ErrorCode::unavailable, Subject::upload));
  EXPECT_EQ(received(append("n1", session, "def", 3)), 6U);
  EXPECT_TRUE(finish("n3", session, "abcdef"));
}

// Two members on the two sides of a cut are asked: the one that answers pings keeps the session.
TEST_F(ClusterTakeover, AnOwnerThatItsPeerReachesIsNotTakenOver) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  const std::string cut_off = other(keeper());
  bed.network.cut(io::NodeId("n1"), io::NodeId(cut_off));
  bed.shared.world.run_for(2s);
  EXPECT_TRUE(fails_with(status(cut_off, session), ErrorCode::unavailable, Subject::upload));
  EXPECT_EQ(bed[keeper()].registry->open_uploads(), 0U);
  EXPECT_EQ(received(status(keeper(), session)), 3U);
}

// A 202 with nobody else in reach: the peer has less, and the client is told instead of being refused for good.
TEST_F(ClusterTakeover, APutOfAnUploadThatLacksBytesIsToldWhereItStands) {
  const auto session = begin("n1");
  ASSERT_EQ(received(append("n1", session, "abc")), 3U);
  bed.network.isolate(io::NodeId("n1"));
  ASSERT_EQ(received(append("n1", session, "def")), 6U);
  lose("n1");
  EXPECT_TRUE(fails_with(finish("n2", session, "abcdef"), ErrorCode::range, Subject::upload));
  EXPECT_EQ(received(append("n3", session, "def", 3)), 6U);
  EXPECT_TRUE(finish("n2", session, "abcdef"));
}

// Two parts of one upload: while the member with more of it may answer, the one with less waits.
TEST_F(ClusterTakeover, AnOlderPartIsNotTakenUpWhileAMemberThatMayHaveMoreIsSilentForAMoment) {
  const auto session = begin("n1");
  ASSERT_EQ(received(append("n1", session, "abc")), 3U);
  const std::string older = keeper();
  const std::string newer = other(older);
  bed.network.cut(io::NodeId("n1"), io::NodeId(older));
  ASSERT_EQ(received(append("n1", session, "def")), 6U);
  bed.network.heal();
  lose("n1");
  bed.network.cut(io::NodeId(older), io::NodeId(newer));
  EXPECT_TRUE(fails_with(status(older, session), ErrorCode::unavailable, Subject::upload));
  bed.network.heal();
  EXPECT_EQ(received(status(older, session)), 6U);
  EXPECT_TRUE(finish(older, session, "abcdef"));
}

TEST_F(ClusterTakeover, ATakenUploadExpiresAsAnyOther) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  const std::string second = keeper();
  lose("n1");
  ASSERT_TRUE(status(second, session));
  sim::run(bed.shared.world, bed[second].executor, bed[second].relays->expire());
  EXPECT_EQ(bed[second].staged_files(), 1U);
  bed.tick(12);
  ASSERT_TRUE(bed[second].run(bed[second].registry->expire_uploads()));
  EXPECT_EQ(bed[second].staged_files(), 0U);
  EXPECT_TRUE(fails_with(status(second, session), ErrorCode::not_found, Subject::upload));
}

TEST_F(ClusterTakeover, AMemberTakesNoMoreUploadsThanItMayHaveOpen) {
  for (const std::string id : {"n2", "n3"}) {
    bed[id].stop();
    bed[id].max_uploads = 1;
    bed[id].start();
  }
  bed.settle();
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  const std::string second = keeper();
  const auto own = begin(second);
  lose("n1");
  EXPECT_TRUE(fails_with(status(second, session), ErrorCode::too_many, Subject::upload));
  ASSERT_TRUE(bed[second].run(bed[second].registry->cancel_upload(bed[second].alice(), repository, own)));
  EXPECT_EQ(received(status(second, session)), 3U);
}

TEST_F(ClusterTakeover, ACancelEndsATakenUpload) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  lose("n1");
  ASSERT_TRUE(bed["n2"].run(bed["n2"].registry->cancel_upload(bed["n2"].alice(), repository, session)));
  EXPECT_EQ(bed["n2"].staged_files() + bed["n3"].staged_files(), 0U);
  EXPECT_TRUE(fails_with(status("n3", session), ErrorCode::not_found, Subject::upload));
}

}  // namespace
}  // namespace hansa::registry::testing
