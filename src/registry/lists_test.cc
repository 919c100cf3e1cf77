// Lists: tags, repositories, referrers, their pages and rights, on a whole node.
#include "node/testing/bed.h"

namespace hansa::node::testing {
namespace {

using Names = std::vector<std::string>;

class ListsTest : public ::testing::Test {
 protected:
  Result<registry::NameList> tags(std::string_view where, registry::Page page = {}) {
    return bed.run(bed.registry().list_tags(bed.bob(), name(where), std::move(page)));
  }
  Result<registry::NameList> repositories(auth::Access who, registry::Page page = {}) {
    return bed.run(bed.registry().list_repositories(std::move(who), std::move(page)));
  }
  Result<registry::ReferrerList> referrers(const oci::Digest& subject, std::vector<std::string> types = {},
                                           registry::Page page = {}) {
    return bed.run(
        bed.registry().list_referrers(bed.bob(), name("team/app"), subject, std::move(types), std::move(page)));
  }
  // An artifact of this type that refers to `subject`.
  oci::Digest attach(const std::string& subject, const std::string& type, const std::string& note) {
    const std::string more = R"(,"artifactType":")" + type + R"(","annotations":{"note":")" + note +
                             R"("},"subject":)" + descriptor(oci::media_type::image_manifest, subject);
    return digest(bed.push_image("team/app", "", {}, more));
  }
  Bed bed;
};

TEST_F(ListsTest, TagsComeInByteOrderPageByPage) {
  for (const auto* tag : {"b", "a", "B", "a1", "_x"}) bed.push_image("team/app", tag, {"layer"});
  EXPECT_EQ(tags("team/app")->names, (Names{"B", "_x", "a", "a1", "b"}));
  const auto first = tags("team/app", {.limit = 2, .after = ""});
  EXPECT_EQ(first->names, (Names{"B", "_x"}));
  EXPECT_TRUE(first->more);
  // The mark need not exist.
  const auto rest = tags("team/app", {.limit = 5, .after = "a0"});
  EXPECT_EQ(rest->names, (Names{"a1", "b"}));
  EXPECT_FALSE(rest->more);
  EXPECT_TRUE(tags("team/app", {.limit = 0, .after = ""})->names.empty());
}

TEST_F(ListsTest, TagsOfUntaggedAndUnknownRepositories) {
  bed.push_image("team/app", "", {"layer"});
  EXPECT_TRUE(tags("team/app")->names.empty());
  EXPECT_TRUE(fails_with(tags("no/such"), ErrorCode::not_found, Subject::repository));
}

TEST_F(ListsTest, DeletedTagsAreGone) {
  const std::string body = bed.push_image("team/app", "v1", {"layer"});
  bed.push_image("team/app", "v2", {"layer"});
  bed.push_image("team/app", "v3", {"other"});
  ASSERT_TRUE(bed.remove("team/app", digest(body).text()));
  EXPECT_EQ(tags("team/app")->names, (Names{"v3"}));
}

// Pages are kept until their repository changes.
TEST_F(ListsTest, APageShowsEachChangeAtOnce) {
  const registry::Page page{.limit = 3, .after = "a"};
  for (const auto* tag : {"a", "b", "c"}) bed.push_image("team/app", tag, {"layer"});
  for (int i = 0; i < 2; ++i) EXPECT_EQ(tags("team/app", page)->names, (Names{"b", "c"}));
  bed.push_image("team/app", "d", {"layer"});
  EXPECT_EQ(tags("team/app", page)->names, (Names{"b", "c", "d"}));
  EXPECT_EQ(tags("team/app", {.limit = 1, .after = "a"})->names, (Names{"b"}));
  ASSERT_TRUE(bed.remove("team/app", "b"));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(tags("team/app", page)->names, (Names{"c", "d"}));
  bed.rights->hidden.insert(name("team/app"));
  EXPECT_TRUE(fails_with(tags("team/app", page), ErrorCode::denied)) << "kept for those only who may read it";
}

