// Manifests and tags: pushes, pulls, deletes, conditions and rights, on a whole node.
#include "node/testing/bed.h"

namespace hansa::node::testing {
namespace {

class ManifestsTest : public ::testing::Test {
 protected:
  Result<registry::ManifestPushed> put_as(auth::Access who, registry::ManifestPush push,
                                          std::string_view where = "team/app") {
    return bed.run(bed.registry().put_manifest(std::move(who), name(where), std::move(push)));
  }
  Result<registry::ManifestHead> head(std::string_view reference) {
    return bed.run(bed.registry().head_manifest(bed.bob(), name("team/app"), ref(reference)));
  }
  // The config and these layers are there; the manifest is not pushed yet.
  std::string prepared(const std::vector<std::string>& layers) {
    bed.push_blob("team/app", "{}");
    for (const auto& layer : layers) bed.push_blob("team/app", layer);
    return image("{}", layers);
  }
  Bed bed;
};

TEST_F(ManifestsTest, PushedManifestIsPulledByTagAndByDigest) {
  const std::string body = bed.push_image("team/app", "v1", {"layer"});
  EXPECT_EQ(bed.pull("team/app", "v1"), body);
  EXPECT_EQ(bed.pull("team/app", digest(body).text()), body);
  const auto found = head("v1");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->digest, digest(body));
  EXPECT_EQ(found->media_type, oci::media_type::image_manifest);
  EXPECT_EQ(found->size, body.size());
  // From the disk too, not only from memory.
  bed.restart();
  EXPECT_EQ(bed.pull("team/app", "v1"), body);
}

TEST_F(ManifestsTest, WhatIsNotThereIsSaidExactly) {
  bed.push_image("team/app", "v1", {"layer"});
  EXPECT_TRUE(fails_with(head("v2"), ErrorCode::not_found, Subject::manifest));
  EXPECT_TRUE(fails_with(head(digest("no such").text()), ErrorCode::not_found, Subject::manifest));
  const auto nowhere = bed.run(bed.registry().get_manifest(bed.bob(), name("no/such"), ref("v1")));
  EXPECT_TRUE(fails_with(nowhere, ErrorCode::not_found, Subject::repository));
}

TEST_F(ManifestsTest, TagMovesWithTheNextPush) {
  const std::string first = bed.push_image("team/app", "v1", {"one"});
  const std::string second = bed.push_image("team/app", "v1", {"two"});
  EXPECT_EQ(bed.pull("team/app", "v1"), second);
  EXPECT_EQ(bed.pull("team/app", digest(first).text()), first);
}

TEST_F(ManifestsTest, DigestThatIsNotTheBodysIsRefused) {
  const std::string body = prepared({"layer"});
  EXPECT_TRUE(fails_with(bed.put("team/app", digest("other").text(), body), ErrorCode::invalid, Subject::digest));
  EXPECT_TRUE(bed.put("team/app", digest(body).text(), body));
  EXPECT_TRUE(bed.put("team/app", oci::Digest::compute(oci::Algorithm::sha512, as_bytes(body)).text(), body));
}

TEST_F(ManifestsTest, ManifestWithAMissingPartIsRefused) {
  prepared({"here"});
  bed.push_blob("team/other", "elsewhere");
  const auto refused = bed.put("team/app", "v1", image("{}", {"here", "elsewhere"}));
  EXPECT_TRUE(fails_with(refused, ErrorCode::missing_reference, Subject::manifest));
  EXPECT_NE(refused.error().message.find(digest("elsewhere").text()), std::string::npos);
  EXPECT_EQ(bed.pull("team/app", "v1"), "not_found");
  const std::string child = image("{}", {"here"});
  const auto orphan = bed.put("team/app", "v1", index({child}));
  EXPECT_TRUE(fails_with(orphan, ErrorCode::missing_reference, Subject::manifest));
  // A blob with the child's bytes is no child manifest.
  bed.push_blob("team/app", child);
  EXPECT_TRUE(fails_with(bed.put("team/app", "v1", index({child})), ErrorCode::missing_reference));
  ASSERT_TRUE(bed.put("team/app", digest(child).text(), child));
  EXPECT_TRUE(bed.put("team/app", "v1", index({child})));
}

TEST_F(ManifestsTest, ForeignLayersNeedNotBeHeld) {
  prepared({});
  const std::string body = R"({"schemaVersion":2,"mediaType":")" + std::string(oci::media_type::image_manifest) +
                           R"(","config":)" + descriptor(oci::media_type::image_config, "{}") + R"(,"layers":[)" +
                           descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar", "far away") + "]}";
  EXPECT_TRUE(bed.put("team/app", "v1", body));
}

