// What every BlobStore promises, as a suite that runs on any of them. A store's tests give a Rig and instantiate:
//
//   INSTANTIATE_TYPED_TEST_SUITE_P(OnMyStore, BlobStoreContract, MyRig);
//
// Rig: BlobStore& store(); BlobMaintenance& upkeep(); void run(io::Task<void>); void set_tick(TickNumber) (starts at
// 0); void restart() (the process ends and comes back; nothing is lost but memory).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "blob/store.h"
#include "io/wait.h"

namespace hansa::blob {

template <class T>
io::Task<void> keep(io::Task<T> task, std::optional<T>* out) {
  out->emplace(co_await std::move(task));
}

// Runs a task to its end from a test.
template <class Rig, class T>
T await(Rig& rig, io::Task<T> task) {
  std::optional<T> out;
  rig.run(keep(std::move(task), &out));
  return std::move(*out);
}

// Bytes without a period, so that a misplaced chunk shows.
inline std::string sample(std::size_t size, std::uint64_t seed = 1) {
  std::string text(size, '\0');
  std::uint64_t state = seed * 0x9E3779B97F4A7C15u;
  for (char& c : text) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>(state >> 56);
  }
  return text;
}

inline oci::Digest digest_of(std::string_view text, oci::Algorithm algorithm = oci::Algorithm::sha256) {
  return oci::Digest::compute(algorithm, as_bytes(text));
}

template <class Rig>
Result<std::string> read_range(Rig& rig, BlobReader& reader, std::uint64_t offset, std::size_t length) {
  std::string text(length, '?');
  HANSA_TRY(const auto got, await(rig, reader.read(offset, std::as_writable_bytes(std::span(text)))));
  text.resize(got);
  return text;
}

// The whole blob, or why not.
template <class Rig>
Result<std::string> read_blob(Rig& rig, const oci::Digest& digest) {
  HANSA_TRY(const auto reader, await(rig, rig.store().open(digest)));
  return read_range(rig, *reader, 0, reader->size() + 1);
}

// Stages `text` in pieces and finishes it.
template <class Rig>
Result<Receipt> push(Rig& rig, const std::string& id, const std::string& text, std::size_t piece = 100'000) {
  HANSA_TRY(const auto staged, await(rig, rig.store().create_staged(id, oci::Algorithm::sha256)));
  for (std::size_t at = 0; at < text.size(); at += piece) {
    HANSA_CHECK(await(rig, staged->append(as_bytes(std::string_view(text).substr(at, piece)))));
  }
  return await(rig, rig.store().finish(staged, digest_of(text)));
}

template <class Rig>
class BlobStoreContract : public testing::Test {
 public:
  BlobStore& store() { return rig.store(); }
  template <class T>
  T wait(io::Task<T> task) {
    return await(rig, std::move(task));
  }
  ErrorCode code_of_open(const oci::Digest& digest) {
    auto opened = wait(store().open(digest));
    return opened ? ErrorCode::internal : opened.error().code;
  }
  std::shared_ptr<StagedBlob> stage(const std::string& id, const std::string& text) {
    auto staged = wait(store().create_staged(id, oci::Algorithm::sha256)).value();
    EXPECT_TRUE(wait(staged->append(as_bytes(text))));
    return staged;
  }
  Rig rig;
};

TYPED_TEST_SUITE_P(BlobStoreContract);

TYPED_TEST_P(BlobStoreContract, ReturnsTheBytesOfEverySize) {
  for (const std::size_t size : {0u, 1u, 65'535u, 65'536u, 65'537u, 131'072u, 1'500'000u}) {
    const std::string text = sample(size, size);
    ASSERT_TRUE(push(this->rig, "s" + std::to_string(size), text));
    EXPECT_EQ(this->wait(this->store().stat(digest_of(text)))->size, size);
    EXPECT_TRUE(read_blob(this->rig, digest_of(text)).value() == text) << size;
    this->rig.restart();
    EXPECT_TRUE(read_blob(this->rig, digest_of(text)).value() == text) << size << " after a restart";
  }
}

