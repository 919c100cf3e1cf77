// What exists, who holds what, and the lists.
#include "catalog/snapshot.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "catalog/bed_test.h"

namespace hansa::catalog {
namespace {

using testing::Bed;
using testing::blob;
using testing::digest;
using testing::image;
using testing::index;
using testing::name;
using testing::referrer;
using testing::tag;

const auto app = [] { return name("app"); };

// Puts a record past the planners, for states that take many commits.
Planner raw_tag(const std::string& text, const std::string& id) {
  return [text, id](const Planning& p) -> Result<Plan> {
    TagRecord record;
    record.operation = p.operation;
    record.digest = digest(id);
    return Plan{meta::Commit{p.operation, {}, {{keys::tag(app(), tag(text)), encode(record), 0}}, {}}, std::nullopt};
  };
}

TEST(Visibility, ATagShowsItsManifest) {
  Bed bed;
  bed.link("app", "layer");
  bed.put("app", "m", image({"layer"}), {"v1", "v2"});
  auto view = bed.now();
  const auto found = view.tag(app(), tag("v1")).value();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->manifest.digest, digest("m"));
  EXPECT_EQ(found->manifest.media_type, oci::media_type::image_manifest);
  EXPECT_EQ(found->manifest.size, 100u);
  EXPECT_EQ(found->manifest.kind, oci::ManifestKind::image);
  EXPECT_FALSE(view.tag(app(), tag("v3")).value());
  EXPECT_FALSE(view.tag(name("other"), tag("v1")).value());
  EXPECT_EQ(view.tags_of(app(), digest("m"), 10).value(), (std::vector{tag("v1"), tag("v2")}));
}

// Tags beyond what one delete may touch vanish with the manifest and do not come back with it (H13).
TEST(Visibility, LeftOverTagsStayInvisibleWhenTheDigestIsPushedAgain) {
  Bed bed;
  bed.put("app", "m", image({}), {"first"});
  for (int i = 0; i < 150; ++i) bed.must(raw_tag("t" + std::to_string(1000 + i), "m"));
  EXPECT_EQ(bed.now().list_tags(app(), "", 1000)->names.size(), 151u);
  bed.must(bed.deleting_manifest("app", "m"));
  EXPECT_TRUE(bed.now().list_tags(app(), "", 1000)->names.empty());
  EXPECT_EQ(bed.now().repository_state(app()).value()->tags, 51u);  // records that are left
  bed.put("app", "m", image({}), {"again"});
  EXPECT_EQ(bed.now().list_tags(app(), "", 1000)->names, std::vector<std::string>{"again"});
  EXPECT_FALSE(bed.now().tag(app(), tag("t1149")).value());
  EXPECT_EQ(bed.sweep("app"), 51u);  // at once: they show nothing
  EXPECT_EQ(bed.now().repository_state(app()).value()->tags, 1u);
}

TEST(Presence, ALinkOrAManifestGivesItAGraveDoesNot) {
  Bed bed;
  bed.link("app", "layer");
  auto with_type = image({});
  with_type->blobs.push_back({"application/special", digest("layer"), 5});
  EXPECT_EQ(bed.now().blob(app(), digest("layer")).value()->media_type, oci::media_type::octet_stream);
  bed.put("app", "m", with_type);
  auto held = bed.now().blob(app(), digest("layer")).value();
  ASSERT_TRUE(held);
  EXPECT_TRUE(held->linked && held->held && !held->manifest);
  EXPECT_EQ(held->media_type, "application/special");
  EXPECT_TRUE(bed.now().blob(app(), digest("m")).value()->manifest);
  bed.must(bed.deleting_manifest("app", "m"));
  EXPECT_TRUE(bed.now().grave(app(), digest("m")).value());
  EXPECT_FALSE(bed.now().blob(app(), digest("m")).value());
  EXPECT_TRUE(bed.now().blob(app(), digest("layer")).value());  // its link
  bed.must(bed.deleting_blob("app", "layer"));
  EXPECT_FALSE(bed.now().blob(app(), digest("layer")).value());
  EXPECT_TRUE(bed.now().named_anywhere(digest("layer")).value());  // the grave protects the bytes
}

// A deleted blob satisfies no push, although an older grave still names it (H14).
TEST(Presence, AGoneMarkOutranksOlderGraves) {
  Bed bed;
  bed.link("app", "layer");
  bed.put("app", "m", image({"layer"}));
  bed.must(bed.deleting_manifest("app", "m"));
  EXPECT_TRUE(bed.now().satisfies_push(app(), digest("layer")).value());
  bed.must(bed.deleting_blob("app", "layer"));
  EXPECT_FALSE(bed.now().satisfies_push(app(), digest("layer")).value());
  EXPECT_EQ(bed.refusal(bed.putting("app", "m", image({"layer"}))), ErrorCode::missing_reference);
  bed.link("app", "layer");
  bed.put("app", "m", image({"layer"}));
}

TEST(Presence, AGraveSatisfiesForBlobsAndNeverForAChild) {
  Bed bed;
  bed.put("app", "child", image({}));
  bed.must(bed.deleting_manifest("app", "child"));
  EXPECT_EQ(bed.refusal(bed.putting("app", "idx", index({"child"}))), ErrorCode::missing_reference);
}

TEST(Presence, BytesAreNamedByLinksManifestsAndGravesOfAnyRepository) {
  Bed bed;
  EXPECT_FALSE(bed.now().named_anywhere(digest("x")).value());
  bed.link("b", "x");
  EXPECT_TRUE(bed.now().named_anywhere(digest("x")).value());
  bed.must(bed.deleting_blob("b", "x"));
  EXPECT_FALSE(bed.now().named_anywhere(digest("x")).value());
  bed.put("a", "m", image({}));
  EXPECT_TRUE(bed.now().named_anywhere(digest("m")).value());
  bed.must(bed.deleting_manifest("a", "m"));
  EXPECT_TRUE(bed.now().named_anywhere(digest("m")).value());
  bed.tick(10);
  EXPECT_EQ(bed.sweep("a"), 1u);
  EXPECT_FALSE(bed.now().named_anywhere(digest("m")).value());
}

TEST(Presence, MountsFindWhereABlobIs) {
  Bed bed;
  for (const char* repository : {"c", "a", "b"}) bed.link(repository, "x");
  bed.must(bed.deleting_blob("b", "x"));
  auto names = bed.now().repositories_holding(digest("x"), 64).value();
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector{name("a"), name("c")}));
  EXPECT_EQ(bed.now().repositories_holding(digest("x"), 1)->size(), 1u);
  EXPECT_TRUE(bed.now().repositories_holding(digest("y"), 64)->empty());
}

