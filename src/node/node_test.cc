// A node as a whole: its start, its end, and what lies between the two when the machine fails.
#include <functional>

#include "node/testing/bed.h"

namespace hansa::node::testing {
namespace {

TEST(NodeTest, RestartKeepsEverything) {
  Bed bed;
  const std::string body = bed.push_image("team/app", "v1", {"one", "two"});
  const auto begun =
      bed.run(bed.registry().begin_upload(bed.alice(), name("team/app"), oci::Algorithm::sha256)).value();
  io::MemorySource first(as_bytes("hal"));
  ASSERT_TRUE(bed.run(bed.registry().append_upload(bed.alice(), name("team/app"), begun.session, std::nullopt, first)));
  bed.restart();
  EXPECT_EQ(bed.pull("team/app", "v1"), body);
  EXPECT_EQ(bed.pull_blob("team/app", digest("two")), "two");
  // An upload goes on where it was.
  const auto status = bed.run(bed.registry().upload_status(bed.alice(), name("team/app"), begun.session));
  ASSERT_TRUE(status) << describe(status.error());
  EXPECT_EQ(status->received, 3U);
  io::MemorySource rest(as_bytes("ves"));
  ASSERT_TRUE(bed.run(bed.registry().finish_upload(bed.alice(), name("team/app"), begun.session, std::nullopt, rest,
                                                   digest("halves"))));
  EXPECT_EQ(bed.pull_blob("team/app", digest("halves")), "halves");
}

TEST(NodeTest, PowerCutAfterTheAnswersKeepsEverything) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Bed bed(small_options(), seed);
    const std::string body = bed.push_image("team/app", "v1", {"one", "two"});
    bed.crash();
    bed.start();
    EXPECT_EQ(bed.pull("team/app", "v1"), body) << "seed " << seed;
    EXPECT_EQ(bed.pull_blob("team/app", digest("two")), "two") << "seed " << seed;
  }
}

TEST(NodeTest, PullsAreCountedBesideTheirManifestsAndACleanStopKeepsThem) {
  Bed bed;
  const std::string body = bed.push_image("team/app", "v1", {"one"});
  const auto stats = [&bed] {
    auto view = bed.node->catalogue().snapshot().value();
    return view.stats(name("team/app")).value();
  };
  bed.pull("team/app", "v1");
  bed.pull("team/app", digest(body).text());
  bed.pull("team/app", "absent");
  bed.run_for(std::chrono::seconds(20));
  ASSERT_TRUE(stats());
  EXPECT_EQ(stats()->record.pulls, 2U);
  EXPECT_EQ(stats()->record.entries.at(":v1").pulls, 1U);
  EXPECT_EQ(stats()->record.entries.at(digest(body).text()).pulls, 2U);
  bed.pull("team/app", "v1");
  bed.restart();
  bed.run_for(std::chrono::seconds(30));
  EXPECT_EQ(stats()->record.pulls, 3U);
}

TEST(NodeTest, SecondNodeOnTheSameRootIsRefused) {
  Bed bed;
  const Ports ports{
      .disk = bed.disk, .clock = bed.clock, .random = bed.random, .executor = bed.executor, .log = bed.log};
  const auto second = bed.run(Node::start(ports, small_options()));
  EXPECT_TRUE(fails_with(second, ErrorCode::conflict));
  bed.push_image("team/app", "v1", {"one"});  // the first is none the worse
}

TEST(NodeTest, StatusCountsWhatIsThere) {
  Bed bed;
  bed.push_image("team/app", "v1", {"one"});
  bed.push_image("team/other", "v1", {"two"});
  const auto begun = bed.run(bed.registry().begin_upload(bed.alice(), name("team/app"), oci::Algorithm::sha256));
  ASSERT_TRUE(begun);
  const Status status = bed.node->status();
  EXPECT_TRUE(status.ready);
  EXPECT_EQ(status.repositories, 2U);
  EXPECT_EQ(status.manifests, 2U);
  EXPECT_EQ(status.uploads, 1U);
}

// ---- every point of failure -------------------------------------------------------------------------------------

struct Acknowledged {
  bool layer = false;
  bool config = false;
  bool manifest = false;
};

const std::string layer = "the layer";
const std::string config = "{}";

Acknowledged push_all(Bed& bed) {
  Acknowledged done;
  done.layer = bed.try_push_blob("team/app", layer).has_value();
  done.config = bed.try_push_blob("team/app", config).has_value();
  done.manifest = bed.put("team/app", "v1", image(config, {layer})).has_value();
  return done;
}

