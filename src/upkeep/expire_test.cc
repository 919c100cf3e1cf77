// Retention and the undo of collection, on a whole node with a tick of one second (grace: 8 s).
#include <gmock/gmock.h>

#include "node/testing/bed.h"
#include "upkeep/upkeep.h"

namespace hansa::node::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

upkeep::RetentionPolicy policy(std::string_view repositories) {
  upkeep::RetentionPolicy out;
  out.repositories.push_back(oci::Glob::compile(repositories).value());
  return out;
}
upkeep::KeepRules newest(std::size_t count) {
  upkeep::KeepRules out;
  out.most_recently_pushed = count;
  return out;
}
upkeep::KeepRules pushed_within(io::Duration time) {
  upkeep::KeepRules out;
  out.pushed_within = time;
  return out;
}
upkeep::RetentionPolicy keeping(std::string_view repositories, upkeep::KeepRules tags) {
  upkeep::RetentionPolicy out = policy(repositories);
  out.keep_tags.push_back(std::move(tags));
  return out;
}
Options with(upkeep::RetentionPolicy one, bool dry_run = false) {
  Options options = small_options();
  options.retention.policies.push_back(std::move(one));
  options.retention.dry_run = dry_run;
  return options;
}

class Lived {
 public:
  explicit Lived(Options options) : bed(std::move(options)) {}
  void live(int n) {
    for (int i = 0; i < n; ++i) {
      bed.ticks(1);
      bed.collect();
    }
  }
  std::vector<std::string> tags(std::string_view repository = "team/app") {
    auto list = bed.run(bed.registry().list_tags(bed.alice(), name(repository), {}));
    EXPECT_TRUE(list) << describe(list.error());
    return list ? list->names : std::vector<std::string>();
  }
  std::vector<std::string> dry_run() {
    std::vector<std::string> lines;
    auto done = bed.run(bed.node->collect_dry([&lines](const std::string& line) { lines.push_back(line); }));
    EXPECT_TRUE(done) << describe(done.error());
    return lines;
  }
  upkeep::PutBack undo(std::optional<oci::RepositoryName> only = std::nullopt) {
    told.clear();
    auto done =
        bed.run(bed.node->undo_collection(std::move(only), [this](const std::string& line) { told.push_back(line); }));
    EXPECT_TRUE(done) << describe(done.error());
    return done ? *done : upkeep::PutBack{};
  }
  Bed bed;
  std::vector<std::string> told;
};

// ---- policies ---------------------------------------------------------------------------------------------------

TEST(Expire, KeepsTheNewestTagsAndCollectsWhatOnlyTheOthersHeld) {
  Lived node(with(keeping("team/*", newest(2))));
  const std::string first = node.bed.push_image("team/app", "v1", {"one", "base"});
  node.bed.push_image("team/app", "v2", {"two", "base"});
  node.bed.push_image("team/app", "v3", {"three", "base"});
  node.bed.push_image("other", "v1", {"other"});
  node.bed.push_image("other", "v2", {"other two"});
  node.bed.push_image("other", "v3", {"other three"});
  node.live(1);
  EXPECT_THAT(node.tags(), ElementsAre("v2", "v3"));
  EXPECT_THAT(node.tags("other"), ElementsAre("v1", "v2", "v3"));
  EXPECT_EQ(node.bed.pull("team/app", digest(first).text()), first) << "untagged, it has its grace time";
  node.live(40);
  EXPECT_FALSE(node.bed.has_file(digest("one")));
  EXPECT_EQ(node.bed.pull_blob("team/app", digest("base")), "base");
  EXPECT_EQ(node.bed.node->status().expired_tags, 1u);
}

TEST(Expire, ARetagCountsAsAPush) {
  Lived node(with(keeping("**", newest(1))));
  const std::string first = node.bed.push_image("team/app", "old", {"one"});
  node.bed.push_image("team/app", "new", {"two"});
  ASSERT_TRUE(node.bed.put("team/app", "old", first));
  node.live(1);
  EXPECT_THAT(node.tags(), ElementsAre("old"));
}

