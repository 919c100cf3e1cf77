// Blobs that are there: pulls, mounts, deletes and rights, on a whole node.
#include "node/testing/bed.h"

namespace hansa::node::testing {
namespace {

class BlobsTest : public ::testing::Test {
 protected:
  Result<registry::BlobHead> head(auth::Access who, std::string_view where, const oci::Digest& wanted) {
    return bed.run(bed.registry().head_blob(std::move(who), name(where), wanted));
  }
  Result<registry::BlobContent> get(auth::Access who, std::string_view where, const oci::Digest& wanted) {
    return bed.run(bed.registry().get_blob(std::move(who), name(where), wanted));
  }
  Result<bool> mount(auth::Access who, std::string_view to, const oci::Digest& wanted,
                     std::optional<oci::RepositoryName> from = std::nullopt) {
    return bed.run(bed.registry().mount_blob(std::move(who), name(to), wanted, std::move(from)));
  }
  Result<void> erase(auth::Access who, std::string_view where, const oci::Digest& wanted) {
    return bed.run(bed.registry().delete_blob(std::move(who), name(where), wanted));
  }
  Bed bed;
};

TEST_F(BlobsTest, BlobBelongsToItsRepositoryOnly) {
  bed.push_blob("team/app", "text");
  bed.push_blob("team/other", "else");
  EXPECT_EQ(head(bed.bob(), "team/app", digest("text"))->size, 4U);
  EXPECT_TRUE(fails_with(get(bed.bob(), "team/other", digest("text")), ErrorCode::not_found, Subject::blob));
  EXPECT_TRUE(fails_with(head(bed.bob(), "team/other", digest("text")), ErrorCode::not_found, Subject::blob));
  EXPECT_TRUE(fails_with(get(bed.bob(), "no/such", digest("text")), ErrorCode::not_found, Subject::repository));
}

TEST_F(BlobsTest, MediaTypeIsTheOneAManifestNames) {
  const std::string body = bed.push_image("team/app", "v1", {"layer"});
  bed.push_blob("team/app", "loose");
  EXPECT_EQ(head(bed.bob(), "team/app", digest("layer"))->media_type, layer_type);
  EXPECT_EQ(head(bed.bob(), "team/app", digest("loose"))->media_type, oci::media_type::octet_stream);
  // A manifest is served as a blob too.
  const auto as_blob = get(bed.bob(), "team/app", digest(body));
  ASSERT_TRUE(as_blob) << describe(as_blob.error());
  EXPECT_EQ(as_blob->head.media_type, oci::media_type::image_manifest);
  EXPECT_EQ(bed.pull_blob("team/app", digest(body)), body);
}

TEST_F(BlobsTest, RightsAreAskedBeforeAnythingElse) {
  bed.push_blob("team/app", "text");
  bed.rights->hidden.insert(name("team/app"));
  EXPECT_TRUE(fails_with(get(bed.bob(), "team/app", digest("text")), ErrorCode::denied));
  EXPECT_TRUE(fails_with(head(bed.nobody(), "team/app", digest("text")), ErrorCode::unauthenticated));
  EXPECT_TRUE(fails_with(erase(bed.bob(), "team/app", digest("text")), ErrorCode::denied));
  EXPECT_TRUE(fails_with(mount(bed.bob(), "team/other", digest("text")), ErrorCode::denied));
  EXPECT_EQ(bed.pull_blob("team/app", digest("text")), "text");
}

TEST_F(BlobsTest, MountNamesTheBlobInAnotherRepository) {
  bed.push_blob("team/app", "text");
  EXPECT_EQ(mount(bed.alice(), "team/copy", digest("text"), name("team/app")), true);
  EXPECT_EQ(bed.pull_blob("team/copy", digest("text")), "text");
  // It stays there when the source lets go.
  ASSERT_TRUE(erase(bed.alice(), "team/app", digest("text")));
  EXPECT_EQ(bed.pull_blob("team/copy", digest("text")), "text");
}

TEST_F(BlobsTest, MountFindsASourceThatTheCallerMayRead) {
  bed.push_blob("team/secret", "text");
  bed.rights->hidden.insert(name("team/secret"));
  bed.rights->creators.insert("dave");
  EXPECT_EQ(mount(bed.as("dave"), "dave/app", digest("text")), false);
  EXPECT_EQ(mount(bed.as("dave"), "dave/app", digest("text"), name("team/secret")), false);
  EXPECT_TRUE(fails_with(get(bed.alice(), "dave/app", digest("text")), ErrorCode::not_found));
  bed.push_image("team/open", "v1", {"text"});
  EXPECT_EQ(mount(bed.as("dave"), "dave/app", digest("text")), true);
  EXPECT_EQ(bed.pull_blob("dave/app", digest("text")), "text");
}

TEST_F(BlobsTest, MountOfWhatIsNotThereOpensASessionInstead) {
  bed.push_blob("team/app", "text");
  EXPECT_EQ(mount(bed.alice(), "team/copy", digest("other")), false);
  EXPECT_EQ(mount(bed.alice(), "team/copy", digest("text"), name("team/empty")), false);
  ASSERT_TRUE(erase(bed.alice(), "team/app", digest("text")));
  EXPECT_EQ(mount(bed.alice(), "team/copy", digest("text"), name("team/app")), false);
}

TEST_F(BlobsTest, DeleteIsFinalUntilTheNextPush) {
  bed.push_blob("team/app", "text");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(bed.pull_blob("team/app", digest("text")), "text");
  ASSERT_TRUE(erase(bed.alice(), "team/app", digest("text")));
  EXPECT_EQ(bed.pull_blob("team/app", digest("text")), "not_found");
  EXPECT_TRUE(fails_with(erase(bed.alice(), "team/app", digest("text")), ErrorCode::not_found));
  bed.restart();
  EXPECT_EQ(bed.pull_blob("team/app", digest("text")), "not_found");
  bed.push_blob("team/app", "text");
  EXPECT_EQ(bed.pull_blob("team/app", digest("text")), "text");
}

TEST_F(BlobsTest, BlobThatAManifestNeedsIsNotDeleted) {
  const std::string body = bed.push_image("team/app", "v1", {"layer"});
  EXPECT_TRUE(fails_with(erase(bed.alice(), "team/app", digest("layer")), ErrorCode::referenced, Subject::blob));
  EXPECT_TRUE(fails_with(erase(bed.alice(), "team/app", digest(body)), ErrorCode::referenced, Subject::blob));
  ASSERT_TRUE(bed.remove("team/app", digest(body).text()));
  EXPECT_TRUE(erase(bed.alice(), "team/app", digest("layer")));
}

// An ordinary client asks with HEAD, or mounts, before it uploads; a 200 would leave the image broken for ever.
TEST_F(BlobsTest, APusherIsToldToUploadWhatIsLostAndAPullerIsNot) {
  bed.push_image("team/app", "v1", {"layer"});
  bed.stop();
  const std::string hex = digest("layer").hex();
  ASSERT_TRUE(bed.disk.remove("/data/blobs/sha256/" + hex.substr(0, 2) + "/" + hex));
  bed.start();
  EXPECT_TRUE(head(bed.bob(), "team/app", digest("layer"))) << "bob may only read";
  EXPECT_TRUE(fails_with(head(bed.alice(), "team/app", digest("layer")), ErrorCode::not_found, Subject::blob));
  EXPECT_FALSE(mount(bed.alice(), "team/new", digest("layer"), name("team/app")).value());
  bed.push_blob("team/app", "layer");
  EXPECT_TRUE(head(bed.alice(), "team/app", digest("layer")));
  EXPECT_TRUE(mount(bed.alice(), "team/new", digest("layer"), name("team/app")).value());
  EXPECT_EQ(bed.pull_blob("team/new", digest("layer")), "layer");
}

// Bytes that cannot be had now are no reason to say that the blob does not exist.
TEST_F(BlobsTest, MissingFileIsUnavailableAndAPushHealsIt) {
  bed.push_image("team/app", "v1", {"layer"});
  bed.stop();
  const std::string hex = digest("layer").hex();
  ASSERT_TRUE(bed.disk.remove("/data/blobs/sha256/" + hex.substr(0, 2) + "/" + hex));
  bed.start();
  EXPECT_TRUE(fails_with(get(bed.alice(), "team/app", digest("layer")), ErrorCode::unavailable, Subject::blob));
  bed.push_blob("team/app", "layer");
  EXPECT_EQ(bed.pull_blob("team/app", digest("layer")), "layer");
}

}  // namespace
}  // namespace hansa::node::testing
