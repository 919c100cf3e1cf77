// Every disk call that can fail, every point where the power can go: an acknowledged blob is whole, an unacknowledged
// one is whole or absent, and the next try succeeds (P1).
#include "blob/disk/rig_test.h"

namespace hansa::blob::disk {
namespace {

using Rig = StoreRig<SimPorts>;

constexpr std::uint64_t seeds = 12;

const std::string& old_text() {
  static const std::string text = sample(100'000, 1);
  return text;
}
const std::string& new_text() {
  static const std::string text = sample(150'000, 2);
  return text;
}

const std::string& small_text() {  // of one chunk
  static const std::string text = sample(1000, 3);
  return text;
}

// A store with one acknowledged blob.
std::unique_ptr<Rig> rig_with_old_blob(std::uint64_t seed) {
  auto rig = std::make_unique<Rig>(DiskStoreOptions{}, seed);
  EXPECT_TRUE(push(*rig, "old", old_text()));
  return rig;
}

enum class Fate : std::uint8_t { absent, whole, wrong };

Fate fate(Rig& rig, const std::string& text) {
  const auto got = read_blob(rig, digest_of(text));
  if (got) return *got == text ? Fate::whole : Fate::wrong;
  return got.error().code == ErrorCode::not_found ? Fate::absent : Fate::wrong;
}

// The steps of a push, each with an error that a client could see. True: acknowledged.
bool try_push(Rig& rig, const std::string& id, const std::string& text = new_text()) {
  return push(rig, id, text, 60'000).has_value();
}

// The session goes on where it stands, as a client does that asks for the offset.
Result<Receipt> resume(Rig& rig, const std::string& id) {
  HANSA_TRY(const auto staged, await(rig, rig.store().reopen_staged(id, oci::Algorithm::sha256)));
  const auto rest = as_bytes(std::string_view(new_text()).substr(staged->size()));
  HANSA_CHECK(await(rig, staged->append(rest)));
  return await(rig, rig.store().finish(staged, digest_of(new_text())));
}

// Ends the process and the power, and starts both again.
void power_cut(Rig& rig, sim::Loss loss = sim::Loss::unsynced) {
  rig.end();
  rig.ports().sim_disk.stop(loss);
  rig.ports().sim_disk.clear_faults();
  rig.ports().sim_disk.start();
  rig.begin();
}

std::uint64_t calls_of_a_push() {
  const auto rig = rig_with_old_blob(1);
  const auto before = rig->ports().sim_disk.calls(sim::Call::any);
  EXPECT_TRUE(try_push(*rig, "new"));
  return rig->ports().sim_disk.calls(sim::Call::any) - before;
}

TEST(Crash, AnyCallThatFailsOnceLosesNothingAndTheNextTrySucceeds) {
  const std::uint64_t calls = calls_of_a_push();
  int refused = 0;
  for (const ErrorCode code : {ErrorCode::io, ErrorCode::out_of_space}) {
    for (std::uint64_t nth = 1; nth <= calls; ++nth) {
      const auto rig = rig_with_old_blob(nth);
      rig->ports().sim_disk.fail({.nth = nth, .code = code});
      const bool acknowledged = try_push(*rig, "new");
      refused += acknowledged ? 0 : 1;
      rig->ports().sim_disk.clear_faults();
      const Fate now = fate(*rig, new_text());
      EXPECT_NE(now, Fate::wrong) << "call " << nth;
      if (acknowledged) EXPECT_EQ(now, Fate::whole) << "call " << nth;
      EXPECT_EQ(fate(*rig, old_text()), Fate::whole) << "call " << nth;
      EXPECT_TRUE(try_push(*rig, "again")) << "call " << nth;
      power_cut(*rig);
      EXPECT_EQ(fate(*rig, new_text()), Fate::whole) << "call " << nth;
      EXPECT_EQ(fate(*rig, old_text()), Fate::whole) << "call " << nth;
    }
  }
  EXPECT_GT(refused, 10) << "most calls matter";
}

TEST(Crash, AFullDiskRefusesAndTheUploadGoesOnWhenThereIsRoom) {
  for (std::uint64_t room = 0; room < 152'000; room += 9'000) {
    const auto rig = rig_with_old_blob(room + 1);
    const auto space = rig->disk().space("/data").value();
    rig->ports().sim_disk.set_capacity(space.total - space.available + room);
    const auto full = push(*rig, "new", new_text(), 60'000);
    if (full) continue;  // it fitted
    EXPECT_EQ(full.error().code, ErrorCode::out_of_space) << room;
    EXPECT_EQ(fate(*rig, new_text()), Fate::absent) << room;
    EXPECT_EQ(fate(*rig, old_text()), Fate::whole) << room;
    rig->ports().sim_disk.set_capacity(std::nullopt);
    EXPECT_TRUE(resume(*rig, "new")) << room;
    EXPECT_EQ(fate(*rig, new_text()), Fate::whole) << room;
  }
}

// The n-th call fails and so does every later one, then the power goes: a cut at every point, each with other losses.
void cut_the_power_at_any_point_of_a_push(const std::string& text) {
  const std::uint64_t calls = calls_of_a_push();
  int absent = 0;
  int whole = 0;
  for (std::uint64_t nth = 1; nth <= calls + 1; ++nth) {
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
      const auto rig = rig_with_old_blob(seed);
      rig->ports().sim_disk.fail({.nth = nth, .for_ever = true});
      const bool acknowledged = try_push(*rig, "new", text);
      power_cut(*rig);
      const Fate after = fate(*rig, text);
      ASSERT_NE(after, Fate::wrong) << "call " << nth << ", seed " << seed;
      if (acknowledged) ASSERT_EQ(after, Fate::whole) << "call " << nth << ", seed " << seed;
      ASSERT_EQ(fate(*rig, old_text()), Fate::whole) << "call " << nth << ", seed " << seed;
      (after == Fate::whole ? whole : absent) += 1;
      ASSERT_TRUE(try_push(*rig, "again", text)) << "call " << nth << ", seed " << seed;
      power_cut(*rig);
      ASSERT_EQ(fate(*rig, text), Fate::whole) << "call " << nth << ", seed " << seed;
    }
  }
  EXPECT_GT(absent, 0);
  EXPECT_GT(whole, 0);
}

TEST(Crash, APowerCutAtAnyPointOfAPushLeavesTheBlobWholeOrAbsent) {
  cut_the_power_at_any_point_of_a_push(new_text());
}

TEST(Crash, APowerCutAtAnyPointOfAPushLeavesABlobOfOneChunkWholeOrAbsent) {
  cut_the_power_at_any_point_of_a_push(small_text());
}

// A new push over a blob that is there: the acknowledged one must survive whatever happens to the new one.
TEST(Crash, AFailedPushOfABlobThatIsHereNeverLosesIt) {
  const std::uint64_t calls = calls_of_a_push() + 2;
  for (const bool power : {false, true}) {
    for (std::uint64_t nth = 1; nth <= calls; ++nth) {
      for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        const auto rig = rig_with_old_blob(seed);
        ASSERT_TRUE(try_push(*rig, "first"));
        rig->ports().sim_disk.fail({.nth = nth, .for_ever = power});
        (void)try_push(*rig, "second");
        rig->ports().sim_disk.clear_faults();
        ASSERT_EQ(fate(*rig, new_text()), Fate::whole) << "call " << nth << ", seed " << seed;
        power_cut(*rig);
        ASSERT_EQ(fate(*rig, new_text()), Fate::whole) << "call " << nth << ", seed " << seed;
      }
    }
  }
}

// kill -9 leaves names that were made and never synced; the next process must not vouch for them unsynced.
TEST(Crash, ANameThatAKilledProcessLeftIsMadeDurableBeforeItGivesAReceipt) {
  const std::uint64_t calls = calls_of_a_push();
  int renewed = 0;
  for (std::uint64_t nth = 1; nth <= calls; ++nth) {
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
      const auto rig = std::make_unique<Rig>(DiskStoreOptions{}, seed);
      rig->ports().sim_disk.fail({.nth = nth, .for_ever = true});
      (void)try_push(*rig, "new");
      power_cut(*rig, sim::Loss::nothing);
      if (!await(*rig, rig->store().renew_receipt(digest_of(new_text())))) continue;
      ++renewed;
      power_cut(*rig);
      ASSERT_EQ(fate(*rig, new_text()), Fate::whole) << "call " << nth << ", seed " << seed;
    }
  }
  EXPECT_GT(renewed, 0) << "some process was killed between the rename and its fsync";
}

TEST(Crash, AnUploadThatAKilledProcessLeftCanBeResumed) {
  const std::uint64_t calls = calls_of_a_push();
  int resumed = 0;
  for (std::uint64_t nth = 1; nth <= calls; ++nth) {
    const auto rig = rig_with_old_blob(nth);
    rig->ports().sim_disk.fail({.nth = nth, .for_ever = true});
    (void)try_push(*rig, "new");
    power_cut(*rig, sim::Loss::nothing);
    const auto staged = await(*rig, rig->store().list_staged()).value();
    if (staged.empty()) continue;
    ASSERT_EQ(staged, std::vector<std::string>{"new"});
    ++resumed;
    // A write that was cut left bytes of unknown worth; a client that goes on from there is told so, never believed.
    const auto receipt = resume(*rig, "new");
    if (!receipt) EXPECT_EQ(receipt.error().code, ErrorCode::invalid) << "call " << nth;
    EXPECT_EQ(fate(*rig, new_text()), receipt ? Fate::whole : Fate::absent) << "call " << nth;
  }
  EXPECT_GT(resumed, 3);
}

TEST(Crash, AfterAFailedFsyncTheUploadIsGivenUpForGood) {
  const auto rig = rig_with_old_blob(1);
  const auto staged = await(*rig, rig->store().create_staged("new", oci::Algorithm::sha256)).value();
  ASSERT_TRUE(await(*rig, staged->append(as_bytes("a small blob"))));
  rig->ports().sim_disk.fail({.call = sim::Call::sync});
  const auto failed = await(*rig, rig->store().finish(staged, digest_of("a small blob")));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::io);
  EXPECT_FALSE(await(*rig, rig->store().finish(staged, digest_of("a small blob")))) << "a second fsync proves nothing";
  EXPECT_FALSE(await(*rig, staged->append(as_bytes("more"))));
  EXPECT_EQ(fate(*rig, "a small blob"), Fate::absent);
  EXPECT_EQ(rig->disk().list(rig->layout().quarantine())->size(), 1u);
  EXPECT_EQ(rig->disk().list(rig->layout().staging())->size(), 0u);
}

TEST(Crash, AFailedAppendLeavesTheLengthAndTheNextOneGoesOn) {
  for (const bool truncate_fails_too : {false, true}) {
    const auto rig = rig_with_old_blob(1);
    const std::string_view text = new_text();
    const auto staged = await(*rig, rig->store().create_staged("new", oci::Algorithm::sha256)).value();
    ASSERT_TRUE(await(*rig, staged->append(as_bytes(text.substr(0, 70'000)))));
    rig->ports().sim_disk.fail({.call = sim::Call::write, .code = ErrorCode::out_of_space});
    if (truncate_fails_too) rig->ports().sim_disk.fail({.call = sim::Call::truncate});
    const auto failed = await(*rig, staged->append(as_bytes(std::string(100'000, 'x'))));
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, ErrorCode::out_of_space);
    EXPECT_EQ(staged->size(), 70'000u);
    if (!truncate_fails_too) EXPECT_EQ(rig->disk().info(rig->layout().staged("new"))->size, 70'000u);
    // Even when nothing more is appended, no byte of the failed one may end up in the blob.
    ASSERT_TRUE(await(*rig, rig->store().finish(staged, digest_of(text.substr(0, 70'000)))));
    power_cut(*rig);
    EXPECT_EQ(fate(*rig, std::string(text.substr(0, 70'000))), Fate::whole);
  }
}

TEST(Crash, AnInterruptedSweepLeavesTheBlobWholeOrGone) {
  for (std::uint64_t nth = 1; nth <= 8; ++nth) {
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
      const auto rig = rig_with_old_blob(seed);
      rig->set_tick(2);
      rig->ports().sim_disk.fail({.nth = nth, .for_ever = true});
      (void)await(*rig, rig->store().sweep({digest_of(old_text())}, [](const oci::Digest&) { return true; }));
      power_cut(*rig);
      ASSERT_NE(fate(*rig, old_text()), Fate::wrong) << "call " << nth << ", seed " << seed;
      ASSERT_TRUE(await(*rig, rig->store().list(std::nullopt, 10)));
      ASSERT_TRUE(push(*rig, "again", old_text()));
      ASSERT_EQ(fate(*rig, old_text()), Fate::whole);
    }
  }
}

TEST(Crash, TheStartRemovesWhatAPutLeftAndKeepsSessions) {
  const auto rig = rig_with_old_blob(1);
  ASSERT_TRUE(await(*rig, rig->store().create_staged("session", oci::Algorithm::sha256)));
  // Its write and everything after it fails, the cleaning up too.
  rig->ports().sim_disk.fail({.call = sim::Call::write});
  rig->ports().sim_disk.fail({.call = sim::Call::remove, .for_ever = true});
  EXPECT_FALSE(await(*rig, rig->store().put(digest_of("manifest"), "manifest")));
  EXPECT_EQ(rig->disk().list(rig->layout().staging())->size(), 2u);
  rig->ports().sim_disk.clear_faults();
  rig->restart();
  EXPECT_EQ(rig->disk().list(rig->layout().staging())->size(), 1u);
  EXPECT_EQ(await(*rig, rig->store().list_staged()).value(), std::vector<std::string>{"session"});
}

}  // namespace
}  // namespace hansa::blob::disk