void expect_kept(Bed& bed, const Acknowledged& done, const std::string& where) {
  const std::string body = image(config, {layer});
  if (done.layer) EXPECT_EQ(bed.pull_blob("team/app", digest(layer)), layer) << where;
  if (done.config) EXPECT_EQ(bed.pull_blob("team/app", digest(config)), config) << where;
  const std::string shown = bed.pull("team/app", "v1");
  if (done.manifest) EXPECT_EQ(shown, body) << where;
  // What was not acknowledged is there whole, or not at all (P2).
  if (shown == to_string(ErrorCode::not_found)) return;
  EXPECT_EQ(shown, body) << where;
  EXPECT_EQ(bed.pull_blob("team/app", digest(layer)), layer) << where;
  EXPECT_EQ(bed.pull_blob("team/app", digest(config)), config) << where;
}

// Fails the n-th disk call of a push (`for_ever`: and all later ones), ends the process, starts it again and looks; for
// every n until a push passes untouched.
void fail_every_call(sim::Loss loss, bool for_ever, ErrorCode code) {
  std::uint64_t n = 0;
  for (bool hit = true; hit;) {
    ++n;
    ASSERT_LT(n, 1000U) << "the push never ends";
    Bed bed(small_options(), n);
    const std::uint64_t before = bed.disk.calls(sim::Call::any);
    bed.disk.fail({.call = sim::Call::any, .nth = n, .code = code, .for_ever = for_ever});
    const Acknowledged done = push_all(bed);
    hit = bed.disk.calls(sim::Call::any) >= before + n;
    bed.end(loss);
    bed.start();
    const std::string where = "disk call " + std::to_string(n);
    expect_kept(bed, done, where);
    // And nothing stands in the way of another try.
    bed.push_image("team/app", "v1", {layer});
    EXPECT_EQ(bed.pull("team/app", "v1"), image(config, {layer})) << where;
  }
  EXPECT_GT(n, 20U);
}

TEST(NodeTest, PowerCutBetweenAnyTwoDiskCallsLosesNothingAcknowledged) {
  fail_every_call(sim::Loss::unsynced, true, ErrorCode::io);
}

TEST(NodeTest, KillBetweenAnyTwoDiskCallsLosesNothingAcknowledged) {
  fail_every_call(sim::Loss::nothing, true, ErrorCode::io);
}

TEST(NodeTest, AnyOneFailedDiskCallBeforeAPowerCutLosesNothingAcknowledged) {
  fail_every_call(sim::Loss::unsynced, false, ErrorCode::io);
}

TEST(NodeTest, FullDiskAtAnyCallLosesNothingAcknowledged) {
  fail_every_call(sim::Loss::unsynced, false, ErrorCode::out_of_space);
}

// Whichever call of a start fails, the next start works and shows everything.
TEST(NodeTest, AnyFailedDiskCallOfAStartIsOnlyAFailedStart) {
  std::uint64_t n = 0;
  for (bool hit = true; hit;) {
    ++n;
    ASSERT_LT(n, 1000U) << "the start never ends";
    Bed bed(small_options(), n);
    const std::string body = bed.push_image("team/app", "v1", {layer});
    bed.kill();
    const std::uint64_t before = bed.disk.calls(sim::Call::any);
    bed.disk.fail({.call = sim::Call::any, .nth = n, .for_ever = true});
    (void)bed.try_start();
    hit = bed.disk.calls(sim::Call::any) >= before + n;
    bed.crash();
    bed.start();
    EXPECT_EQ(bed.pull("team/app", "v1"), body) << "disk call " << n;
  }
}

// ---- damage -----------------------------------------------------------------------------------------------------

std::string file_of(const oci::Digest& digest) {
  return "/data/blobs/sha256/" + digest.hex().substr(0, 2) + "/" + digest.hex();
}

TEST(NodeTest, DamagedBytesAreReportedAndNotServed) {
  Bed bed;
  bed.push_image("team/app", "v1", {"one", "two"});
  bed.disk.flip(file_of(digest("two")), 1);
  bed.restart();
  EXPECT_EQ(bed.pull_blob("team/app", digest("two")), to_string(ErrorCode::corrupt));
  EXPECT_EQ(bed.node->status().corrupt_blobs, 1U);
  EXPECT_EQ(bed.pull_blob("team/app", digest("one")), "one");
  // It exists still (P8 works both ways); another push brings its bytes back.
  EXPECT_EQ(bed.pull_blob("team/app", digest("two")), to_string(ErrorCode::unavailable));
  bed.push_blob("team/app", "two");
  EXPECT_EQ(bed.pull_blob("team/app", digest("two")), "two");
}