TEST(Lists, TagsArePagedInByteOrderFromAnywhere) {
  Bed bed;
  bed.put("app", "m", image({}), {"b", "a", "B", "a.1", "_"});
  auto view = bed.now();
  const auto all = view.list_tags(app(), "", 10).value();
  EXPECT_EQ(all.names, (std::vector<std::string>{"B", "_", "a", "a.1", "b"}));
  EXPECT_FALSE(all.more);
  const auto page = view.list_tags(app(), "A", 2).value();  // A is no tag
  EXPECT_EQ(page.names, (std::vector<std::string>{"B", "_"}));
  EXPECT_TRUE(page.more);
  EXPECT_EQ(view.list_tags(app(), "_", 2)->names, (std::vector<std::string>{"a", "a.1"}));
  const auto last = view.list_tags(app(), "a", 2).value();
  EXPECT_EQ(last.names, (std::vector<std::string>{"a.1", "b"}));
  EXPECT_FALSE(last.more);
  EXPECT_TRUE(view.list_tags(app(), "", 0)->names.empty());
  EXPECT_TRUE(view.list_tags(name("none"), "", 10)->names.empty());
}

TEST(Lists, RepositoriesShowOnlyWhatIsReadableAndNotEmpty) {
  Bed bed;
  for (const char* repository : {"b", "a", "c", "d"}) bed.link(repository, "x");
  bed.must(bed.deleting_blob("c", "x"));
  auto view = bed.now();
  EXPECT_EQ(view.list_repositories("", 10)->names, (std::vector<std::string>{"a", "b", "d"}));
  EXPECT_EQ(view.all_repositories("", 10)->names, (std::vector<std::string>{"a", "b", "c", "d"}));
  const auto not_b = [](const oci::RepositoryName& n) { return n.text() != "b"; };
  const auto page = view.list_repositories("", 1, not_b).value();
  EXPECT_EQ(page.names, std::vector<std::string>{"a"});
  EXPECT_TRUE(page.more);
  const auto rest = view.list_repositories("a", 1, not_b).value();
  EXPECT_EQ(rest.names, std::vector<std::string>{"d"});
  EXPECT_FALSE(rest.more);
  EXPECT_EQ(view.totals()->repositories, 3u);
}