TYPED_TEST_P(BlobStoreContract, ReturnsAnyRange) {
  const std::string text = sample(200'000);
  ASSERT_TRUE(push(this->rig, "ranges", text));
  for (const std::uint64_t offset : {0u, 1u, 65'535u, 65'536u, 131'000u, 199'999u, 200'000u, 300'000u}) {
    for (const std::size_t length : {0u, 1u, 65'536u, 70'000u, 131'072u, 250'000u}) {
      this->rig.restart();  // so that no chunk was checked before
      const auto reader = this->wait(this->store().open(digest_of(text))).value();
      const auto expected = offset < text.size() ? text.substr(offset, length) : "";
      EXPECT_TRUE(read_range(this->rig, *reader, offset, length).value() == expected) << offset << " " << length;
      EXPECT_TRUE(this->wait(reader->verify(offset, ~std::uint64_t{0}))) << "a range past the end is cut";
    }
  }
}

TYPED_TEST_P(BlobStoreContract, TellsWhatItVerified) {
  const std::string text = sample(200'000);
  ASSERT_TRUE(push(this->rig, "verified", text));
  const auto fresh = this->wait(this->store().open(digest_of(text))).value();
  EXPECT_TRUE(fresh->is_verified(0, text.size())) << "what was written just now was checked";
  this->rig.restart();
  const auto reader = this->wait(this->store().open(digest_of(text))).value();
  EXPECT_FALSE(reader->is_verified(0, 1));
  EXPECT_TRUE(this->wait(reader->verify(0, 70'000)));
  EXPECT_TRUE(reader->is_verified(0, 131'072)) << "whole chunks are checked";
  EXPECT_FALSE(reader->is_verified(131'072, 1));
  EXPECT_TRUE(reader->is_verified(200'000, 5)) << "past the end is nothing to check";
}

TYPED_TEST_P(BlobStoreContract, RefusesAWrongDigestAndChangesNothing) {
  const std::string text = sample(1000);
  const auto staged = this->stage("wrong", text);
  const auto refused = this->wait(this->store().finish(staged, digest_of("other")));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid);
  EXPECT_EQ(refused.error().subject, Subject::digest);
  EXPECT_EQ(this->code_of_open(digest_of("other")), ErrorCode::not_found);
  EXPECT_EQ(this->code_of_open(digest_of(text)), ErrorCode::not_found);
  EXPECT_TRUE(this->wait(this->store().finish(staged, digest_of(text)))) << "the right digest is still accepted";
}

TYPED_TEST_P(BlobStoreContract, AcceptsAnotherAlgorithmAtTheEnd) {
  const std::string text = sample(150'000);
  for (const auto algorithm : {oci::Algorithm::sha384, oci::Algorithm::sha512}) {
    const auto staged = this->stage("other-" + std::string(oci::to_string(algorithm)), text);
    const auto digest = digest_of(text, algorithm);
    EXPECT_FALSE(this->wait(this->store().finish(staged, digest_of("other", algorithm))));
    ASSERT_TRUE(this->wait(this->store().finish(staged, digest)));
    this->rig.restart();
    EXPECT_TRUE(read_blob(this->rig, digest).value() == text);
  }
}

TYPED_TEST_P(BlobStoreContract, PutsSmallContentUnderItsDigestOnly) {
  EXPECT_TRUE(this->wait(this->store().put(digest_of("manifest"), "manifest")));
  EXPECT_EQ(read_blob(this->rig, digest_of("manifest")).value(), "manifest");
  EXPECT_TRUE(this->wait(this->store().put(digest_of("manifest"), "manifest"))) << "again, over what is there";
  const auto refused = this->wait(this->store().put(digest_of("one"), "another"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid);
  EXPECT_EQ(this->code_of_open(digest_of("one")), ErrorCode::not_found);
  EXPECT_EQ(this->wait(this->store().list_staged()).value(), std::vector<std::string>{}) << "a put is no session";
}

TYPED_TEST_P(BlobStoreContract, SaysNotFoundOfABlobThatIsNotHere) {
  const auto digest = digest_of("nowhere");
  const auto stat = this->wait(this->store().stat(digest));
  ASSERT_FALSE(stat);
  EXPECT_EQ(stat.error().code, ErrorCode::not_found);
  EXPECT_EQ(stat.error().subject, Subject::blob);
  EXPECT_EQ(this->code_of_open(digest), ErrorCode::not_found);
  const auto renewed = this->wait(this->store().renew_receipt(digest));
  ASSERT_FALSE(renewed);
  EXPECT_EQ(renewed.error().code, ErrorCode::not_found);
}

TYPED_TEST_P(BlobStoreContract, ShowsStagedBytesBesideWhoeverAppendsAndAfterTheEnd) {
  auto staged = this->stage("growing", "first ");
  const auto reader = this->wait(this->store().read_staged("growing")).value();
  const auto read = [&](std::uint64_t offset) {
    std::string out(100, '\0');
    out.resize(this->wait(reader->read(offset, Bytes(reinterpret_cast<std::byte*>(out.data()), out.size()))).value());
    return out;
  };
  EXPECT_EQ(read(0), "first ");
  EXPECT_EQ(read(6), "");
  EXPECT_EQ(this->wait(reader->size()).value(), 6U);
  ASSERT_TRUE(this->wait(staged->append(as_bytes(std::string_view("second")))));
  EXPECT_EQ(read(6), "second");
  EXPECT_EQ(this->wait(reader->size()).value(), 12U);
  ASSERT_TRUE(this->wait(this->store().finish(staged, digest_of("first second"))));
  EXPECT_EQ(read(0), "first second");
  EXPECT_EQ(this->wait(this->store().read_staged("growing")).error().code, ErrorCode::not_found);
}

TYPED_TEST_P(BlobStoreContract, KeepsStagedBlobsByTheirIds) {
  this->stage("b_2", "text");
  this->stage("a-1", "text");
  EXPECT_EQ(this->wait(this->store().list_staged()).value(), (std::vector<std::string>{"a-1", "b_2"}));
  EXPECT_EQ(this->wait(this->store().create_staged("a-1", oci::Algorithm::sha256)).error().code, ErrorCode::exists);
  for (const char* bad : {"", "..", "a/b", "a.crc", "\xff"}) {
    EXPECT_EQ(this->wait(this->store().create_staged(bad, oci::Algorithm::sha256)).error().code, ErrorCode::invalid);
  }
  EXPECT_TRUE(this->wait(this->store().discard_staged("a-1")));
  EXPECT_TRUE(this->wait(this->store().discard_staged("a-1"))) << "what is gone already is fine";
  const auto gone = this->wait(this->store().reopen_staged("a-1", oci::Algorithm::sha256));
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, ErrorCode::not_found);
  EXPECT_EQ(gone.error().subject, Subject::upload);
  EXPECT_EQ(this->wait(this->store().list_staged()).value(), (std::vector<std::string>{"b_2"}));
}

TYPED_TEST_P(BlobStoreContract, GoesOnWithAStagedBlobAfterARestart) {
  const std::string text = sample(300'000);
  this->stage("resumed", text.substr(0, 111'111));
  this->rig.restart();
  const auto staged = this->wait(this->store().reopen_staged("resumed", oci::Algorithm::sha256)).value();
  EXPECT_EQ(staged->size(), 111'111u);
  EXPECT_TRUE(this->wait(staged->append(as_bytes(std::string_view(text).substr(111'111)))));
  EXPECT_TRUE(this->wait(this->store().finish(staged, digest_of(text))));
  EXPECT_TRUE(read_blob(this->rig, digest_of(text)).value() == text);
  EXPECT_EQ(this->wait(this->store().list_staged()).value(), std::vector<std::string>{});
}

TYPED_TEST_P(BlobStoreContract, TakesNothingMoreAfterTheEnd) {
  const auto staged = this->stage("ended", "text");
  ASSERT_TRUE(this->wait(this->store().finish(staged, digest_of("text"))));
  EXPECT_FALSE(this->wait(staged->append(as_bytes("more"))));
  EXPECT_FALSE(this->wait(this->store().finish(staged, digest_of("text"))));
  EXPECT_EQ(read_blob(this->rig, digest_of("text")).value(), "text");
}

TYPED_TEST_P(BlobStoreContract, GivesReceiptsOfTheTickItSawTheBlobAt) {
  this->rig.set_tick(7);
  const auto first = push(this->rig, "receipt", "text").value();
  EXPECT_EQ(first.tick, 7u);
  EXPECT_EQ(first.node, "node-1");
  EXPECT_EQ(first.disk, "disk-1");
  this->rig.set_tick(9);
  EXPECT_EQ(this->wait(this->store().renew_receipt(digest_of("text"))).value().tick, 9u);
  EXPECT_EQ(this->wait(this->store().put(digest_of("text"), "text")).value().tick, 9u);
}

TYPED_TEST_P(BlobStoreContract, ListsAllBlobsOnceInOrderPageByPage) {
  std::vector<oci::Digest> expected;
  for (int i = 0; i < 60; ++i) {
    const std::string text = "blob " + std::to_string(i);
    const auto algorithm = i % 3 == 0 ? oci::Algorithm::sha512 : oci::Algorithm::sha256;
    expected.push_back(digest_of(text, algorithm));
    ASSERT_TRUE(this->wait(this->store().put(expected.back(), text)));
  }
  std::ranges::sort(expected);
  for (const std::size_t limit : {1u, 7u, 1000u}) {
    std::vector<oci::Digest> found;
    for (std::optional<oci::Digest> after;;) {
      const auto page = this->wait(this->rig.upkeep().list(after, limit)).value();
      EXPECT_LE(page.size(), limit);
      if (page.empty()) break;
      for (const auto& blob : page) {
        EXPECT_TRUE(blob.size == 6 || blob.size == 7);
        found.push_back(blob.digest);
      }
      after = found.back();
    }
    EXPECT_TRUE(found == expected) << limit;
  }
}

TYPED_TEST_P(BlobStoreContract, SweepsOnlyTwoTicksAfterTheStartAndTheLastReceipt) {
  const auto yes = [](const oci::Digest&) { return true; };
  ASSERT_TRUE(this->wait(this->store().put(digest_of("old"), "old")));
  this->rig.set_tick(10);
  this->rig.restart();
  for (const TickNumber tick : {10u, 11u}) {
    this->rig.set_tick(tick);
    EXPECT_FALSE(this->wait(this->rig.upkeep().sweep({digest_of("old")}, yes)).value()) << "start, tick " << tick;
  }
  ASSERT_TRUE(this->wait(this->store().put(digest_of("new"), "new")));  // tick 11
  this->rig.set_tick(12);
  ASSERT_TRUE(this->wait(this->store().put(digest_of("third"), "third"))) << "does not make it forget the last tick's";
  EXPECT_FALSE(this->wait(this->rig.upkeep().sweep({digest_of("new")}, yes)).value());
  EXPECT_TRUE(this->wait(this->rig.upkeep().sweep({digest_of("old")}, yes)).value());
  ASSERT_TRUE(this->wait(this->store().renew_receipt(digest_of("new"))));
  this->rig.set_tick(13);
  EXPECT_FALSE(this->wait(this->rig.upkeep().sweep({digest_of("new")}, yes)).value()) << "the receipt was renewed";
  this->rig.set_tick(14);
  EXPECT_FALSE(
      this->wait(this->rig.upkeep().sweep({digest_of("new")}, [](const oci::Digest&) { return false; })).value())
      << "named";
  EXPECT_EQ(read_blob(this->rig, digest_of("new")).value(), "new");
  EXPECT_TRUE(this->wait(this->rig.upkeep().sweep({digest_of("new")}, yes)).value());
  EXPECT_EQ(this->code_of_open(digest_of("new")), ErrorCode::not_found);
  EXPECT_FALSE(this->wait(this->rig.upkeep().sweep({digest_of("new")}, yes)).value()) << "nothing is left to move";
}

TYPED_TEST_P(BlobStoreContract, SweepsManyInOneCallAndEachByItsOwnRight) {
  std::vector<oci::Digest> all;
  for (int i = 0; i < 20; ++i) {
    const std::string text = "blob " + std::to_string(i);
    ASSERT_TRUE(this->wait(this->store().put(digest_of(text), text)));
    all.push_back(digest_of(text));
  }
  this->rig.set_tick(5);
  ASSERT_TRUE(this->wait(this->store().renew_receipt(all[3])));
  all.push_back(digest_of("never here"));
  const auto unnamed = [named = all[7]](const oci::Digest& digest) { return digest != named; };
  EXPECT_EQ(this->wait(this->rig.upkeep().sweep(all, unnamed)).value(), 18u);
  const auto left = this->wait(this->rig.upkeep().list(std::nullopt, 100)).value();
  std::set<oci::Digest> names;
  for (const StoredBlob& blob : left) names.insert(blob.digest);
  EXPECT_EQ(names, (std::set<oci::Digest>{all[3], all[7]}));
}

TYPED_TEST_P(BlobStoreContract, PutsTheTrashBackAndLeavesWhatCameAnew) {
  const auto yes = [](const oci::Digest&) { return true; };
  for (const char* text : {"one", "two"}) ASSERT_TRUE(this->wait(this->store().put(digest_of(text), text)));
  this->rig.set_tick(5);
  ASSERT_EQ(this->wait(this->rig.upkeep().sweep({digest_of("one"), digest_of("two")}, yes)).value(), 2u);
  ASSERT_TRUE(this->wait(this->store().put(digest_of("two"), "two")));
  EXPECT_EQ(this->wait(this->rig.upkeep().restore_trash()).value(), 1u);
  EXPECT_EQ(read_blob(this->rig, digest_of("one")).value(), "one");
  EXPECT_EQ(this->wait(this->rig.upkeep().sweep({digest_of("one")}, yes)).value(), 0u) << "for two ticks";
  this->rig.set_tick(7);
  EXPECT_EQ(this->wait(this->rig.upkeep().sweep({digest_of("one")}, yes)).value(), 1u);
}

TYPED_TEST_P(BlobStoreContract, KeepsWhatIsBeingReadAndEmptiesTheTrashATickLater) {
  const std::string text = sample(100'000);
  ASSERT_TRUE(push(this->rig, "swept", text));
  this->rig.set_tick(5);
  const auto reader = this->wait(this->store().open(digest_of(text))).value();
  ASSERT_TRUE(this->wait(this->rig.upkeep().sweep({digest_of(text)}, [](const oci::Digest&) { return true; })).value());
  EXPECT_EQ(this->code_of_open(digest_of(text)), ErrorCode::not_found);
  for (const TickNumber tick : {5u, 6u}) {
    this->rig.set_tick(tick);
    EXPECT_EQ(this->wait(this->rig.upkeep().empty_trash()).value(), 0u);
  }
  this->rig.set_tick(7);
  EXPECT_EQ(this->wait(this->rig.upkeep().empty_trash()).value(), 1u);
  EXPECT_EQ(this->wait(this->rig.upkeep().empty_trash()).value(), 0u);
  EXPECT_TRUE(read_range(this->rig, *reader, 0, text.size()).value() == text) << "readers keep the bytes";
  EXPECT_TRUE(push(this->rig, "again", text));
  EXPECT_TRUE(read_blob(this->rig, digest_of(text)).value() == text);
}

TYPED_TEST_P(BlobStoreContract, ScrubsSoundBlobsWithoutComplaint) {
  ASSERT_TRUE(push(this->rig, "scrubbed", sample(100'000)));
  EXPECT_TRUE(this->wait(this->rig.upkeep().scrub(digest_of(sample(100'000)))));
  EXPECT_TRUE(this->wait(this->rig.upkeep().scrub(digest_of("nowhere")))) << "swept in between is no damage";
}

REGISTER_TYPED_TEST_SUITE_P(BlobStoreContract, ReturnsTheBytesOfEverySize, ReturnsAnyRange, TellsWhatItVerified,
                            RefusesAWrongDigestAndChangesNothing, AcceptsAnotherAlgorithmAtTheEnd,
                            PutsSmallContentUnderItsDigestOnly, SaysNotFoundOfABlobThatIsNotHere,
                            KeepsStagedBlobsByTheirIds, ShowsStagedBytesBesideWhoeverAppendsAndAfterTheEnd,
                            GoesOnWithAStagedBlobAfterARestart, TakesNothingMoreAfterTheEnd,
                            GivesReceiptsOfTheTickItSawTheBlobAt, ListsAllBlobsOnceInOrderPageByPage,
                            SweepsOnlyTwoTicksAfterTheStartAndTheLastReceipt, SweepsManyInOneCallAndEachByItsOwnRight,
                            PutsTheTrashBackAndLeavesWhatCameAnew, KeepsWhatIsBeingReadAndEmptiesTheTrashATickLater,
                            ScrubsSoundBlobsWithoutComplaint);

}  // namespace hansa::blob