TEST(Expire, TagsGoWhenTheirTimeIsOver) {
  Lived node(with(keeping("**", pushed_within(20s))));
  node.bed.push_image("team/app", "v1", {"one"});
  node.live(18);
  node.bed.push_image("team/app", "v2", {"two"});
  EXPECT_THAT(node.tags(), ElementsAre("v1", "v2"));
  node.live(5);
  EXPECT_THAT(node.tags(), ElementsAre("v2"));
}

// The clock of the wall says 2036; nothing is as old as that (design review, H17).
TEST(Expire, AJumpOfTheWallClockMakesNothingOld) {
  Lived node(with(keeping("**", pushed_within(20s))));
  node.bed.push_image("team/app", "v1", {"one"});
  node.bed.clock.jump_wall(std::chrono::hours(24 * 3650));
  node.live(3);
  EXPECT_THAT(node.tags(), ElementsAre("v1"));
}

TEST(Expire, SignaturesByTagLiveAndDieWithWhatTheyName) {
  auto rules = keeping("**", newest(1));
  rules.delete_referrers = true;
  Lived node(with(std::move(rules)));
  const std::string old = node.bed.push_image("team/app", "v1", {"one"});
  const std::string of_old = "sha256-" + digest(old).hex() + ".sig";
  node.bed.push_image("team/app", of_old, {"signature"});
  const std::string kept = node.bed.push_image("team/app", "v2", {"two"});
  const std::string of_kept = "sha256-" + digest(kept).hex() + ".sig";
  node.bed.push_image("team/app", of_kept, {"another"});
  node.live(9);
  EXPECT_THAT(node.tags(), ::testing::UnorderedElementsAre(of_old, of_kept, "v2"));
  node.live(12);
  EXPECT_THAT(node.tags(), ::testing::UnorderedElementsAre(of_kept, "v2"));
}

TEST(Expire, UntaggedManifestsStayWhereAPolicySaysSo) {
  auto rules = policy("**");
  rules.delete_untagged = false;
  Lived node(with(std::move(rules)));
  const std::string body = node.bed.push_image("team/app", "", {"one"});
  node.live(40);
  EXPECT_EQ(node.bed.pull("team/app", digest(body).text()), body);
}

TEST(Expire, TheNewestUntaggedManifestsStay) {
  auto rules = policy("**");
  rules.keep_untagged = newest(1);
  Lived node(with(std::move(rules)));
  const std::string one = node.bed.push_image("team/app", "", {"one"});
  node.live(1);
  const std::string two = node.bed.push_image("team/app", "", {"two"});
  node.live(30);
  EXPECT_EQ(node.bed.pull("team/app", digest(one).text()), "not_found");
  EXPECT_EQ(node.bed.pull("team/app", digest(two).text()), two);
}

// A client that may push and asks for a manifest holds it for a while (H6); it did not push it.
TEST(Expire, WhoAsksForAnUntaggedManifestDoesNotMakeItTheNewest) {
  auto rules = policy("**");
  rules.keep_untagged = newest(1);
  Lived node(with(std::move(rules)));
  const std::string one = node.bed.push_image("team/app", "", {"one"});
  node.live(1);
  const std::string two = node.bed.push_image("team/app", "", {"two"});
  node.live(4);
  auto asked = node.bed.run(node.bed.registry().head_manifest(node.bed.alice(), name("team/app"), digest(one)));
  ASSERT_TRUE(asked) << describe(asked.error());
  node.live(30);
  EXPECT_EQ(node.bed.pull("team/app", digest(one).text()), "not_found");
  EXPECT_EQ(node.bed.pull("team/app", digest(two).text()), two);
}

TEST(Expire, ReferrersOfWhatIsGoneStayUnlessAPolicyRemovesThem) {
  for (const bool removes : {false, true}) {
    auto rules = policy("**");
    rules.delete_referrers = removes;
    rules.delete_untagged = false;  // is about those without a subject
    Lived node(with(std::move(rules)));
    const std::string subject = node.bed.push_image("team/app", "v1", {"one"});
    const std::string more = R"(,"subject":)" + descriptor(oci::media_type::image_manifest, subject);
    const std::string signature = node.bed.push_image("team/app", "", {"signature"}, more);
    ASSERT_TRUE(node.bed.remove("team/app", digest(subject).text()));
    node.live(40);
    EXPECT_EQ(node.bed.pull("team/app", digest(signature).text()), removes ? "not_found" : signature);
  }
}

