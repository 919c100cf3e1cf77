// Damaged bytes in a cluster: found before they leave, replaced by another member's, for blobs and manifests; and blobs
// that are sent while they come.
#include <cstdlib>
#include <list>

#include "blob/disk/sidecar.h"
#include "registry/testing/cluster_bed.h"

namespace hansa::registry::testing {
namespace {

using namespace std::chrono_literals;

const std::string small(1000, 's');
const std::string large(4'000'000, 'g');

class ClusterHeal : public ::testing::Test {
 protected:
  void push_everywhere(const std::string& content) {
    ASSERT_TRUE(bed["n1"].push_blob("team/app", content));
    for (const std::string id : {"n1", "n2", "n3"}) ASSERT_EQ(bed[id].pull_blob("team/app", digest(content)), content);
    ASSERT_EQ(bed.copies_of(digest(content)), 3U);
  }
  // With nothing known of what was checked before.
  void restart(const std::string& id, io::Duration verify_every) {
    bed.stop(id, false);
    bed[id].verify_every = verify_every;
    bed[id].start();
    bed.settle();
  }
  void flip(const std::string& id, const oci::Digest& digest, std::uint64_t offset, const char* end = "") {
    bed[id].disk.flip(Member::path_of(digest) + end, offset);
  }
  std::uint64_t file_size(const std::string& id, const oci::Digest& digest, const char* end = "") {
    return bed[id].disk.info(Member::path_of(digest) + end)->size;
  }