TEST(Lists, ReferrersArePagedInDigestOrderAndFilteredByType) {
  Bed bed;
  for (const char* id : {"s1", "s2", "s3", "s4", "s5"}) {
    auto manifest = referrer("subject", id[1] % 2 == 0 ? "even" : "odd");
    manifest->annotations["id"] = id;
    bed.put("app", id, manifest);  // the subject need not exist
  }
  bed.put("app", "unrelated", referrer("else", "odd"));
  auto view = bed.now();
  const auto all = view.list_referrers(app(), digest("subject"), {}, std::nullopt, 10, MiB).value();
  ASSERT_EQ(all.referrers.size(), 5u);
  EXPECT_FALSE(all.more);
  EXPECT_TRUE(std::ranges::is_sorted(all.referrers, {}, [](const ReferrerState& r) { return r.manifest.digest; }));
  std::vector<ReferrerState> paged;
  std::optional<oci::Digest> after;
  bool more = true;
  while (more) {
    auto page = view.list_referrers(app(), digest("subject"), {}, after, 2, MiB).value();
    for (auto& entry : page.referrers) paged.push_back(entry);
    ASSERT_FALSE(page.referrers.empty());
    after = paged.back().manifest.digest;
    more = page.more;
  }
  EXPECT_EQ(paged.size(), 5u);
  EXPECT_EQ(paged[0].annotations.at("id"), all.referrers[0].annotations.at("id"));
  EXPECT_EQ(view.list_referrers(app(), digest("subject"), {"even"}, std::nullopt, 10, MiB)->referrers.size(), 2u);
  EXPECT_EQ(view.list_referrers(app(), digest("subject"), {"odd", "even"}, std::nullopt, 4, MiB)->referrers.size(), 4u);
  EXPECT_TRUE(view.list_referrers(name("none"), digest("subject"), {}, std::nullopt, 4, MiB)->referrers.empty());
}

TEST(Lists, ADeletedReferrerIsNotListed) {
  Bed bed;
  bed.put("app", "s1", referrer("subject", "x"));
  bed.must(bed.deleting_manifest("app", "s1"));
  EXPECT_TRUE(bed.now().list_referrers(app(), digest("subject"), {}, std::nullopt, 4, MiB)->referrers.empty());
}

// ---- sweeps -----------------------------------------------------------------------------------------------------

TEST(Sweep, TakesOnlyWhatNothingHoldsAndOnlyWhenOld) {
  Bed bed;
  for (const char* content : {"layer", "stray"}) bed.link("app", content);
  bed.put("app", "tagged", image({"layer"}), {"latest"});
  bed.put("app", "untagged", image({"layer"}));
  bed.put("app", "child", image({}));
  bed.put("app", "idx", index({"child"}), {"multi"});
  bed.put("app", "signature", referrer("tagged", "sig"));
  bed.tick(9);
  EXPECT_TRUE(bed.candidates("app").empty());
  bed.tick(1);
  const auto items = bed.candidates("app");
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0], (SweepItem{SweepKind::link, digest("stray"), {}}));
  EXPECT_EQ(items[1], (SweepItem{SweepKind::manifest, digest("untagged"), {}}));
  SweepRules keep_manifests;
  keep_manifests.manifests = false;
  EXPECT_EQ(bed.candidates("app", 1000, keep_manifests).size(), 1u);
  EXPECT_EQ(bed.candidates("app", 1).size(), 2u);  // however small the pages
  EXPECT_EQ(bed.sweep("app"), 2u);
  EXPECT_FALSE(bed.now().manifest(app(), digest("untagged")).value());
  EXPECT_TRUE(bed.now().grave(app(), digest("untagged")).value());
  EXPECT_TRUE(bed.now().manifest(app(), digest("child")).value());
  EXPECT_TRUE(bed.now().manifest(app(), digest("signature")).value());
}

