// What a node does in the background, on a whole node with a tick of one second (grace: 8 s).
#include "upkeep/upkeep.h"

#include <algorithm>

#include "node/testing/bed.h"

namespace hansa::node::testing {
namespace {

class UpkeepTest : public ::testing::Test {
 protected:
  // Collects after each of `n` ticks.
  void live(int n) {
    for (int i = 0; i < n; ++i) {
      bed.ticks(1);
      bed.collect();
    }
  }
  bool head(auth::Access who, const oci::Digest& wanted) {
    return bed.run(bed.registry().head_blob(std::move(who), name("team/app"), wanted)).has_value();
  }
  Bed bed;
};

// ---- records (P7, H6) -------------------------------------------------------------------------------------------

TEST_F(UpkeepTest, UnneededBlobLivesForTheGraceTimeAndThenGoes) {
  bed.push_blob("team/app", "loose");
  live(8);
  EXPECT_EQ(bed.pull_blob("team/app", digest("loose")), "loose");
  live(4);
  EXPECT_EQ(bed.pull_blob("team/app", digest("loose")), "not_found");
  live(6);
  EXPECT_FALSE(bed.has_file(digest("loose")));
  EXPECT_EQ(bed.node->status().swept_blobs, 1U);
  EXPECT_EQ(bed.disk.list("/data/trash")->size(), 0U);
}

TEST_F(UpkeepTest, HeadByAPusherRenewsAndByAReaderDoesNot) {
  bed.push_blob("team/app", "confirmed");
  bed.push_blob("team/app", "looked at");
  for (int i = 0; i < 8; ++i) {
    live(3);
    EXPECT_TRUE(head(bed.alice(), digest("confirmed"))) << i;
    head(bed.bob(), digest("looked at"));
  }
  EXPECT_EQ(bed.pull_blob("team/app", digest("confirmed")), "confirmed");
  EXPECT_EQ(bed.pull_blob("team/app", digest("looked at")), "not_found");
}

TEST_F(UpkeepTest, TaggedImageStaysForEver) {
  const std::string body = bed.push_image("team/app", "v1", {"one", "two"});
  live(40);
  EXPECT_EQ(bed.pull("team/app", "v1"), body);
  EXPECT_EQ(bed.pull_blob("team/app", digest("two")), "two");
  bed.restart();
  live(20);
  EXPECT_EQ(bed.pull_blob("team/app", digest("two")), "two");
}

TEST_F(UpkeepTest, UntaggedImageGoesLevelByLevel) {
  const std::string body = bed.push_image("team/app", "v1", {"one"});
  live(12);
  ASSERT_TRUE(bed.remove("team/app", "v1"));
  live(8);
  EXPECT_EQ(bed.pull("team/app", digest(body).text()), body);  // its age counts from the loss of its tag
  live(4);
  EXPECT_EQ(bed.pull("team/app", digest(body).text()), "not_found");
  EXPECT_TRUE(bed.has_file(digest("one")));  // its grave protects it for another grace time
  live(16);
  EXPECT_FALSE(bed.has_file(digest("one")));
  EXPECT_FALSE(bed.has_file(digest(body)));
}

// Build jobs push the parts of an image untagged and its index later (H5).
TEST_F(UpkeepTest, ChildrenLiveAsLongAsTheirIndex) {
  const std::string child = bed.push_image("team/app", "", {"one"});
  live(7);
  const std::string list = index({child});
  ASSERT_TRUE(bed.put("team/app", "v1", list));
  live(30);
  EXPECT_EQ(bed.pull("team/app", digest(child).text()), child);
  EXPECT_EQ(bed.pull_blob("team/app", digest("one")), "one");
  ASSERT_TRUE(bed.remove("team/app", digest(list).text()));
  live(60);
  EXPECT_EQ(bed.pull("team/app", digest(child).text()), "not_found");
  EXPECT_FALSE(bed.has_file(digest("one")));
}

TEST_F(UpkeepTest, ReferrerLivesAsLongAsItsSubject) {
  const std::string subject = bed.push_image("team/app", "v1", {"one"});
  const std::string more = R"(,"subject":)" + descriptor(oci::media_type::image_manifest, subject);
  const std::string signature = bed.push_image("team/app", "", {"signature"}, more);
  live(30);
  EXPECT_EQ(bed.pull("team/app", digest(signature).text()), signature);
  ASSERT_TRUE(bed.remove("team/app", digest(subject).text()));
  live(40);
  EXPECT_EQ(bed.pull("team/app", digest(signature).text()), "not_found");
}

// A control character takes six bytes in a record, so that a few such manifests are more than one commit may hold.
TEST_F(UpkeepTest, ManifestsWhoseRecordsAreLargeAreCollectedTooAndKeepNothingElseFromIt) {
  std::string value;
  for (int i = 0; i < 31'000; ++i) value += "\\u0001";
  const std::string more = R"(,"annotations":{"k":")" + value + "\"}";
  std::vector<std::string> bodies;
  for (const char* layer : {"one", "two", "three", "four"}) {
    bodies.push_back(bed.push_image("team/app", "", {layer}, more));
  }
  bed.push_blob("team/zoo", "loose");
  live(50);
  for (const auto& body : bodies) EXPECT_EQ(bed.pull("team/app", digest(body).text()), "not_found");
  EXPECT_FALSE(bed.has_file(digest("one")));
  EXPECT_FALSE(bed.has_file(digest("loose")));
}

TEST_F(UpkeepTest, BlobsSharedByRepositoriesGoWithTheLast) {
  const std::string one = bed.push_image("team/app", "v1", {"base"});
  const std::string two = bed.push_image("team/copy", "v1", {"base"});
  ASSERT_TRUE(bed.remove("team/app", digest(one).text()));
  live(30);
  EXPECT_EQ(bed.pull_blob("team/copy", digest("base")), "base");
  EXPECT_EQ(bed.pull_blob("team/app", digest("base")), "not_found");
  ASSERT_TRUE(bed.remove("team/copy", digest(two).text()));
  live(30);
  EXPECT_FALSE(bed.has_file(digest("base")));
}

// References that stand in the body only (H15) protect as well as any, also when the view is new.
TEST_F(UpkeepTest, ImageTooLargeForItsRecordIsCollectedLikeAnyOther) {
  std::vector<std::string> layers;
  for (int i = 0; i < 400; ++i) layers.push_back("layer " + std::to_string(i));
  const std::string body = bed.push_image("team/app", "v1", layers);
  live(14);
  EXPECT_EQ(bed.pull_blob("team/app", digest("layer 399")), "layer 399");
  ASSERT_TRUE(bed.remove("team/app", digest(body).text()));
  live(20);
  for (const auto& layer : layers) ASSERT_FALSE(bed.has_file(digest(layer))) << layer;
}

// ---- bytes (H1) -------------------------------------------------------------------------------------------------

TEST_F(UpkeepTest, BytesOfAPushThatNeverEndedGoAfterTwoTicks) {
  // The body of a manifest is stored before the manifest is refused.
  const std::string body = image("{}", {"missing"});
  ASSERT_FALSE(bed.put("team/app", "v1", body));
  bed.collect();
  EXPECT_TRUE(bed.has_file(digest(body)));
  live(4);
  EXPECT_FALSE(bed.has_file(digest(body)));
}

TEST_F(UpkeepTest, CollectionIsOneAtATime) {
  bed.push_blob("team/app", "loose");
  std::optional<Result<void>> first;
  const auto keep = [](Node* node, std::optional<Result<void>>* out) -> io::Task<void> {
    out->emplace(co_await node->collect());
  };
  io::TaskScope scope(bed.executor);
  scope.spawn("first", keep(bed.node.get(), &first));
  EXPECT_TRUE(fails_with(bed.run(bed.node->collect()), ErrorCode::conflict));
  bed.run(scope.join());
  EXPECT_TRUE(first->has_value());
}

TEST_F(UpkeepTest, PeriodicCyclesNeedNoOne) {
  auto options = small_options();
  options.gc_interval = std::chrono::seconds(2);
  Bed alone(options);
  alone.push_blob("team/app", "loose");
  alone.ticks(25);
  EXPECT_FALSE(alone.has_file(digest("loose")));
}

TEST_F(UpkeepTest, WithoutCollectionEverythingStays) {
  auto options = small_options();
  options.gc = false;
  options.gc_interval = std::chrono::seconds(2);
  Bed off(options);
  off.push_blob("team/app", "loose");
  off.ticks(25);
  EXPECT_EQ(off.pull_blob("team/app", digest("loose")), "loose");
}

// ---- the slow clock ---------------------------------------------------------------------------------------------

// Ages count uptime only: what was measured before a clean stop counts, the time off does not (P7, P10).
TEST_F(UpkeepTest, TimeOffDoesNotAgeAnything) {
  bed.push_blob("team/app", "loose");
  bed.ticks(5);
  bed.stop();
  bed.clock.jump_wall(std::chrono::hours(24 * 365));
  bed.run_for(std::chrono::hours(1));
  bed.start();
  bed.collect();
  EXPECT_EQ(bed.pull_blob("team/app", digest("loose")), "loose");
  live(3);
  EXPECT_EQ(bed.pull_blob("team/app", digest("loose")), "loose");
  live(6);
  EXPECT_EQ(bed.pull_blob("team/app", digest("loose")), "not_found");
}

// A node that is restarted more often than a tick still ages what it holds.
TEST_F(UpkeepTest, ManyShortLivesAddUp) {
  bed.push_blob("team/app", "loose");
  for (int i = 0; i < 40; ++i) {
    bed.run_for(tick / 2);
    bed.restart();
  }
  bed.collect();
  EXPECT_EQ(bed.pull_blob("team/app", digest("loose")), "not_found");
}

TEST(TickLengthTest, TooSmallAGraceTimeIsRaised) {
  EXPECT_EQ(upkeep::tick_length({.grace = std::chrono::hours(8)}), std::chrono::hours(1));
  EXPECT_EQ(upkeep::tick_length({.grace = std::chrono::seconds(1)}), upkeep::smallest_grace / 8);
}

// ---- scrub ------------------------------------------------------------------------------------------------------

TEST_F(UpkeepTest, PeriodicScrubFindsDamage) {
  auto options = small_options();
  options.scrub_interval = std::chrono::hours(1);
  Bed watched(options);
  watched.push_image("team/app", "v1", {"one"});
  const std::string hex = digest("one").hex();
  watched.disk.flip("/data/blobs/sha256/" + hex.substr(0, 2) + "/" + hex, 0);
  watched.run_for(std::chrono::minutes(50));
  EXPECT_EQ(watched.node->status().corrupt_blobs, 0U);
  watched.run_for(std::chrono::minutes(20));
  EXPECT_EQ(watched.node->status().corrupt_blobs, 1U);
}

TEST_F(UpkeepTest, ABlobThatCannotBeReadIsToldAndDoesNotEndTheScrub) {
  std::vector<std::string> blobs = {"one", "two"};
  std::ranges::sort(blobs, {}, [](const std::string& content) { return digest(content); });
  for (const auto& content : blobs) bed.push_blob("team/app", content);
  const std::string hex = digest(blobs[1]).hex();
  bed.disk.flip("/data/blobs/sha256/" + hex.substr(0, 2) + "/" + hex, 0);
  bed.disk.fail({.call = sim::Call::read});
  const auto report = bed.run(bed.node->scrub(nullptr, 0));
  ASSERT_TRUE(report);
  EXPECT_EQ(report->unreadable, std::vector{digest(blobs[0])});
  EXPECT_EQ(report->corrupt, std::vector{digest(blobs[1])});
  EXPECT_EQ(bed.pull_blob("team/app", digest(blobs[0])), blobs[0]) << "it stays where it is";
}

}  // namespace
}  // namespace hansa::node::testing