TEST_F(ListsTest, RepositoriesShowWhatTheCallerMayRead) {
  for (const auto* where : {"b/one", "a/two", "a/three", "hidden/x"}) bed.push_image(where, "v1", {"layer"});
  bed.rights->hidden.insert(name("hidden/x"));
  EXPECT_EQ(repositories(bed.bob())->names, (Names{"a/three", "a/two", "b/one"}));
  EXPECT_EQ(repositories(bed.alice())->names, (Names{"a/three", "a/two", "b/one", "hidden/x"}));
  EXPECT_TRUE(repositories(bed.nobody())->names.empty());
  const auto page = repositories(bed.bob(), {.limit = 2, .after = "a/three"});
  EXPECT_EQ(page->names, (Names{"a/two", "b/one"}));
  EXPECT_FALSE(page->more);  // what is hidden is not hinted at
}

TEST_F(ListsTest, EmptiedRepositoryIsNotListed) {
  const std::string body = bed.push_image("team/app", "v1", {});
  ASSERT_TRUE(bed.remove("team/app", digest(body).text()));
  ASSERT_TRUE(bed.run(bed.registry().delete_blob(bed.alice(), name("team/app"), digest("{}"))));
  EXPECT_TRUE(repositories(bed.bob())->names.empty());
  EXPECT_TRUE(fails_with(tags("team/app"), ErrorCode::not_found, Subject::repository));
}

TEST_F(ListsTest, ReferrersOfASubject) {
  const std::string subject = bed.push_image("team/app", "v1", {"layer"});
  const auto signature = attach(subject, "application/vnd.test.signature", "signed");
  const auto sbom = attach(subject, "application/vnd.test.sbom", "parts");
  attach("another subject", "application/vnd.test.sbom", "unrelated");
  const auto all = referrers(digest(subject));
  ASSERT_TRUE(all) << describe(all.error());
  ASSERT_EQ(all->referrers.size(), 2U);
  const auto& first = all->referrers[0];
  EXPECT_EQ(first.descriptor.digest, std::min(signature, sbom));
  const auto one = referrers(digest(subject), {"application/vnd.test.sbom"});
  ASSERT_EQ(one->referrers.size(), 1U);
  EXPECT_EQ(one->referrers[0].descriptor.digest, sbom);
  EXPECT_EQ(one->referrers[0].artifact_type, "application/vnd.test.sbom");
  EXPECT_EQ(one->referrers[0].annotations.at("note"), "parts");
  const auto page = referrers(digest(subject), {}, {.limit = 1, .after = first.descriptor.digest.text()});
  ASSERT_EQ(page->referrers.size(), 1U);
  EXPECT_EQ(page->referrers[0].descriptor.digest, std::max(signature, sbom));
  ASSERT_TRUE(bed.remove("team/app", sbom.text()));
  EXPECT_EQ(referrers(digest(subject))->referrers.size(), 1U);
}

TEST_F(ListsTest, ReferrersOfNothingAreNone) {
  EXPECT_TRUE(referrers(digest("never pushed"))->referrers.empty());
  // A referrer may come before its subject.
  attach("later", "application/vnd.test.sbom", "early");
  EXPECT_EQ(referrers(digest("later"))->referrers.size(), 1U);
  EXPECT_TRUE(fails_with(referrers(digest("x"), {}, {.limit = 1, .after = "no digest"}), ErrorCode::invalid));
}

// A thousand of the largest would be gigabytes.
TEST_F(ListsTest, APageOfReferrersEndsOnceItsAnnotationsAreLarge) {
  for (int i = 0; i < 6; ++i) attach("subject", "application/vnd.test.sbom", std::to_string(i) + std::string(MiB, 'n'));
  std::set<oci::Digest> seen;
  registry::Page page;
  int pages = 0;
  for (bool more = true; more; ++pages) {
    const auto list = referrers(digest("subject"), {}, page);
    ASSERT_TRUE(list) << describe(list.error());
    ASSERT_FALSE(list->referrers.empty());
    EXPECT_LE(list->referrers.size(), 4U);
    for (const auto& one : list->referrers) seen.insert(one.descriptor.digest);
    page.after = list->referrers.back().descriptor.digest.text();
    more = list->more;
  }
  EXPECT_EQ(seen.size(), 6U);
  EXPECT_EQ(pages, 2);
}

// Annotations that do not fit the record come from the body (H15).
TEST_F(ListsTest, LargeAnnotationsOfReferrersAreWhole) {
  const std::string note(40 * KiB, 'n');
  attach("subject", "application/vnd.test.sbom", note);
  const auto list = referrers(digest("subject"));
  ASSERT_TRUE(list) << describe(list.error());
  EXPECT_EQ(list->referrers.at(0).annotations.at("note"), note);
}

}  // namespace
}  // namespace hansa::node::testing