TEST(Sweep, AgesStartWhenTheLastTagParentOrSubjectGoes) {
  Bed bed;
  bed.put("app", "moved", image({}), {"latest"});
  bed.put("app", "child", image({}));
  bed.put("app", "idx", index({"child"}), {"multi"});
  bed.put("app", "signature", referrer("moved", "sig"));
  bed.tick(12);
  bed.put("app", "next", image({}), {"latest"});
  bed.must(bed.deleting_manifest("app", "idx"));
  EXPECT_EQ(bed.now().manifest_age(app(), digest("moved")).value(), 0u);
  EXPECT_EQ(bed.now().manifest_age(app(), digest("child")).value(), 0u);
  bed.tick(9);
  EXPECT_TRUE(bed.candidates("app").empty());
  bed.tick(1);
  EXPECT_EQ(bed.sweep("app"), 3u);  // moved, child, grave of idx
  EXPECT_TRUE(bed.now().manifest(app(), digest("signature")).value());
  EXPECT_EQ(bed.now().manifest_age(app(), digest("signature")).value(), 0u);  // its subject has just gone
  bed.tick(10);
  EXPECT_EQ(bed.sweep("app"), 3u);  // the signature, the graves of moved and child
  bed.tick(10);
  EXPECT_EQ(bed.sweep("app"), 1u);  // the grave of the signature
  EXPECT_TRUE(bed.now().manifest(app(), digest("next")).value());
}

TEST(Sweep, ALinkOutlivesTheGraveThatNamesIt) {
  Bed bed;
  bed.link("app", "layer");
  bed.put("app", "m", image({"layer"}));
  bed.tick(10);
  EXPECT_EQ(bed.sweep("app"), 1u);  // m, untagged
  bed.tick(9);
  EXPECT_TRUE(bed.candidates("app").empty());
  bed.tick(1);
  EXPECT_EQ(bed.sweep("app"), 1u);  // the grave; the link was held in that page's snapshot
  EXPECT_EQ(bed.sweep("app"), 1u);  // the link
  EXPECT_FALSE(bed.now().named_anywhere(digest("layer")).value());
  EXPECT_EQ(bed.now().repository_state(app()).value()->graves, 0u);
}

TEST(Sweep, AGoneMarkStaysUntilTheGravesThatItOutranksAreGone) {
  Bed bed;
  bed.link("app", "layer");
  bed.put("app", "m", image({"layer"}));
  bed.must(bed.deleting_manifest("app", "m"));
  bed.must(bed.deleting_blob("app", "layer"));
  bed.tick(10);
  const auto items = bed.candidates("app");
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].kind, SweepKind::grave);
  bed.sweep("app");
  EXPECT_EQ(bed.sweep("app"), 1u);
  EXPECT_FALSE(bed.now().link(app(), digest("layer")).value());
}

TEST(Sweep, WhatIsHeldAgainSinceTheSearchStays) {
  Bed bed;
  bed.link("app", "stray");
  bed.put("app", "m", image({}));
  bed.tick(10);
  const auto items = bed.candidates("app");
  ASSERT_EQ(items.size(), 2u);
  bed.put("app", "user", image({"stray"}), {"v"});
  bed.put("app", "m", image({}), {"w"});
  const auto done = bed.submit(bed.sweeping("app", items));
  ASSERT_TRUE(done);
  EXPECT_FALSE(done->changed);
}

}  // namespace
}  // namespace hansa::catalog
