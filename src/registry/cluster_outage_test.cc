// Reads and writes of members that have lost the metadata store (P6, H10).
#include "registry/testing/cluster_bed.h"

namespace hansa::registry::testing {
namespace {

class ClusterOutage : public ::testing::Test {
 protected:
  ClusterOutage() {
    EXPECT_TRUE(bed["n1"].push_blob("team/app", "{}"));
    EXPECT_TRUE(bed["n1"].push_blob("team/app", "layer"));
    body = image("{}", {"layer"});
    EXPECT_TRUE(bed["n1"].push_manifest("team/app", "v1", body));
    for (const char* id : {"n1", "n2", "n3"}) EXPECT_EQ(bed[id].pull("team/app", "v1"), body);
  }
  void lose(const std::vector<std::string>& ids) {
    for (const auto& id : ids) bed[id].store.reachable = false;
  }
  Result<ManifestContent> get(const std::string& at, const std::string& reference = "v1") {
    return bed[at].run(bed[at].registry->get_manifest(bed[at].alice(), name("team/app"), testing::ref(reference)));
  }
  Result<ManifestHead> head(const std::string& at, const std::string& reference = "v1") {
    return bed[at].run(bed[at].registry->head_manifest(bed[at].alice(), name("team/app"), testing::ref(reference)));
  }
  Result<BlobHead> head_blob(const std::string& at, const std::string& content) {
    return bed[at].run(bed[at].registry->head_blob(bed[at].alice(), name("team/app"), digest(content)));
  }

  ClusterBed bed{3};
  std::string body;
};

TEST_F(ClusterOutage, AMemberWhoseBarrierPassesIsAskedFirstAndItsAnswerIsNotStale) {
  lose({"n1"});
  EXPECT_EQ(*get("n1")->body, body);
  EXPECT_FALSE(get("n1")->head.stale);
  EXPECT_FALSE(head("n1", digest(body).text())->stale);
  EXPECT_GT(bed.asked("manifest.find"), 0);
  // What that member does not see is not there (P8).
  EXPECT_TRUE(fails_with(get("n1", "v2"), ErrorCode::not_found, Subject::manifest));
  lose({"n2"});
  EXPECT_FALSE(get("n1")->head.stale);
}

TEST_F(ClusterOutage, WhereNoneCanSayTheOwnViewAnswersMarked) {
  lose({"n1", "n2", "n3"});
  EXPECT_EQ(*get("n2")->body, body);
  EXPECT_TRUE(get("n2")->head.stale);
  EXPECT_TRUE(head("n2")->stale);
  EXPECT_TRUE(head_blob("n2", "layer")->stale);
  auto blob = bed["n2"].run(bed["n2"].registry->get_blob(bed["n2"].alice(), name("team/app"), digest("layer")));
  EXPECT_TRUE(blob->head.stale);
  EXPECT_TRUE(bed["n2"].run(bed["n2"].registry->list_tags(bed["n2"].alice(), name("team/app"), {}))->stale);
  EXPECT_TRUE(bed["n2"].run(bed["n2"].registry->list_repositories(bed["n2"].alice(), {}))->stale);
  auto referrers =
      bed["n2"].run(bed["n2"].registry->list_referrers(bed["n2"].alice(), name("team/app"), digest(body), {}, {}));
  EXPECT_TRUE(referrers->stale);
  EXPECT_GE(bed["n2"].registry->stale_answers(), 8U);
  for (const char* id : {"n1", "n2", "n3"}) bed[id].store.reachable = true;
  EXPECT_FALSE(get("n2")->head.stale);
  EXPECT_FALSE(head_blob("n2", "layer")->stale);
}

// What a stale view does not show may have come since: never a 404 (H9).
TEST_F(ClusterOutage, AStaleViewGivesNoNegativeAnswer) {
  lose({"n1", "n2", "n3"});
  EXPECT_TRUE(fails_with(get("n1", "v2"), ErrorCode::unavailable));
  EXPECT_TRUE(fails_with(head_blob("n1", "other"), ErrorCode::unavailable));
  auto tags = bed["n1"].run(bed["n1"].registry->list_tags(bed["n1"].alice(), name("no/such"), {}));
  EXPECT_TRUE(fails_with(tags, ErrorCode::unavailable));
}

TEST_F(ClusterOutage, OnlyForAWhileAfterTheLastBarrierThatPassed) {
  lose({"n1", "n2", "n3"});
  bed.shared.world.run_for(std::chrono::minutes(59));
  EXPECT_TRUE(get("n1"));
  bed.shared.world.run_for(std::chrono::minutes(2));
  EXPECT_TRUE(fails_with(get("n1"), ErrorCode::unavailable));
  EXPECT_TRUE(fails_with(head_blob("n1", "layer"), ErrorCode::unavailable));
}

// A process that never passed a barrier knows nothing of its view's age (H10); it may still ask.
TEST_F(ClusterOutage, AFreshProcessAnswersNothingOfItself) {
  bed["n1"].stop();
  lose({"n1"});
  bed["n1"].start();
  EXPECT_FALSE(get("n1")->head.stale);
  lose({"n2", "n3"});
  bed.shared.world.run_for(std::chrono::seconds(5));
  EXPECT_TRUE(fails_with(get("n1"), ErrorCode::unavailable));
}

TEST_F(ClusterOutage, WritesAreRefused) {
  lose({"n1", "n2", "n3"});
  EXPECT_TRUE(fails_with(bed["n1"].push_blob("team/app", "new"), ErrorCode::unavailable));
  EXPECT_TRUE(fails_with(bed["n1"].push_manifest("team/app", "v2", body), ErrorCode::unavailable));
  auto removed = bed["n1"].run(bed["n1"].registry->delete_manifest(bed["n1"].alice(), name("team/app"), ref("v1")));
  EXPECT_TRUE(fails_with(removed, ErrorCode::unavailable));
}

// A pusher's HEAD renews what is old, which needs a commit; without a quorum it answers all the same.
TEST_F(ClusterOutage, AHeadRenewsNothing) {
  const std::string untagged = image("{}", {"layer"}, R"(,"annotations":{"a":"b"})");
  ASSERT_TRUE(bed["n1"].push_manifest("team/app", digest(untagged).text(), untagged));
  ASSERT_TRUE(bed["n1"].push_blob("team/app", "loose"));
  bed.tick(3);
  lose({"n1"});
  const auto before = bed["n1"].store.commits;
  EXPECT_TRUE(head("n1"));
  EXPECT_TRUE(head("n1", digest(untagged).text()));
  EXPECT_TRUE(head_blob("n1", "loose"));
  EXPECT_EQ(bed["n1"].store.commits, before);
}

// Members that cannot say are not waited for by every read.
TEST_F(ClusterOutage, ReadsStayQuick) {
  lose({"n1", "n2", "n3"});
  bed["n2"].executor.pause(std::chrono::hours(2));
  bed["n3"].executor.pause(std::chrono::hours(2));
  const auto began = bed.shared.world.now();
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(get("n1")->head.stale);
  EXPECT_LT(bed.shared.world.now() - began, std::chrono::milliseconds(1500));
}

TEST_F(ClusterOutage, RightsHoldAllTheSame) {
  lose({"n1", "n2", "n3"});
  bed["n1"].rights->hidden.insert(name("team/app"));
  auto got = bed["n1"].run(bed["n1"].registry->get_manifest(bed["n1"].as("bob"), name("team/app"), ref("v1")));
  EXPECT_TRUE(fails_with(got, ErrorCode::denied));
}

}  // namespace
}  // namespace hansa::registry::testing