  ClusterBed bed{3};
};

// How many blobs of 1 KiB: with HANSA_FULL 256 KiB of bytes are flipped one after the other.
std::size_t blobs_to_flip() {
  return std::getenv("HANSA_FULL") == nullptr ? 1 : 256;
}

std::string kilobyte(std::size_t number) {
  std::string text = std::to_string(number) + ":";
  text.resize(1024, 's');
  return text;
}
// The smallest blob that has a file of checksums.
const std::string two_chunks(blob::chunk_size + 1, 't');

// verifyEvery 0: each byte of a blob, and of checksums, in turn.
TEST_F(ClusterHeal, WhicheverByteIsFlippedTheRightOnesAreServedAndComeBackFromAPeer) {
  for (std::size_t i = 0; i < blobs_to_flip(); ++i) push_everywhere(kilobyte(i));
  push_everywhere(two_chunks);
  restart("n2", 0s);
  const auto flip_each_of = [this](const std::string& text, const char* end) {
    const auto wanted = digest(text);
    ASSERT_EQ(bed["n2"].pull_blob("team/app", wanted), text);
    for (std::uint64_t at = 0; at < file_size("n2", wanted, end); ++at) {
      flip("n2", wanted, at, end);
      ASSERT_EQ(bed["n2"].pull_blob("team/app", wanted), text) << at << end;
      ASSERT_TRUE(bed["n2"].has_file(wanted)) << at << end;
    }
  };
  for (std::size_t i = 0; i < blobs_to_flip(); ++i) flip_each_of(kilobyte(i), "");
  flip_each_of(two_chunks, ".crc");
  // Damaged checksums are made anew from sound bytes.
  EXPECT_EQ(bed["n2"].damaged.size(), blobs_to_flip() * 1024);
  EXPECT_EQ(bed["n2"].copies->fetched_blobs(), blobs_to_flip() * 1024);
}

// The default: what a process has checked it believes for a day; after a restart nothing is believed.
TEST_F(ClusterHeal, AfterARestartWhicheverByteWasFlippedIsFound) {
  const auto flip_each_of = [this](const std::string& text, const char* end) {
    push_everywhere(text);
    const auto wanted = digest(text);
    for (std::uint64_t at = 0; at < file_size("n2", wanted, end); ++at) {
      flip("n2", wanted, at, end);
      restart("n2", 24h);
      ASSERT_EQ(bed["n2"].pull_blob("team/app", wanted), text) << at << end;
    }
  };
  for (std::size_t i = 0; i < blobs_to_flip(); ++i) flip_each_of(kilobyte(i), "");
  flip_each_of(two_chunks, ".crc");
}

TEST_F(ClusterHeal, DamageInAPartThatIsAskedForIsReplacedAndDamageElsewhereIsNotServed) {
  push_everywhere(large);
  restart("n2", 0s);
  flip("n2", digest(large), 2'000'000);
  BlobPull part;
  part.offset = 1'990'000;
  part.length = 20'000;
  const auto got = bed["n2"].ask_blob("team/app", digest(large), part);
  ASSERT_TRUE(got) << describe(got.error());
  EXPECT_EQ(bed["n2"].damaged, std::vector{digest(large)});
  EXPECT_EQ(bed["n2"].pull_blob("team/app", digest(large)), large);
  // Behind what is checked before the answer begins: the body ends early, and the next try has the right bytes.
  flip("n2", digest(large), 3'000'000);
  EXPECT_EQ(bed["n2"].pull_blob("team/app", digest(large)), "corrupt");
  EXPECT_EQ(bed["n2"].pull_blob("team/app", digest(large)), large);
}

TEST_F(ClusterHeal, ADamagedManifestIsServedFromAPeer) {
  const std::string body = image("c", {small});
  push_everywhere("c");
  push_everywhere(small);
  ASSERT_TRUE(bed["n1"].push_manifest("team/app", "v1", body));
  ASSERT_EQ(bed["n2"].pull("team/app", "v1"), body);
  flip("n2", digest(body), 5);
  restart("n2", 24h);
  EXPECT_EQ(bed["n2"].pull("team/app", "v1"), body);
  EXPECT_EQ(bed["n2"].damaged, std::vector{digest(body)});
}

TEST_F(ClusterHeal, DamageThatNobodyCanReplaceIsNotServed) {
  push_everywhere(small);
  restart("n2", 0s);
  flip("n2", digest(small), 7);
  bed.network.isolate(io::NodeId("n2"));
  EXPECT_EQ(bed["n2"].pull_blob("team/app", digest(small)), "unavailable");
  bed.network.heal();
  EXPECT_EQ(bed["n2"].pull_blob("team/app", digest(small)), small);
}

// A member that lacks a blob does not ask for it again where another has it.
TEST_F(ClusterHeal, APusherIsToldToUploadOnlyWhatNobodyHas) {
  push_everywhere(small);
  for (const std::string id : {"n2", "n3"}) ASSERT_TRUE(bed[id].disk.remove(Member::path_of(digest(small))));
  restart("n2", 24h);
  restart("n3", 24h);
  const auto head = [&] {
    return bed["n2"].run(bed["n2"].registry->head_blob(bed["n2"].alice(), name("team/app"), digest(small)));
  };
  EXPECT_TRUE(head());
  EXPECT_TRUE(bed.shared.world.run_until([&] { return bed["n2"].has_file(digest(small)); }, 1min));
  for (const std::string id : {"n1", "n2"}) {
    ASSERT_TRUE(bed[id].disk.remove(Member::path_of(digest(small))));
    restart(id, 24h);
  }
  EXPECT_TRUE(fails_with(head(), ErrorCode::not_found, Subject::blob));
  ASSERT_TRUE(bed["n2"].push_blob("team/app", small));
  EXPECT_TRUE(head());
}

// ---- sent while it comes ----------------------------------------------------------------------------------------

class ClusterStream : public ClusterHeal {
 protected:
  // Pushed, and on who lacks it.
  std::string lacks(const std::string& content) {
    EXPECT_TRUE(bed["n1"].push_blob("team/app", content));
    return bed["n2"].has_file(digest(content)) ? "n3" : "n2";
  }
  static io::Task<void> pull(Member* member, oci::Digest wanted, std::vector<std::string>* out) {
    auto got = co_await member->registry->get_blob(member->alice(), name("team/app"), wanted, {});
    if (got) {
      out->push_back(co_await Member::read_all(got->reader));
    } else {
      out->push_back(std::string(to_string(got.error().code)));
    }
  }
};

TEST_F(ClusterStream, TheFirstBytesOfAMissingBlobAreReadBeforeTheLastHaveCome) {
  Member& member = bed[lacks(large)];
  auto got = member.ask_blob("team/app", digest(large), {});
  ASSERT_TRUE(got) << describe(got.error());
  EXPECT_TRUE(got->reader->is_growing());
  EXPECT_EQ(got->head.size, large.size());
  std::string first(1000, '\0');
  ASSERT_TRUE(member.run(got->reader->read(0, Bytes(reinterpret_cast<std::byte*>(first.data()), first.size()))));
  EXPECT_EQ(first, large.substr(0, 1000));
  EXPECT_FALSE(member.has_file(digest(large)));
  EXPECT_EQ(member.run(Member::read_all(got->reader)), large);
  EXPECT_FALSE(got->reader->is_growing());
  EXPECT_TRUE(member.has_file(digest(large)));
  EXPECT_EQ(member.staged_files(), 0U);
}

TEST_F(ClusterStream, ManyPullsOfAMissingBlobMakeOneFetch) {
  Member& member = bed[lacks(large)];
  constexpr std::size_t pulls = 100;
  std::vector<std::string> got;
  io::TaskScope scope(member.executor);
  for (std::size_t i = 0; i < pulls; ++i) scope.spawn("pull", pull(&member, digest(large), &got));
  ASSERT_TRUE(bed.shared.world.run_until([&] { return got.size() == pulls; }, 5min));
  EXPECT_EQ(std::ranges::count(got, large), pulls);
  EXPECT_EQ(member.copies->fetched_blobs(), 1U);
  EXPECT_EQ(scope.running(), 0U);
}

// H11: the client must not take for whole what is not.
TEST_F(ClusterStream, TheLastBytesOfABlobWithAnotherDigestAreNeverGiven) {
  const std::string lacking = lacks(large);
  const std::string other(large.size(), 'x');
  for (const std::string id : {"n1", "n2", "n3"}) {
    if (id == lacking) continue;
    ASSERT_TRUE(bed[id].run(bed[id].blobs->put(digest(other), other)));
    ASSERT_TRUE(bed[id].disk.rename(Member::path_of(digest(other)), Member::path_of(digest(large))));
    // As if it had been hashed: sums of its own, and believed.
    blob::disk::ChunkSummer summer;
    summer.update(as_bytes(other));
    auto file = bed[id].disk.open(Member::path_of(digest(large)) + ".crc", io::OpenMode::create).value();
    ASSERT_TRUE(file->write(0, as_bytes(blob::disk::encode_sidecar(digest(large), other.size(), summer.sums()))));
    ASSERT_TRUE(file->sync());
    restart(id, 24h);
  }
  auto got = bed[lacking].ask_blob("team/app", digest(large), {});
  ASSERT_TRUE(got) << describe(got.error());
  std::string bytes(large.size(), '\0');
  const Bytes out(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
  std::size_t at = 0;
  Result<std::size_t> last = std::size_t{0};
  while (at < bytes.size()) {
    last = bed[lacking].run(got->reader->read(at, out.subspan(at)));
    if (!last) break;
    at += *last;
  }
  EXPECT_FALSE(last.has_value());
  EXPECT_EQ(last.error().code, ErrorCode::disconnected);
  EXPECT_LE(at, large.size() - cluster::held_back);
  EXPECT_FALSE(bed[lacking].has_file(digest(large)));
}

TEST_F(ClusterStream, APartThatEndsBeforeTheBlobDoesWaitsForTheWhole) {
  Member& member = bed[lacks(large)];
  BlobPull part;
  part.length = 1000;
  auto got = member.ask_blob("team/app", digest(large), part);
  ASSERT_TRUE(got);
  EXPECT_FALSE(got->reader->is_growing()) << "its bytes would be given before anybody knows whether they are right";
  BlobPull rest;
  rest.offset = 3'999'000;
  const std::string more = large + "more";
  Member& second = bed[lacks(more)];
  auto end = second.ask_blob("team/app", digest(more), rest);
  ASSERT_TRUE(end);
  std::string bytes(1004, '\0');
  ASSERT_TRUE(
      second.run(end->reader->read(3'999'000, Bytes(reinterpret_cast<std::byte*>(bytes.data()), bytes.size()))));
  EXPECT_TRUE(second.has_file(digest(more))) << "the last bytes wait for the digest";
}

TEST_F(ClusterStream, AFetchGoesOnWhenItsClientIsGone) {
  Member& member = bed[lacks(large)];
  std::vector<std::string> got;
  {
    io::TaskScope scope(member.executor);
    scope.spawn("pull", pull(&member, digest(large), &got));
    bed.shared.world.run_for(2ms);
    member.run(scope.close());
  }
  EXPECT_TRUE(bed.shared.world.run_until([&] { return member.has_file(digest(large)); }, 1min));
}

TEST_F(ClusterStream, ASourceThatIsLostOnTheWayIsReplacedUnderTheReader) {
  for (int step = 1; step < 12; ++step) {
    const std::string content = large + std::to_string(step);
    const std::string lacking = lacks(content);
    Member& member = bed[lacking];
    auto got = member.ask_blob("team/app", digest(content), {});
    ASSERT_TRUE(got);
    const std::string holder = lacking == "n2" ? "n3" : "n2";
    std::vector<std::string> read;
    io::TaskScope scope(member.executor);
    scope.spawn("read", [](std::shared_ptr<blob::BlobReader> reader, std::vector<std::string>* out) -> io::Task<void> {
      out->push_back(co_await Member::read_all(std::move(reader)));
    }(got->reader, &read));
    bed.shared.world.run_for(std::chrono::milliseconds(step * 3));
    bed.network.isolate(io::NodeId(step % 2 == 0 ? "n1" : holder));
    ASSERT_TRUE(bed.shared.world.run_until([&] { return !read.empty(); }, 5min));
    EXPECT_EQ(read.front(), content) << step;
    bed.network.heal();
    bed.settle();
  }
}

}  // namespace
}  // namespace hansa::registry::testing
