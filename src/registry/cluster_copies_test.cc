// Bytes of a cluster: copies before the commit, fetches of what is missing, members that fail, on simulated members.
#include "registry/testing/cluster_bed.h"

namespace hansa::registry::testing {
namespace {

const std::string big(3'000'000, 'b');

// ---- copies before a commit (P1) --------------------------------------------------------------------------------

TEST(ClusterCopies, ABlobAndAManifestLieOnTwoDisksWhenTheyAreAcknowledged) {
  ClusterBed bed(3);
  ASSERT_TRUE(bed["n1"].push_blob("team/app", big));
  EXPECT_EQ(bed.copies_of(digest(big)), 2U);
  ASSERT_TRUE(bed["n2"].push_blob("team/app", "{}"));
  const std::string body = image("{}", {big});
  ASSERT_TRUE(bed["n3"].push_manifest("team/app", "v1", body));
  EXPECT_EQ(bed.copies_of(digest(body)), 2U);
  EXPECT_EQ(bed.shared.now().link(name("team/app"), digest(big)).value()->record.on.size(), 2U);
}

TEST(ClusterCopies, AMemberThatHasTheBytesIsNotSentThemAgain) {
  ClusterBed bed(2);
  ASSERT_TRUE(bed["n1"].push_blob("team/app", big));
  ASSERT_TRUE(bed["n1"].push_blob("team/other", big));
  EXPECT_EQ(bed["n2"].asked["blob.put"], 1);
  EXPECT_EQ(bed["n2"].asked["blob.receipt"], 2);
}

// A member that is not of the layout takes pushes too, but its own disk does not count (H4).
TEST(ClusterCopies, TheDiskOfAMemberOutsideTheLayoutDoesNotCount) {
  ClusterBed bed(3);
  bed.set_layout({"n1", "n2"}, 2);
  ASSERT_TRUE(bed["n3"].push_blob("team/app", big));
  EXPECT_TRUE(bed["n1"].has_file(digest(big)) && bed["n2"].has_file(digest(big)));
}

TEST(ClusterCopies, ASingleMemberAsksNobody) {
  ClusterBed bed(1);
  ASSERT_TRUE(bed["n1"].push_blob("team/app", big));
  EXPECT_EQ(bed.asked("blob.receipt"), 0);
}

TEST(ClusterCopies, WithoutASecondMemberAPushIsUnavailableAndAcknowledgesNothing) {
  ClusterBed bed(2);
  bed.stop("n2");
  EXPECT_TRUE(fails_with(bed["n1"].push_blob("team/app", big), ErrorCode::unavailable, Subject::blob));
  EXPECT_FALSE(bed.shared.now().blob(name("team/app"), digest(big)).value());
  bed["n2"].start();
  EXPECT_TRUE(bed["n1"].push_blob("team/app", big));
}

TEST(ClusterCopies, AMemberThatIsGoneOrSilentIsReplacedByAnother) {
  for (const std::string lost : {"n2", "n3"}) {
    ClusterBed bed(3);
    bed.stop(lost, false);  // nobody has noticed yet
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(bed["n1"].push_blob("team/app", big + std::to_string(i))) << lost;
  }
  for (const std::string lost : {"n2", "n3"}) {
    ClusterBed bed(3);
    bed[lost].executor.pause(std::chrono::hours(1));
    const auto began = bed.shared.world.now();
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(bed["n1"].push_blob("team/app", big + std::to_string(i))) << lost;
    EXPECT_LT(bed.shared.world.now() - began, std::chrono::seconds(10));
  }
}

TEST(ClusterCopies, AMemberWhoseDiskFailsIsReplacedByAnother) {
  for (const std::string bad : {"n2", "n3"}) {
    ClusterBed bed(3);
    for (int i = 0; i < 4; ++i) {
      bed[bad].disk.fail({.call = sim::Call::sync});
      EXPECT_TRUE(bed["n1"].push_blob("team/app", big + std::to_string(i))) << bad;
    }
  }
}

// The cut comes at many points of the transfer: the push ends whole, on two disks, or with an error and no name.
TEST(ClusterCopies, APeerThatIsCutOffInTheMiddleLeavesNoHalfPush) {
  std::set<std::string> outcomes;
  for (int step = 0; step < 60; ++step) {
    ClusterBed bed(2);
    io::MemorySource source(as_bytes(big));
    std::optional<Result<void>> done;
    io::TaskScope scope(bed["n1"].executor);
    auto push = [](Member& member, io::ByteSource& body, std::optional<Result<void>>& out) -> io::Task<void> {
      out.emplace(co_await member.registry->push_blob(member.alice(), name("team/app"), digest(big), body));
    };
    scope.spawn("push", push(bed["n1"], source, done));
    bed.shared.world.run_for(std::chrono::milliseconds(step));
    bed.network.cut(io::NodeId("n1"), io::NodeId("n2"));
    ASSERT_TRUE(bed.shared.world.run_until([&] { return done.has_value(); }, std::chrono::minutes(2))) << step;
    const bool named = bed.shared.now().blob(name("team/app"), digest(big)).value().has_value();
    EXPECT_EQ(done->has_value(), named) << step;
    if (named) {
      EXPECT_EQ(bed.copies_of(digest(big)), 2U) << step;
    }
    outcomes.insert(*done ? "done" : std::string(to_string(done->error().code)));
    bed.network.heal();
    EXPECT_TRUE(bed["n1"].push_blob("team/app", big)) << step;
    EXPECT_EQ(bed["n1"].staged_files() + bed["n2"].staged_files(), 0U) << step;
    sim::run(bed.shared.world, bed["n1"].executor, scope.close());
  }
  EXPECT_EQ(outcomes, (std::set<std::string>{"done", "unavailable"}));
}

// Ticks pass between the copies and the commit: receipts are asked for anew and no byte moves (H1).
TEST(ClusterCopies, ReceiptsAreRenewedWithoutMovingBytes) {
  ClusterBed bed(2);
  auto session =
      bed["n1"].run(bed["n1"].registry->begin_upload(bed["n1"].alice(), name("team/app"), oci::Algorithm::sha256));
  bed["n1"].store.reachable = false;
  io::MemorySource source(as_bytes(big));
  auto finish = [&](io::ByteSource& body) {
    return bed["n1"].run(bed["n1"].registry->finish_upload(bed["n1"].alice(), name("team/app"), session->session,
                                                           std::nullopt, body, digest(big)));
  };
  EXPECT_TRUE(fails_with(finish(source), ErrorCode::unavailable));
  bed.tick(5);
  bed["n1"].store.reachable = true;
  io::MemorySource nothing({});
  EXPECT_TRUE(finish(nothing));
  EXPECT_EQ(bed["n2"].asked["blob.put"], 1);
}

TEST(ClusterCopies, AReceiptOfAnotherDiskDoesNotCount) {
  ClusterBed bed(3);
  catalog::NodeRecord moved;
  moved.disk = "another";
  moved.boot = "boot-n2";
  bed.shared.must([&](const catalog::Planning& p) -> Result<catalog::Plan> {
    meta::Commit commit{p.operation, {}, {{catalog::keys::node("n2"), encode(moved), 0}}, {}};
    return catalog::Plan{std::move(commit), std::nullopt};
  });
  for (int i = 0; i < 4; ++i) {
    const std::string content = big + std::to_string(i);
    ASSERT_TRUE(bed["n1"].push_blob("team/app", content));
    EXPECT_TRUE(bed["n3"].has_file(digest(content)));
  }
  EXPECT_EQ(bed["n1"].store.barriers, 0U);  // no plan was refused: another member was asked at once
}

// ---- bytes that are missing here --------------------------------------------------------------------------------

TEST(ClusterCopies, AnyMemberServesWhatAnyOtherTook) {
  ClusterBed bed(3);
  ASSERT_TRUE(bed["n1"].push_blob("team/app", big));
  ASSERT_TRUE(bed["n1"].push_blob("team/app", "{}"));
  const std::string body = image("{}", {big});
  ASSERT_TRUE(bed["n1"].push_manifest("team/app", "v1", body));
  for (const std::string id : {"n1", "n2", "n3"}) {
    EXPECT_EQ(bed[id].pull("team/app", "v1"), body) << id;
    EXPECT_EQ(bed[id].pull_blob("team/app", digest(big)), big) << id;
    EXPECT_TRUE(bed[id].has_file(digest(big))) << id;
  }
}

TEST(ClusterCopies, AThousandReadersMakeOneFetch) {
  ClusterBed bed(2);
  ASSERT_TRUE(bed["n1"].push_blob("team/app", big));
  ASSERT_TRUE(bed["n2"].disk.remove(Member::path_of(digest(big))));
  bed.stop("n2", false);  // forgets its open files
  bed["n2"].start();
  const int before = bed["n1"].asked["blob.get"];
  int whole = 0;
  io::TaskScope scope(bed["n2"].executor);
  auto read = [](Member& member, int& count) -> io::Task<void> {
    auto got = co_await member.registry->get_blob(member.alice(), name("team/app"), digest(big));
    if (got && got->reader->size() == big.size()) ++count;
  };
  for (int i = 0; i < 1000; ++i) scope.spawn("read", read(bed["n2"], whole));
  bed["n2"].run([](io::TaskScope& all) -> io::Task<bool> {
    co_await all.join();
    co_return true;
  }(scope));
  EXPECT_EQ(whole, 1000);
  EXPECT_EQ(bed["n1"].asked["blob.get"] - before, 1);
}

// Whoever goes away, the fetch goes on for the others.
TEST(ClusterCopies, AFetchOutlivesTheReaderThatBeganIt) {
  ClusterBed bed(2);
  ASSERT_TRUE(bed["n1"].push_blob("team/app", big));
  for (int step = 0; step < 40; ++step) {
    ASSERT_TRUE(bed["n2"].disk.remove(Member::path_of(digest(big))));
    bed.stop("n2", false);
    bed["n2"].start();
    int whole = 0;
    auto read = [](Member& member, int& count) -> io::Task<void> {
      auto got = co_await member.registry->get_blob(member.alice(), name("team/app"), digest(big));
      if (got) ++count;
    };
    io::TaskScope first(bed["n2"].executor);
    io::TaskScope rest(bed["n2"].executor);
    int cut = 0;
    first.spawn("first", read(bed["n2"], cut));
    for (int i = 0; i < 5; ++i) rest.spawn("rest", read(bed["n2"], whole));
    bed.shared.world.run_for(std::chrono::microseconds(500) * step);
    sim::run(bed.shared.world, bed["n2"].executor, first.close());
    sim::run(bed.shared.world, bed["n2"].executor, rest.join());
    EXPECT_EQ(whole, 5) << step;
    ASSERT_TRUE(bed.shared.world.run_until([&] { return bed["n2"].has_file(digest(big)); }, std::chrono::minutes(1)));
    EXPECT_EQ(bed["n2"].staged_files(), 0U) << step;
  }
}

TEST(ClusterCopies, BytesThatNobodyHasNowAreUnavailableAndNeverUnknown) {
  ClusterBed bed(3);
  ASSERT_TRUE(bed["n1"].push_blob("team/app", big));
  const std::string holder = bed["n2"].has_file(digest(big)) ? "n2" : "n3";
  const std::string other = holder == "n2" ? "n3" : "n2";
  bed.stop("n1");
  bed.stop(holder);
  EXPECT_EQ(bed[other].pull_blob("team/app", digest(big)), "unavailable");
  // A peer that lacks it too never asks onward (T9).
  bed["n1"].start();
  ASSERT_TRUE(bed["n1"].disk.remove(Member::path_of(digest(big))));
  bed["n1"].stop();
  bed["n1"].start();
  EXPECT_EQ(bed[other].pull_blob("team/app", digest(big)), "unavailable");
  EXPECT_EQ(bed["n1"].asked["blob.get"], 1);
  EXPECT_EQ(bed[other].asked["blob.get"], 0);
  bed[holder].start();
  EXPECT_EQ(bed[other].pull_blob("team/app", digest(big)), big);
}

TEST(ClusterCopies, ASourceThatFallsSilentIsLeftForAnotherAndItsBytesAreKept) {
  ClusterBed bed(3);
  ASSERT_TRUE(bed["n1"].push_blob("team/app", big));
  const std::string holder = bed["n2"].has_file(digest(big)) ? "n2" : "n3";
  const std::string reader = holder == "n2" ? "n3" : "n2";
  for (const std::string& silent : {std::string("n1"), holder}) {
    (void)bed[reader].disk.remove(Member::path_of(digest(big)));
    bed.stop(reader, false);
    bed[reader].start();
    bed[silent].executor.pause(std::chrono::seconds(20));
    EXPECT_EQ(bed[reader].pull_blob("team/app", digest(big)), big) << silent;
    bed.shared.world.run_for(std::chrono::seconds(30));
  }
}

}  // namespace
}  // namespace hansa::registry::testing