TEST_F(ManifestsTest, BodyThatIsNoManifestIsRefused) {
  EXPECT_TRUE(fails_with(bed.put("team/app", "v1", "{"), ErrorCode::invalid, Subject::manifest));
  const auto type = bed.put("team/app", bed.manifest("v1", prepared({}), "text/plain"));
  EXPECT_TRUE(fails_with(type, ErrorCode::unsupported, Subject::media_type));
  const auto other = bed.put("team/app", bed.manifest("v1", prepared({}), oci::media_type::docker_manifest));
  EXPECT_TRUE(fails_with(other, ErrorCode::invalid, Subject::manifest));
}

TEST_F(ManifestsTest, SubjectIsTold) {
  const std::string base = bed.push_image("team/app", "v1", {"layer"});
  const std::string body = image("{}", {}, R"(,"subject":)" + descriptor(oci::media_type::image_manifest, base));
  const auto pushed = bed.put("team/app", digest(body).text(), body);
  ASSERT_TRUE(pushed) << describe(pushed.error());
  EXPECT_EQ(pushed->subject, digest(base));
  EXPECT_TRUE(pushed->tags.empty());
}

TEST_F(ManifestsTest, OnePushMaySetManyTagsAtOnce) {
  auto push = bed.manifest(digest(prepared({"layer"})).text(), image("{}", {"layer"}));
  for (std::size_t i = 0; i < registry::max_tags_per_push; ++i) {
    push.tags.push_back(oci::Tag::parse("t" + std::to_string(i)).value());
  }
  const auto pushed = bed.put("team/app", push);
  ASSERT_TRUE(pushed) << describe(pushed.error());
  EXPECT_EQ(pushed->tags.size(), registry::max_tags_per_push);
  EXPECT_EQ(bed.pull("team/app", "t99"), push.body);
  push.tags.push_back(oci::Tag::parse("one-more").value());
  EXPECT_TRUE(fails_with(bed.put("team/app", push), ErrorCode::too_many, Subject::tag));
  EXPECT_EQ(bed.pull("team/app", "one-more"), "not_found");
}

// ---- conditions -------------------------------------------------------------------------------------------------

TEST_F(ManifestsTest, IfMatchPutsOnlyOverWhatTheClientSaw) {
  const std::string first = bed.push_image("team/app", "v1", {"one"});
  const std::string second = prepared({"two"});
  auto push = bed.manifest("v1", second);
  push.if_match = digest("something else");
  EXPECT_TRUE(fails_with(bed.put("team/app", push), ErrorCode::precondition));
  EXPECT_EQ(bed.pull("team/app", "v1"), first);
  push.if_match = digest(first);
  EXPECT_TRUE(bed.put("team/app", push));
  EXPECT_EQ(bed.pull("team/app", "v1"), second);
  push.reference = ref("new");
  EXPECT_TRUE(fails_with(bed.put("team/app", push), ErrorCode::precondition));
}

TEST_F(ManifestsTest, IfNoneMatchPutsOnlyWhatIsNew) {
  auto push = bed.manifest("v1", prepared({"one"}));
  push.if_none_match = true;
  EXPECT_TRUE(bed.put("team/app", push));
  push.body = prepared({"two"});
  EXPECT_TRUE(fails_with(bed.put("team/app", push), ErrorCode::precondition));
  EXPECT_EQ(bed.pull("team/app", "v1"), image("{}", {"one"}));
}

// ---- rights -----------------------------------------------------------------------------------------------------

TEST_F(ManifestsTest, CreateMakesTagsAndUpdateMovesThem) {
  const std::string first = bed.push_image("team/app", "v1", {"one"});
  const std::string second = prepared({"two"});
  bed.rights->creators.insert("dave");
  EXPECT_TRUE(fails_with(put_as(bed.as("carol"), bed.manifest("new", second)), ErrorCode::denied));
  EXPECT_TRUE(put_as(bed.as("carol"), bed.manifest("v1", second)));
  EXPECT_TRUE(fails_with(put_as(bed.as("dave"), bed.manifest("v1", first)), ErrorCode::denied));
  EXPECT_TRUE(put_as(bed.as("dave"), bed.manifest("new", first)));
  EXPECT_EQ(bed.pull("team/app", "v1"), second);
  EXPECT_EQ(bed.pull("team/app", "new"), first);
}

