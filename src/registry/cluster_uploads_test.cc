// Upload sessions of a cluster: any member passes requests on to the one that has the session.
#include "registry/testing/cluster_bed.h"

namespace hansa::registry::testing {
namespace {

class ClusterUploads : public ::testing::Test {
 protected:
  std::string begin(const std::string& at, const std::string& user = "alice") {
    auto begun = bed[at].run(bed[at].registry->begin_upload(bed[at].as(user), repository, oci::Algorithm::sha256));
    EXPECT_TRUE(begun) << describe(begun.error());
    return begun->session;
  }
  Result<UploadStatus> status(const std::string& at, const std::string& session, const std::string& user = "alice") {
    return bed[at].run(bed[at].registry->upload_status(bed[at].as(user), repository, session));
  }
  Result<UploadStatus> append(const std::string& at, const std::string& session, const std::string& text,
                              std::optional<ChunkRange> range = std::nullopt) {
    io::MemorySource source(as_bytes(text));
    return bed[at].run(bed[at].registry->append_upload(bed[at].alice(), repository, session, range, source));
  }
  Result<void> finish(const std::string& at, const std::string& session, const std::string& text,
                      const oci::Digest& expected) {
    io::MemorySource source(as_bytes(text));
    return bed[at].run(
        bed[at].registry->finish_upload(bed[at].alice(), repository, session, std::nullopt, source, expected));
  }
  Result<void> cancel(const std::string& at, const std::string& session) {
    return bed[at].run(bed[at].registry->cancel_upload(bed[at].alice(), repository, session));
  }

  const oci::RepositoryName repository = name("team/app");
  ClusterBed bed{3};
};

TEST_F(ClusterUploads, ASessionGoesOnThroughAnyMember) {
  const auto session = begin("n1");
  EXPECT_EQ(append("n2", session, "abc")->received, 3U);
  EXPECT_EQ(append("n3", session, "def", ChunkRange{.first = 3, .last = 5})->received, 6U);
  EXPECT_EQ(status("n2", session)->received, 6U);
  EXPECT_EQ(status("n1", session)->session, session);
  ASSERT_TRUE(finish("n3", session, "ghi", digest("abcdefghi")));
  EXPECT_EQ(bed["n2"].pull_blob("team/app", digest("abcdefghi")), "abcdefghi");
  // Its end is remembered by its owner: a repeated PUT through any member succeeds again.
  EXPECT_TRUE(finish("n2", session, "", digest("abcdefghi")));
  EXPECT_TRUE(fails_with(status("n2", session), ErrorCode::not_found, Subject::upload));
}

TEST_F(ClusterUploads, LargeBodiesAreStreamedThrough) {
  const std::string text(5'000'000, 'x');
  const auto session = begin("n2");
  EXPECT_EQ(append("n1", session, text)->received, text.size());
  ASSERT_TRUE(finish("n3", session, text, digest(text + text)));
  EXPECT_EQ(bed["n1"].pull_blob("team/app", digest(text + text)), text + text);
}

TEST_F(ClusterUploads, ErrorsComeBackAsTheyAre) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n2", session, "abc"));
  EXPECT_TRUE(
      fails_with(append("n2", session, "x", ChunkRange{.first = 9, .last = 9}), ErrorCode::range, Subject::upload));
  EXPECT_TRUE(fails_with(finish("n2", session, "", digest("other")), ErrorCode::invalid, Subject::digest));
  EXPECT_TRUE(fails_with(status("n3", session), ErrorCode::not_found, Subject::upload));
}

TEST_F(ClusterUploads, CancelThroughAnotherMemberRemovesTheBytes) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n2", session, "abc"));
  EXPECT_EQ(bed["n1"].staged_files(), 1U);
  EXPECT_TRUE(cancel("n3", session));
  EXPECT_EQ(bed["n1"].staged_files(), 0U);
}

TEST_F(ClusterUploads, ASessionBelongsToOneUserAndRepositoryEverywhere) {
  const auto session = begin("n1");
  bed["n2"].rights->creators.insert("dave");
  EXPECT_TRUE(fails_with(status("n2", session, "dave"), ErrorCode::not_found, Subject::upload));
  EXPECT_TRUE(fails_with(status("n2", session, "bob"), ErrorCode::denied));
  auto elsewhere = bed["n2"].run(bed["n2"].registry->upload_status(bed["n2"].alice(), name("team/other"), session));
  EXPECT_TRUE(fails_with(elsewhere, ErrorCode::not_found, Subject::upload));
  // Nobody is asked about ids that the cluster did not make.
  const int before = bed.asked("upload.status");
  EXPECT_TRUE(fails_with(status("n2", "n1_00-sha256-00"), ErrorCode::not_found, Subject::upload));
  EXPECT_EQ(bed.asked("upload.status"), before);
}

