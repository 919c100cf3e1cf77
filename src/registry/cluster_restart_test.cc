// Upload sessions whose members are started anew: they are waited for, and go on where the bytes are.
#include "registry/testing/takeover.h"

namespace hansa::registry::testing {
namespace {

TEST_F(ClusterTakeover, AMemberThatIsStartedAnewIsWaitedFor) {
  const auto none = begin("n1");
  const auto some = begin("n1");
  ASSERT_TRUE(append("n1", some, "abc"));
  bed["n1"].pulses->stand_aside();
  bed.shared.world.run_for(cluster::pulse_interval * 2);
  bed.stop("n1", false);
  std::vector<Result<UploadStatus>> done;
  const auto ask = [](Member& at, oci::RepositoryName where, std::string session, std::uint64_t first,
                      std::vector<Result<UploadStatus>>* out) -> io::Task<void> {
    io::MemorySource source(as_bytes(std::string_view("def")));
    const ChunkRange range{.first = first, .last = first + 2};
    out->push_back(
        co_await at.registry->append_upload(at.alice(), std::move(where), std::move(session), range, source));
  };
  io::TaskScope two(bed["n2"].executor);
  io::TaskScope three(bed["n3"].executor);
  two.spawn("append", ask(bed["n2"], repository, none, 0, &done));
  three.spawn("append", ask(bed["n3"], repository, some, 3, &done));
  bed.shared.world.run_for(600ms);
  bed["n1"].start();
  EXPECT_TRUE(bed.shared.world.run_until([&] { return done.size() == 2; }, 1min));
  for (const auto& one : done) EXPECT_TRUE(one) << describe(one.error());
  EXPECT_EQ(status("n2", none)->received, 3U);
  EXPECT_EQ(status("n2", some)->received, 6U);
}

// The one that is asked knows that a peer comes back, and asks it again: the one that opened the upload, or another
// that may have it.
TEST_F(ClusterTakeover, AMemberThatIsAskedWaitsForOneThatIsStartedAnew) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  lose("n1");
  const std::string taker = keeper();
  ASSERT_EQ(received(append(other(taker), session, "def", 3)), 6U);  // which knows from here who has it
  bed["n1"].start();
  bed.settle();
  ASSERT_EQ(received(status("n1", session)), 6U);  // and so does this one
  std::uint64_t size = 6;
  const std::vector<std::pair<std::string, std::string>> turns = {{other(taker), "n1"}, {"n1", other(taker)}};
  for (const auto& [asked, restarted] : turns) {
    bed[taker].stop();  // what it has lies on its disk, and is open no more
    bed[taker].start();
    bed.settle();
    bed[restarted].pulses->stand_aside();
    bed.shared.world.run_for(cluster::pulse_interval * 2);
    bed.stop(restarted, false);
    std::optional<Result<UploadStatus>> done;
    const auto ask = [this, &session, &size](Member& at, std::optional<Result<UploadStatus>>* out) -> io::Task<void> {
      io::MemorySource source(as_bytes(std::string_view("ghi")));
      const ChunkRange range{.first = size, .last = size + 2};
      *out = co_await at.registry->append_upload(at.alice(), repository, session, range, source);
    };
    io::TaskScope scope(bed[asked].executor);
    scope.spawn("append", ask(bed[asked], &done));
    bed.shared.world.run_for(600ms);
    bed[restarted].start();
    ASSERT_TRUE(bed.shared.world.run_until([&] { return done.has_value(); }, 1min));
    EXPECT_EQ(received(*done), size + 3) << restarted << " was started anew";
    size += 3;
    bed.settle();
  }
}

// A rolling restart: each has only what lies on its disk, and they say the same.
TEST_F(ClusterTakeover, ARestartOfAllMembersLeavesTheUploadWhereItWas) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  for (const std::string id : {"n1", "n2", "n3"}) {
    bed[id].stop();
    bed[id].start();
    bed.settle();
  }
  EXPECT_EQ(received(append("n3", session, "def")), 6U);
  lose("n1");
  EXPECT_EQ(received(status("n3", session)), 6U);
  EXPECT_TRUE(finish("n2", session, "abcdef"));
}

TEST_F(ClusterTakeover, AnOwnerThatComesBackWithAnOlderPartPassesItsRequestsOn) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  lose("n1");
  ASSERT_EQ(received(append("n2", session, "def", 3)), 6U);
  bed["n1"].start();
  bed.settle();
  EXPECT_EQ(bed["n1"].staged_files(), 1U);
  EXPECT_EQ(received(status("n1", session)), 6U);
  EXPECT_EQ(received(append("n1", session, "ghi", 6)), 9U);
  // The third one asks the first, which says who has it now: a small body goes along.
  EXPECT_EQ(received(append("n3", session, "jkl", 9)), 12U);
  EXPECT_EQ(received(status("n3", session)), 12U);
  ASSERT_TRUE(finish("n1", session, "abcdefghijkl"));
  EXPECT_EQ(bed.copies_of(digest("abcdefghijkl")), 2U);
}

// Power loss takes what was not synced: a 202 promises memory of two members, not their disks.
TEST_F(ClusterTakeover, AnOwnerThatLostItsBytesGoesOnWithThePeers) {
  const auto session = begin("n1");
  ASSERT_TRUE(append("n1", session, "abc"));
  bed.stop("n1");
  ASSERT_TRUE(bed["n1"].disk.remove("/data/staging/" + session));
  bed["n1"].start();
  bed.settle();
  EXPECT_EQ(received(status("n1", session)), 3U);
  EXPECT_EQ(received(append("n1", session, "def")), 6U);
  EXPECT_TRUE(finish("n2", session, "abcdef"));
}

TEST_F(ClusterTakeover, APeerThatStartedAnewTakesTheUploadFromItsStart) {
  ClusterBed two(2);
  two.settle();
  Member& n1 = two["n1"];
  Member& n2 = two["n2"];
  const auto session = n1.run(n1.registry->begin_upload(n1.alice(), repository, oci::Algorithm::sha256))->session;
  for (const std::string part : {"abc", "def"}) {
    io::MemorySource body(as_bytes(part));
    ASSERT_TRUE(n1.run(n1.registry->append_upload(n1.alice(), repository, session, std::nullopt, body)));
    n2.stop();
    n2.start();
    two.settle();
  }
  two.stop("n1");
  two.shared.world.run_for(2s);
  EXPECT_EQ(received(n2.run(n2.registry->upload_status(n2.alice(), repository, session))), 6U);
}

}  // namespace
}  // namespace hansa::registry::testing