TEST_F(ManifestsTest, ReadersNeitherPushNorDelete) {
  const std::string body = bed.push_image("team/app", "v1", {"one"});
  EXPECT_TRUE(fails_with(put_as(bed.bob(), bed.manifest("v1", body)), ErrorCode::denied));
  EXPECT_TRUE(fails_with(put_as(bed.nobody(), bed.manifest("v1", body)), ErrorCode::unauthenticated));
  const auto removed = bed.run(bed.registry().delete_manifest(bed.as("carol"), name("team/app"), ref("v1")));
  EXPECT_TRUE(fails_with(removed, ErrorCode::denied));
  const auto read = bed.run(bed.registry().get_manifest(bed.nobody(), name("team/app"), ref("v1")));
  EXPECT_TRUE(fails_with(read, ErrorCode::unauthenticated));
}

// ---- deletes ----------------------------------------------------------------------------------------------------

TEST_F(ManifestsTest, DeleteOfATagLeavesTheManifest) {
  const std::string body = bed.push_image("team/app", "v1", {"one"});
  ASSERT_TRUE(bed.remove("team/app", "v1"));
  EXPECT_EQ(bed.pull("team/app", "v1"), "not_found");
  EXPECT_EQ(bed.pull("team/app", digest(body).text()), body);
  EXPECT_TRUE(fails_with(bed.remove("team/app", "v1"), ErrorCode::not_found, Subject::manifest));
}

TEST_F(ManifestsTest, DeleteByDigestTakesAllTagsAndIsFinal) {
  const std::string body = bed.push_image("team/app", "v1", {"one"});
  bed.push_image("team/app", "v2", {"one"});
  const std::string other = bed.push_image("team/app", "v3", {"two"});
  ASSERT_TRUE(bed.remove("team/app", digest(body).text()));
  EXPECT_EQ(bed.pull("team/app", "v1"), "not_found");
  EXPECT_EQ(bed.pull("team/app", digest(body).text()), "not_found");
  EXPECT_EQ(bed.pull_blob("team/app", digest(body)), "not_found");
  EXPECT_EQ(bed.pull("team/app", "v3"), other);
  bed.crash();
  bed.start();
  EXPECT_EQ(bed.pull("team/app", "v2"), "not_found");
  // The old tags do not come back with the digest.
  ASSERT_TRUE(bed.put("team/app", "v9", body));
  EXPECT_EQ(bed.pull("team/app", "v9"), body);
  EXPECT_EQ(bed.pull("team/app", "v1"), "not_found");
}

TEST_F(ManifestsTest, ChildOfAnIndexIsNotDeleted) {
  const std::string child = bed.push_image("team/app", "", {"one"});
  const std::string list = index({child});
  ASSERT_TRUE(bed.put("team/app", "v1", list));
  EXPECT_TRUE(fails_with(bed.remove("team/app", digest(child).text()), ErrorCode::referenced, Subject::manifest));
  ASSERT_TRUE(bed.remove("team/app", digest(list).text()));
  EXPECT_TRUE(bed.remove("team/app", digest(child).text()));
}

// A client that deletes and pushes the same image again sends no blobs: what the deleted one held is still there.
TEST_F(ManifestsTest, DeletedImageCanBePushedAgainWithoutItsBlobs) {
  const std::string body = bed.push_image("team/app", "v1", {"one"});
  bed.ticks(12);
  ASSERT_TRUE(bed.remove("team/app", digest(body).text()));
  bed.collect();
  ASSERT_TRUE(bed.put("team/app", "v1", body));
  EXPECT_EQ(bed.pull_blob("team/app", digest("one")), "one");
}

// But a blob that was deleted by name is gone, whatever the deleted image held (H14).
TEST_F(ManifestsTest, DeletedBlobIsMissingFromTheNextPush) {
  const std::string body = bed.push_image("team/app", "v1", {"one"});
  ASSERT_TRUE(bed.remove("team/app", digest(body).text()));
  ASSERT_TRUE(bed.run(bed.registry().delete_blob(bed.alice(), name("team/app"), digest("one"))));
  EXPECT_TRUE(fails_with(bed.put("team/app", "v1", body), ErrorCode::missing_reference));
  bed.push_blob("team/app", "one");
  EXPECT_TRUE(bed.put("team/app", "v1", body));
}

}  // namespace
}  // namespace hansa::node::testing
