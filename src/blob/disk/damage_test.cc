// Rot is found and never served (P4), and what is known of chunks is bounded and expires.
#include "blob/disk/rig_test.h"

namespace hansa::blob::disk {
namespace {

using namespace std::chrono_literals;
using Rig = StoreRig<SimPorts>;

void write_file(io::Disk& disk, const std::string& path, const std::string& text) {
  auto file = disk.open(path, io::OpenMode::create).value();
  ASSERT_TRUE(file->truncate(0));
  ASSERT_TRUE(file->write(0, as_bytes(text)));
}

std::size_t count_files(io::Disk& disk, const std::string& folder) {
  return disk.list(folder).value().size();
}

DiskStoreOptions with(auto DiskStoreOptions::* option, auto value) {
  DiskStoreOptions options;
  options.*option = value;
  return options;
}

TEST(Damage, AFlipOfAnyByteOfABlobIsFoundAndHealedByAPush) {
  const std::string text = sample(300);
  const auto digest = digest_of(text);
  for (std::uint64_t at = 0; at < text.size(); ++at) {
    Rig rig;
    ASSERT_TRUE(push(rig, "first", text));
    rig.ports().sim_disk.flip(rig.layout().file(digest), at);
    rig.restart();
    const auto got = read_blob(rig, digest);
    ASSERT_FALSE(got) << "byte " << at;
    EXPECT_EQ(got.error().code, ErrorCode::corrupt);
    EXPECT_EQ(got.error().subject, Subject::blob);
    EXPECT_EQ(rig.corrupt(), std::vector{digest}) << "told once";
    EXPECT_EQ(read_blob(rig, digest).error().code, ErrorCode::not_found) << "put away";
    EXPECT_EQ(count_files(rig.disk(), rig.layout().quarantine()), 1u);
    ASSERT_TRUE(push(rig, "second", text));
    EXPECT_TRUE(read_blob(rig, digest).value() == text);
  }
}

TEST(Damage, OfManyDamagedBlobsOnlySoManyAreKept) {
  DiskStoreOptions options;
  options.max_quarantined = 3;
  Rig rig(options);
  std::vector<oci::Digest> digests;
  for (std::uint64_t i = 0; i < 8; ++i) {
    const std::string text = sample(300, i);
    digests.push_back(digest_of(text));
    ASSERT_TRUE(push(rig, "upload" + std::to_string(i), text));
    rig.ports().sim_disk.flip(rig.layout().file(digests.back()), 7);
  }
  rig.restart();
  for (const auto& digest : digests) {
    EXPECT_FALSE(read_blob(rig, digest));
    EXPECT_FALSE(rig.disk().info(rig.layout().file(digest)));
  }
  EXPECT_EQ(count_files(rig.disk(), rig.layout().quarantine()), 3U);
}

TEST(Damage, AFlipOfAnyByteOfTheSidecarNeverChangesAnAnswer) {
  const std::string text = sample(200'000);
  const auto digest = digest_of(text);
  Rig rig;
  ASSERT_TRUE(push(rig, "blob", text));
  const auto sidecar = rig.layout().sidecar(digest);
  const auto size = rig.disk().info(sidecar)->size;
  for (std::uint64_t at = 0; at < size; ++at) {
    rig.ports().sim_disk.flip(sidecar, at);
    rig.restart();
    ASSERT_TRUE(read_blob(rig, digest).value() == text) << "byte " << at;
  }
  EXPECT_TRUE(rig.corrupt().empty());
}

TEST(Damage, SumsThatAreMissingTornOrOfAnotherBlobAreMadeAnew) {
  const std::string text = sample(200'000);
  const auto digest = digest_of(text);
  Rig rig;
  ASSERT_TRUE(push(rig, "blob", text));
  ASSERT_TRUE(push(rig, "other", sample(200'000, 2)));
  ASSERT_TRUE(push(rig, "shorter", sample(100'000, 3)));
  const auto sidecar = rig.layout().sidecar(digest);
  const auto sound = rig.disk().info(sidecar)->size;
  const std::vector<std::function<void()>> harms = {
      [&] { EXPECT_TRUE(rig.disk().remove(sidecar)); },
      [&] { write_file(rig.disk(), sidecar, ""); },
      [&] { EXPECT_TRUE(rig.disk().open(sidecar, io::OpenMode::write).value()->truncate(sound - 1)); },
      [&] { EXPECT_TRUE(rig.disk().open(sidecar, io::OpenMode::write).value()->write(sound, as_bytes("x"))); },
      [&] { EXPECT_TRUE(rig.disk().rename(rig.layout().sidecar(digest_of(sample(100'000, 3))), sidecar)); },
      [&] { EXPECT_TRUE(rig.disk().rename(rig.layout().sidecar(digest_of(sample(200'000, 2))), sidecar)); }};
  for (std::size_t i = 0; i < harms.size(); ++i) {
    harms[i]();
    rig.restart();
    EXPECT_TRUE(read_blob(rig, digest).value() == text) << "harm " << i;
    EXPECT_EQ(rig.disk().info(sidecar)->size, sound) << "harm " << i;
    const auto reads = rig.ports().sim_disk.calls(sim::Call::read);
    rig.restart();
    EXPECT_TRUE(await(rig, rig.store().open(digest)));
    EXPECT_EQ(rig.ports().sim_disk.calls(sim::Call::read), reads + 1) << "the sums made anew are believed again";
  }
  EXPECT_TRUE(rig.corrupt().empty()) << "the blob itself is sound";
}

// Its digest says as much, and a second file for each of many small blobs costs more than to hash them.
TEST(Damage, ABlobOfOneChunkHasNoSumsOnDiskAndIsHashedWhenItIsOpened) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, chunk_size, chunk_size + 1}) {
    Rig rig;
    const std::string text = sample(size);
    const auto digest = digest_of(text);
    ASSERT_TRUE(push(rig, "blob", text));
    EXPECT_EQ(rig.disk().info(rig.layout().sidecar(digest)).has_value(), size > chunk_size) << size;
    EXPECT_EQ(count_files(rig.disk(), rig.layout().staging()), 0U);
    rig.restart();
    const auto writes = rig.ports().sim_disk.calls(sim::Call::write);
    EXPECT_TRUE(read_blob(rig, digest).value() == text) << size;
    EXPECT_EQ(rig.ports().sim_disk.calls(sim::Call::write), writes) << size;
    if (size == 0) continue;
    rig.ports().sim_disk.flip(rig.layout().file(digest), size - 1);
    rig.restart();
    EXPECT_EQ(read_blob(rig, digest).error().code, ErrorCode::corrupt) << size;
  }
}

// As an earlier version wrote them: they are not looked at, and go with their blob.
TEST(Damage, SumsOfABlobOfOneChunkAreIgnored) {
  Rig rig;
  const std::string text = sample(1000);
  const auto sidecar = rig.layout().sidecar(digest_of(text));
  ASSERT_TRUE(push(rig, "blob", text));
  write_file(rig.disk(), sidecar, "no sums");
  rig.restart();
  EXPECT_TRUE(read_blob(rig, digest_of(text)).value() == text);
  EXPECT_TRUE(await(rig, rig.store().scrub(digest_of(text))));
  rig.set_tick(3);
  EXPECT_EQ(await(rig, rig.upkeep().sweep({digest_of(text)}, [](const oci::Digest&) { return true; })).value(), 1U);
  EXPECT_FALSE(rig.disk().info(sidecar));
}

// Each file is sound, and so are its sums; they are of another blob.
TEST(Damage, BlobsThatWereSwappedWithTheirSidecarsAreNotServedAsEachOther) {
  Rig rig;
  const std::string one = sample(200'000, 1);
  const std::string two = sample(200'000, 2);
  ASSERT_TRUE(push(rig, "one", one));
  ASSERT_TRUE(push(rig, "two", two));
  const auto swap = [&rig](const std::string& a, const std::string& b) {
    EXPECT_TRUE(rig.disk().rename(a, a + ".swap"));
    EXPECT_TRUE(rig.disk().rename(b, a));
    EXPECT_TRUE(rig.disk().rename(a + ".swap", b));
  };
  swap(rig.layout().file(digest_of(one)), rig.layout().file(digest_of(two)));
  swap(rig.layout().sidecar(digest_of(one)), rig.layout().sidecar(digest_of(two)));
  rig.restart();
  for (const std::string& text : {one, two}) {
    EXPECT_EQ(read_blob(rig, digest_of(text)).error().code, ErrorCode::corrupt);
    ASSERT_TRUE(push(rig, "again", text));
    EXPECT_TRUE(read_blob(rig, digest_of(text)).value() == text);
  }
  EXPECT_EQ(rig.corrupt().size(), 2U);
}

TEST(Damage, AShorterOrLongerFileIsNoBlob) {
  for (const bool longer : {false, true}) {
    Rig rig;
    const std::string text = sample(100'000);
    ASSERT_TRUE(push(rig, "blob", text));
    auto file = rig.disk().open(rig.layout().file(digest_of(text)), io::OpenMode::write).value();
    if (longer) {
      ASSERT_TRUE(file->write(text.size(), as_bytes("more")));
    } else {
      ASSERT_TRUE(file->truncate(text.size() - 1));
    }
    rig.restart();
    EXPECT_EQ(read_blob(rig, digest_of(text)).error().code, ErrorCode::corrupt);
    EXPECT_EQ(rig.corrupt(), std::vector{digest_of(text)});
  }
}

TEST(Damage, AFileCutShortWhileItIsOpenIsFound) {
  Rig rig;
  const std::string text = sample(100'000);
  ASSERT_TRUE(push(rig, "blob", text));
  const auto reader = await(rig, rig.store().open(digest_of(text))).value();
  ASSERT_TRUE(reader->is_verified(0, text.size()));
  ASSERT_TRUE(rig.disk().open(rig.layout().file(digest_of(text)), io::OpenMode::write).value()->truncate(90'000));
  EXPECT_EQ(read_range(rig, *reader, 0, text.size()).error().code, ErrorCode::corrupt);
}

TEST(Damage, OnlyTheDamagedChunkIsRefusedUntilItIsMet) {
  Rig rig;
  const std::string text = sample(200'000);
  ASSERT_TRUE(push(rig, "blob", text));
  rig.ports().sim_disk.flip(rig.layout().file(digest_of(text)), 150'000);  // in the third chunk
  rig.restart();
  const auto reader = await(rig, rig.store().open(digest_of(text))).value();
  EXPECT_TRUE(await(rig, reader->verify(0, 131'072)));
  EXPECT_TRUE(read_range(rig, *reader, 100, 70'000).value() == text.substr(100, 70'000));
  EXPECT_TRUE(rig.corrupt().empty());
  EXPECT_EQ(await(rig, reader->verify(131'072, 1)).error().code, ErrorCode::corrupt);
  EXPECT_EQ(rig.corrupt().size(), 1u);
}

TEST(Damage, AnOldReadersDamageDoesNotTakeTheHealedBlobAway) {
  Rig rig;
  const std::string text = sample(100'000);
  ASSERT_TRUE(push(rig, "rotten", text));
  rig.ports().sim_disk.flip(rig.layout().file(digest_of(text)), 5);
  rig.restart();
  const auto old_reader = await(rig, rig.store().open(digest_of(text))).value();
  ASSERT_TRUE(push(rig, "healed", text));
  EXPECT_EQ(read_range(rig, *old_reader, 0, 10).error().code, ErrorCode::corrupt) << "its own file stays damaged";
  EXPECT_TRUE(read_blob(rig, digest_of(text)).value() == text);
  rig.restart();
  EXPECT_TRUE(read_blob(rig, digest_of(text)).value() == text);
  EXPECT_TRUE(rig.corrupt().empty());
}

TEST(Damage, AReadThatFailsIsNotTakenForDamage) {
  Rig rig;
  const std::string text = sample(100'000);
  ASSERT_TRUE(push(rig, "blob", text));
  rig.restart();
  const auto reader = await(rig, rig.store().open(digest_of(text))).value();
  rig.ports().sim_disk.fail({.call = sim::Call::read});
  EXPECT_EQ(read_range(rig, *reader, 0, 10).error().code, ErrorCode::io);
  EXPECT_TRUE(rig.corrupt().empty());
  EXPECT_TRUE(read_range(rig, *reader, 0, text.size()).value() == text);
}

TEST(Damage, AChunkIsCheckedAgainOnceItsCheckIsTooOld) {
  Rig rig(with(&DiskStoreOptions::verify_every, 24h));
  const std::string text = sample(100'000);
  ASSERT_TRUE(push(rig, "blob", text));
  const auto reader = await(rig, rig.store().open(digest_of(text))).value();
  rig.ports().world.run_for(23h);
  EXPECT_TRUE(reader->is_verified(0, text.size()));
  rig.ports().world.run_for(2h);
  EXPECT_FALSE(reader->is_verified(0, text.size()));
  rig.ports().sim_disk.flip(rig.layout().file(digest_of(text)), 5);
  EXPECT_EQ(read_range(rig, *reader, 0, 10).error().code, ErrorCode::corrupt);
}

TEST(Damage, WithZeroEveryReadIsChecked) {
  Rig rig(with(&DiskStoreOptions::verify_every, 0s));
  const std::string text = sample(100'000);
  ASSERT_TRUE(push(rig, "blob", text));
  const auto reader = await(rig, rig.store().open(digest_of(text))).value();
  EXPECT_TRUE(read_range(rig, *reader, 0, text.size()).value() == text);
  EXPECT_FALSE(reader->is_verified(0, 1));
  rig.ports().sim_disk.flip(rig.layout().file(digest_of(text)), 70'000);
  EXPECT_EQ(read_range(rig, *reader, 0, text.size()).error().code, ErrorCode::corrupt);
}

TEST(OpenBlobs, AnOpenBlobIsOpenedAgainWithoutTheDisk) {
  Rig rig;
  ASSERT_TRUE(push(rig, "blob", "text"));
  const auto calls = rig.ports().sim_disk.calls(sim::Call::any);
  const auto now = rig.ports().world.now();
  EXPECT_TRUE(await(rig, rig.store().open(digest_of("text"))));
  EXPECT_TRUE(await(rig, rig.store().stat(digest_of("text"))));
  EXPECT_EQ(rig.ports().sim_disk.calls(sim::Call::any), calls);
  EXPECT_EQ(rig.ports().world.now(), now) << "no blocking work, so no time passed";
}

TEST(OpenBlobs, ReadersShareWhatIsKnownOfChunks) {
  Rig rig;
  ASSERT_TRUE(push(rig, "blob", sample(100'000)));
  rig.restart();
  const auto one = await(rig, rig.store().open(digest_of(sample(100'000)))).value();
  const auto two = await(rig, rig.store().open(digest_of(sample(100'000)))).value();
  ASSERT_TRUE(await(rig, one->verify(0, 10)));
  EXPECT_TRUE(two->is_verified(0, 10));
}

TEST(OpenBlobs, NoMoreThanTheLimitAreKeptAndTheOldestGoesFirst) {
  for (const DiskStoreOptions& limit :
       {with(&DiskStoreOptions::open_blobs, 2u), with(&DiskStoreOptions::chunk_memory, 2u * 8)}) {  // 8 bytes per chunk
    Rig rig(limit);
    for (const char* text : {"a", "b", "c"}) ASSERT_TRUE(await(rig, rig.store().put(digest_of(text), text)));
    const auto opens_for = [&](const char* text) {
      const auto before = rig.ports().sim_disk.calls(sim::Call::open);
      EXPECT_EQ(read_blob(rig, digest_of(text)).value(), text);
      return rig.ports().sim_disk.calls(sim::Call::open) - before;
    };
    EXPECT_EQ(opens_for("b"), 0u);
    EXPECT_EQ(opens_for("a"), 1u) << "c goes, as b was used later";
    EXPECT_EQ(opens_for("b"), 0u);
    EXPECT_EQ(opens_for("c"), 1u);
  }
}

TEST(Scrub, FindsRotThatNoReaderMet) {
  Rig rig;
  const std::string text = sample(200'000);
  ASSERT_TRUE(push(rig, "blob", text));
  rig.ports().sim_disk.flip(rig.layout().file(digest_of(text)), 199'999);
  EXPECT_EQ(await(rig, rig.store().scrub(digest_of(text))).error().code, ErrorCode::corrupt);
  EXPECT_EQ(rig.corrupt(), std::vector{digest_of(text)});
  EXPECT_EQ(read_blob(rig, digest_of(text)).error().code, ErrorCode::not_found) << "also for open() of an open blob";
}

// A large blob would hold up the end of the process for as long as it takes to hash.
TEST(Scrub, EndsAfterThePieceUnderWayWhenItIsCancelled) {
  Rig rig;
  const std::string text = sample(200'000'000);
  ASSERT_TRUE(push(rig, "blob", text));
  Result<void> done;
  io::TaskScope scope(rig.ports().executor());
  const auto scrub = [](Rig& in, oci::Digest digest, Result<void>& out) -> io::Task<void> {
    out = co_await in.upkeep().scrub(std::move(digest));
  };
  const auto before = rig.ports().sim_disk.calls(sim::Call::read);
  scope.spawn("scrub", scrub(rig, digest_of(text), done));
  ASSERT_TRUE(rig.ports().world.run_until([&] { return rig.ports().sim_disk.calls(sim::Call::read) > before; }));
  scope.cancel();
  ASSERT_TRUE(rig.ports().world.run_until([&] { return scope.running() == 0; }));
  EXPECT_EQ(done.error().code, ErrorCode::cancelled);
  const auto first = rig.ports().sim_disk.calls(sim::Call::read) - before;
  ASSERT_TRUE(await(rig, rig.store().scrub(digest_of(text))));
  EXPECT_GT(rig.ports().sim_disk.calls(sim::Call::read) - before - first, 2 * first);
}

TEST(Scrub, MendsDamagedSums) {
  Rig rig;
  const std::string text = sample(200'000);
  ASSERT_TRUE(push(rig, "blob", text));
  rig.ports().sim_disk.flip(rig.layout().sidecar(digest_of(text)), 20);
  ASSERT_TRUE(await(rig, rig.store().scrub(digest_of(text))));
  const auto before = rig.ports().sim_disk.calls(sim::Call::write);
  rig.restart();
  ASSERT_TRUE(await(rig, rig.store().open(digest_of(text))));
  EXPECT_EQ(rig.ports().sim_disk.calls(sim::Call::write), before) << "open() had nothing to make anew";
}

// The folder was synced before; the name that comes back is not durable by that.
TEST(Trash, WhatComesBackGivesNoReceiptBeforeItsNameIsDurable) {
  Rig rig;
  ASSERT_TRUE(push(rig, "blob", "text"));
  rig.set_tick(5);
  const auto yes = [](const oci::Digest&) { return true; };
  ASSERT_EQ(await(rig, rig.upkeep().sweep({digest_of("text")}, yes)).value(), 1U);
  rig.ports().sim_disk.fail({.call = sim::Call::sync_directory, .for_ever = true});
  EXPECT_FALSE(await(rig, rig.upkeep().restore_trash()));
  rig.ports().sim_disk.clear_faults();
  const auto before = rig.ports().sim_disk.calls(sim::Call::sync_directory);
  ASSERT_TRUE(await(rig, rig.store().renew_receipt(digest_of("text"))));
  EXPECT_GT(rig.ports().sim_disk.calls(sim::Call::sync_directory), before);
}

// A disk that was restored or copied (H4): nobody knows what its files are.
class Unchecked : public ::testing::Test {
 protected:
  Result<Receipt> receipt() { return await(rig, rig.store().renew_receipt(digest_of(text))); }
  std::uint64_t reads() { return rig.ports().sim_disk.calls(sim::Call::read); }
  // Pushed before the start.
  void hold() {
    ASSERT_TRUE(push(rig, "before", text));
    rig.restart();
  }
  Rig rig{with(&DiskStoreOptions::unchecked, true)};
  const std::string text = sample(200'000);
};

TEST_F(Unchecked, AFileThatWasHereGivesAReceiptOnlyAfterItWasHashed) {
  hold();
  const auto before = reads();
  EXPECT_TRUE(receipt());
  EXPECT_GT(reads(), before);
  const auto after = reads();
  EXPECT_TRUE(receipt());
  EXPECT_EQ(reads(), after) << "once is enough";
}

TEST_F(Unchecked, ADamagedFileGivesNone) {
  hold();
  rig.ports().sim_disk.flip(rig.layout().file(digest_of(text)), 77);
  EXPECT_EQ(receipt().error().code, ErrorCode::not_found);
  EXPECT_EQ(rig.corrupt(), std::vector{digest_of(text)});
}

TEST_F(Unchecked, WhatThisProcessWroteIsBelieved) {
  ASSERT_TRUE(push(rig, "now", text));
  const auto before = reads();
  EXPECT_TRUE(receipt());
  EXPECT_EQ(reads(), before);
}

TEST_F(Unchecked, EverythingIsBelievedOnceAllWasHashed) {
  hold();
  rig.store().believe_all();
  const auto before = reads();
  EXPECT_TRUE(receipt());
  EXPECT_EQ(reads(), before);
}

}  // namespace
}  // namespace hansa::blob::disk