// A longer grace time of untagged manifests holds for what an index had listed as well, long after its grave's usual
// age.
TEST(Expire, UntaggedManifestsHaveAGraceTimeOfTheirOwn) {
  Options options = small_options();
  options.untagged_grace = 40s;
  Lived node(std::move(options));
  const std::string child = node.bed.push_image("team/app", "", {"one"});
  const std::string list = index({child});
  ASSERT_TRUE(node.bed.put("team/app", "v1", list));
  node.bed.push_blob("team/app", "loose");
  node.live(20);
  EXPECT_EQ(node.bed.pull_blob("team/app", digest("loose")), "not_found");
  ASSERT_TRUE(node.bed.remove("team/app", digest(list).text()));
  node.live(38);
  EXPECT_EQ(node.bed.pull("team/app", digest(child).text()), child);
  node.live(8);
  EXPECT_EQ(node.bed.pull("team/app", digest(child).text()), "not_found");
}

// ---- dry run ----------------------------------------------------------------------------------------------------

TEST(Expire, ADryRunTellsAndRemovesNothing) {
  Lived node(with(keeping("**", newest(1))));
  const std::string body = node.bed.push_image("team/app", "v1", {"one"});
  node.bed.push_image("team/app", "v2", {"two"});
  node.bed.push_blob("team/app", "loose");
  node.bed.ticks(12);
  const auto lines = node.dry_run();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], HasSubstr("would remove tag team/app:v1 of " + digest(body).text()));
  EXPECT_THAT(lines[1], HasSubstr("would remove unused blob team/app@" + digest("loose").text()));
  EXPECT_THAT(node.tags(), ElementsAre("v1", "v2"));
  EXPECT_EQ(node.bed.pull_blob("team/app", digest("loose")), "loose");
}

TEST(Expire, WithDryRunInTheConfigurationPeriodicCyclesRemoveNothing) {
  auto rules = keeping("**", newest(1));
  Options options = with(std::move(rules), true);
  options.gc_interval = 2s;
  Lived node(std::move(options));
  node.bed.push_image("team/app", "v1", {"one"});
  node.bed.push_image("team/app", "v2", {"two"});
  node.bed.push_blob("team/app", "loose");
  node.bed.run_for(60s);
  EXPECT_THAT(node.tags(), ElementsAre("v1", "v2"));
  EXPECT_TRUE(node.bed.has_file(digest("loose")));
  EXPECT_TRUE(fails_with(node.bed.run(node.bed.node->collect()), ErrorCode::conflict)) << "nor when somebody asks";
}

// ---- undo -------------------------------------------------------------------------------------------------------

TEST(UndoCollection, PutsTagsAndManifestsBackWithWhatTheyHold) {
  Lived node(with(keeping("**", newest(1))));
  const std::string child = node.bed.push_image("team/app", "", {"one"});
  const std::string list = index({child});
  ASSERT_TRUE(node.bed.put("team/app", "multi", list));
  node.bed.push_image("team/app", "v2", {"two"});
  node.live(14);
  EXPECT_EQ(node.bed.pull("team/app", digest(list).text()), "not_found") << "the manifest is swept, not the tag alone";
  const auto done = node.undo();
  EXPECT_EQ(done.tags, 1u);
  EXPECT_GE(done.manifests, 1u);
  EXPECT_EQ(done.impossible, 0u);
  EXPECT_EQ(node.bed.pull("team/app", "multi"), list);
  EXPECT_EQ(node.bed.pull("team/app", digest(child).text()), child);
  EXPECT_EQ(node.bed.pull_blob("team/app", digest("one")), "one");
  EXPECT_EQ(node.undo().tags, 0u) << "once is enough";
}

TEST(UndoCollection, TagsComeBackWithTheirAgeSoThatOthersKeepTheirRank) {
  Lived node(with(keeping("**", newest(1))));
  node.bed.push_image("team/app", "v1", {"one"});
  node.live(2);
  node.bed.push_image("team/app", "v2", {"two"});
  node.live(1);
  EXPECT_EQ(node.undo().tags, 1u);
  EXPECT_THAT(node.tags(), ElementsAre("v1", "v2"));
  node.live(1);
  EXPECT_THAT(node.tags(), ElementsAre("v2"));
}