// What another member has of it: cluster_takeover_test.cc.
TEST_F(ClusterUploads, WithNoOtherCopyAnOwnerThatIsAwayIsUnavailableAndOneThatIsGoneIsNotFound) {
  bed.set_layout({"n1"}, 1);  // no second copy
  const auto session = begin("n1");
  ASSERT_TRUE(append("n2", session, "abc"));
  bed.stop("n1", false);
  EXPECT_TRUE(fails_with(append("n2", session, "def"), ErrorCode::unavailable, Subject::upload));
  bed["n1"].start();
  EXPECT_EQ(append("n2", session, "def")->received, 6U);  // hashed anew from its start (H12)
  EXPECT_TRUE(finish("n3", session, "", digest("abcdef")));
  bed.set_layout({"n1", "n2", "n3"}, 2);
  const auto other = begin("n1");
  bed.stop("n1");
  bed.shared.must([](const catalog::Planning& p) { return plan_drain(p, "n1"); });
  bed.set_layout({"n2", "n3"}, 2);
  bed.shared.must([](const catalog::Planning& p) { return plan_forget(p, "n1"); });
  EXPECT_TRUE(fails_with(status("n2", other), ErrorCode::not_found, Subject::upload));
}

// The owner stops at any moment of a transfer; the client goes on where the owner says it stands, and ends up whole.
TEST_F(ClusterUploads, AClientResumesAfterItsOwnersLink) {
  const std::string text(1'000'000, 't');
  int broken = 0;
  for (int step = 0; step < 30; ++step) {
    const auto session = begin("n1");
    io::MemorySource source(as_bytes(text));
    std::optional<Result<UploadStatus>> sent;
    io::TaskScope scope(bed["n2"].executor);
    auto send = [this](std::string id, io::ByteSource& body,
                       std::optional<Result<UploadStatus>>& out) -> io::Task<void> {
      out.emplace(co_await bed["n2"].registry->append_upload(bed["n2"].alice(), repository, id, std::nullopt, body));
    };
    scope.spawn("send", send(session, source, sent));
    bed.shared.world.run_for(std::chrono::microseconds(700) * step);
    bed.network.cut(io::NodeId("n1"), io::NodeId("n2"));
    ASSERT_TRUE(bed.shared.world.run_until([&] { return sent.has_value(); }, std::chrono::minutes(3))) << step;
    sim::run(bed.shared.world, bed["n2"].executor, scope.close());
    bed.network.heal();
    if (!*sent) {
      ++broken;
      const auto code = sent->error().code;
      EXPECT_TRUE(code == ErrorCode::unavailable || code == ErrorCode::ambiguous) << describe(sent->error());
    }
    const auto stands = status("n2", session);
    ASSERT_TRUE(stands) << describe(stands.error());
    const std::string rest = text.substr(stands->received) + std::to_string(step);
    EXPECT_TRUE(finish("n3", session, rest, digest(text + std::to_string(step)))) << step;
  }
  EXPECT_GT(broken, 5);
}

// The client's own body breaks: what came stays with the owner.
TEST_F(ClusterUploads, ABodyThatBreaksOffLeavesWhatCame) {
  const auto session = begin("n1");
  node::testing::SlowSource source("abc", std::chrono::seconds(1), true);
  auto sent =
      bed["n2"].run(bed["n2"].registry->append_upload(bed["n2"].alice(), repository, session, std::nullopt, source));
  EXPECT_TRUE(fails_with(sent, ErrorCode::disconnected));
  EXPECT_EQ(status("n3", session)->received, 3U);
}

// A slow client is no reason to give the owner up; a silent owner is.
TEST_F(ClusterUploads, ASlowClientIsWaitedForAndASilentOwnerIsNot) {
  bed.set_layout({"n1"}, 1);  // no second copy
  const auto session = begin("n1");
  node::testing::SlowSource slow("abc", std::chrono::seconds(25), false);
  auto sent =
      bed["n2"].run(bed["n2"].registry->append_upload(bed["n2"].alice(), repository, session, std::nullopt, slow));
  EXPECT_EQ(sent->received, 3U);
  bed["n1"].executor.pause(std::chrono::hours(1));
  EXPECT_TRUE(fails_with(append("n2", session, "def"), ErrorCode::unavailable));
  EXPECT_TRUE(fails_with(status("n2", session), ErrorCode::unavailable));
}

TEST_F(ClusterUploads, StagedFilesThatAreWrittenForPeersDoNotExpire) {
  std::optional<Result<io::PeerResponse>> answer;
  io::TaskScope scope(bed["n1"].executor);
  auto put = [this](std::optional<Result<io::PeerResponse>>& out) -> io::Task<void> {
    io::PeerRequest request{
        .verb = "blob.put", .arguments = R"({"digest":")" + digest("abc").text() + R"(","size":3})", .body = nullptr};
    request.body = std::make_shared<node::testing::SlowSource>("abc", std::chrono::seconds(3), false);
    out.emplace(co_await bed["n1"].peer->call(io::NodeId("n2"), std::move(request)));
  };
  scope.spawn("put", put(answer));
  bed.shared.world.run_for(std::chrono::seconds(1));
  ASSERT_EQ(bed["n2"].staged_files(), 1U);
  ASSERT_TRUE(bed["n2"].run(bed["n2"].registry->expire_uploads()));
  bed.tick(12);
  ASSERT_TRUE(bed["n2"].run(bed["n2"].registry->expire_uploads()));
  ASSERT_FALSE(answer);
  sim::run(bed.shared.world, bed["n1"].executor, scope.join());
  EXPECT_TRUE(*answer) << describe(answer->error());
  EXPECT_TRUE(bed["n2"].has_file(digest("abc")));
}

}  // namespace
}  // namespace hansa::registry::testing