TEST(NodeTest, ScrubFindsDamageThatNobodyReads) {
  Bed bed;
  bed.push_image("team/app", "v1", {"one", "two"});
  bed.disk.flip(file_of(digest("two")), 1);
  std::uint64_t seen = 0;
  const auto report = bed.run(bed.node->scrub([&seen](const blob::ScrubReport& so_far) { seen = so_far.checked; }, 0));
  ASSERT_TRUE(report) << describe(report.error());
  EXPECT_EQ(report->checked, 4U);  // config, two layers, manifest
  EXPECT_EQ(report->corrupt, std::vector{digest("two")});
  EXPECT_EQ(seen, 4U);
}

// ---- identity (H4) ----------------------------------------------------------------------------------------------

std::string read_file(Bed& bed, const std::string& path) {
  auto file = bed.disk.open(path, io::OpenMode::read).value();
  std::string text(file->size().value(), '\0');
  EXPECT_TRUE(file->read(0, Bytes(reinterpret_cast<std::byte*>(text.data()), text.size())));
  return text;
}
void write_file(Bed& bed, const std::string& path, const std::string& text) {
  auto file = bed.disk.open(path, io::OpenMode::create).value();
  EXPECT_TRUE(file->truncate(0));
  EXPECT_TRUE(file->write(0, as_bytes(text)));
  EXPECT_TRUE(file->sync());
}

TEST(NodeTest, IdentityThatCannotBeReadStopsTheStart) {
  Bed bed;
  bed.push_image("team/app", "v1", {"one"});
  bed.stop();
  const std::string good = read_file(bed, "/data/disk.json");
  write_file(bed, "/data/disk.json", good.substr(0, good.size() / 2));
  const auto refused = bed.try_start();
  EXPECT_TRUE(fails_with(refused, ErrorCode::corrupt, Subject::file));
  write_file(bed, "/data/disk.json", good);
  bed.start();
  EXPECT_NE(bed.pull("team/app", "v1"), to_string(ErrorCode::not_found));
}

TEST(NodeTest, IdentityOfAnEarlierStartMakesItANewDisk) {
  Bed bed;
  bed.push_image("team/app", "v1", {"one"});
  bed.stop();
  const std::string old = read_file(bed, "/data/disk.json");
  for (int i = 0; i < 2; ++i) {
    bed.start();
    bed.stop();
  }
  const auto disk_of = [](const std::string& text) { return text.substr(text.find("\"disk\""), 50); };
  ASSERT_EQ(disk_of(read_file(bed, "/data/disk.json")), disk_of(old));
  write_file(bed, "/data/disk.json", old);
  bed.start();
  EXPECT_NE(disk_of(read_file(bed, "/data/disk.json")), disk_of(old));
  // It serves what it has, and its pushes count.
  EXPECT_NE(bed.pull("team/app", "v1"), to_string(ErrorCode::not_found));
  bed.push_image("team/app", "v2", {"two"});
}

// Its files are believed once all were hashed; a restart amidst that begins anew.
TEST(NodeTest, ANewDiskIsCheckedToTheEndAlsoOverARestart) {
  Bed bed;
  bed.push_image("team/app", "v1", {"one", "two"});
  bed.stop();
  const std::string old = read_file(bed, "/data/disk.json");
  bed.start();
  bed.stop();
  write_file(bed, "/data/disk.json", old);
  bed.disk.flip(file_of(digest("two")), 1);
  const auto unchecked = [&] { return read_file(bed, "/data/disk.json").contains("\"unchecked\": true"); };
  bed.start();
  EXPECT_TRUE(unchecked());
  bed.kill();
  bed.start();
  EXPECT_TRUE(unchecked());
  bed.run_for(std::chrono::seconds(10));
  EXPECT_EQ(bed.node->status().corrupt_blobs, 1U);
  EXPECT_FALSE(unchecked());
  bed.restart();
  EXPECT_FALSE(unchecked());
}

TEST(NodeTest, LostIdentityIsMadeAnew) {
  Bed bed;
  const std::string body = bed.push_image("team/app", "v1", {"one"});
  bed.stop();
  ASSERT_TRUE(bed.disk.remove("/data/disk.json"));
  bed.start();
  EXPECT_EQ(bed.pull("team/app", "v1"), body);
  bed.push_image("team/app", "v2", {"two"});
}

// Without its catalogue every blob would be unnamed, and collection would remove them all.
TEST(NodeTest, LostCatalogueStopsTheStart) {
  Bed bed;
  bed.push_image("team/app", "v1", {"one"});
  bed.stop();
  for (const auto* file : {"/data/hansa.db", "/data/hansa.db-wal"}) (void)bed.disk.remove(file);
  const auto refused = bed.try_start();
  EXPECT_TRUE(fails_with(refused, ErrorCode::corrupt, Subject::file));
  EXPECT_TRUE(bed.has_file(digest("one")));
}

}  // namespace
}  // namespace hansa::node::testing