TEST(UndoCollection, ATagThatWasPushedSinceStays) {
  Lived node(with(keeping("**", newest(1))));
  node.bed.push_image("team/app", "v1", {"one"});
  node.bed.push_image("team/app", "v2", {"two"});
  node.live(1);
  const std::string newer = node.bed.push_image("team/app", "v1", {"newer"});
  EXPECT_EQ(node.undo().tags, 0u);
  EXPECT_EQ(node.bed.pull("team/app", "v1"), newer);
}

TEST(UndoCollection, WhatClientsDeletedIsNotPutBack) {
  Lived node(small_options());
  const std::string body = node.bed.push_image("team/app", "v1", {"one"});
  ASSERT_TRUE(node.bed.remove("team/app", digest(body).text()));
  const auto done = node.undo();
  EXPECT_EQ(done.manifests + done.tags, 0u);
  EXPECT_EQ(node.bed.pull("team/app", digest(body).text()), "not_found");
}

TEST(UndoCollection, ATagThatAClientDeletedSinceItExpiredIsNotPutBack) {
  Lived node(with(keeping("**", newest(2))));
  for (const char* tag : {"v1", "v2", "v3"}) node.bed.push_image("team/app", tag, {tag});
  node.live(1);
  ASSERT_THAT(node.tags(), ElementsAre("v2", "v3"));
  const std::string again = node.bed.push_image("team/app", "v1", {"again"});
  ASSERT_TRUE(node.bed.remove("team/app", "v1"));
  EXPECT_EQ(node.undo().tags, 0u);
  node.live(1);
  ASSERT_TRUE(node.bed.put("team/app", "v1", again));
  ASSERT_TRUE(node.bed.remove("team/app", digest(again).text()));  // with its tag
  node.undo();
  EXPECT_EQ(node.bed.pull("team/app", "v1"), "not_found");
}

TEST(UndoCollection, WhatRefersToADeletedBlobIsToldAsImpossible) {
  Lived node(small_options());
  const std::string body = node.bed.push_image("team/app", "", {"one"});
  node.live(12);
  ASSERT_EQ(node.bed.pull("team/app", digest(body).text()), "not_found");
  node.bed.push_blob("team/app", "one");
  ASSERT_TRUE(node.bed.run(node.bed.registry().delete_blob(node.bed.alice(), name("team/app"), digest("one"))));
  const auto done = node.undo();
  EXPECT_EQ(done.impossible, 1u);
  ASSERT_EQ(node.told.size(), 1u);
  EXPECT_THAT(node.told[0], HasSubstr(digest("one").text()));
}

TEST(UndoCollection, OneRepositoryAlone) {
  Lived node(with(keeping("**", newest(1))));
  for (const char* repository : {"team/app", "team/web"}) {
    node.bed.push_image(repository, "v1", {"one"});
    node.bed.push_image(repository, "v2", {"two"});
  }
  node.live(1);
  EXPECT_EQ(node.undo(name("team/web")).tags, 1u);
  EXPECT_THAT(node.tags("team/app"), ElementsAre("v2"));
  EXPECT_THAT(node.tags("team/web"), ElementsAre("v1", "v2"));
}

TEST(UndoCollection, FilesOfTheTrashGoBackToTheirPlace) {
  Lived node(small_options());
  node.bed.push_blob("team/app", "loose");
  int lived = 0;
  while (node.bed.has_file(digest("loose")) && ++lived < 40) node.live(1);
  ASSERT_FALSE(node.bed.has_file(digest("loose")));
  EXPECT_EQ(node.undo().files, 1u);
  EXPECT_TRUE(node.bed.has_file(digest("loose")));
}

// What was removed is remembered for a grace time, not for ever.
TEST(UndoCollection, IsPossibleForAGraceTimeAndLeavesNothingBehind) {
  Lived node(with(keeping("**", newest(1))));
  node.bed.push_image("team/app", "v1", {"one"});
  node.bed.push_image("team/app", "v2", {"two"});
  node.live(40);
  const auto done = node.undo();
  EXPECT_EQ(done.tags + done.manifests + done.files, 0u);
  auto view = node.bed.node->catalogue().snapshot();
  EXPECT_THAT(view->expired_tags(name("team/app"), {}, 10).value(), IsEmpty());
}

}  // namespace
}  // namespace hansa::node::testing
