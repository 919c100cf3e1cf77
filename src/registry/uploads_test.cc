// Upload sessions as clients see them, on a whole node.
#include "node/testing/bed.h"

namespace hansa::node::testing {
namespace {

using registry::ChunkRange;
using registry::UploadStatus;

class UploadsTest : public ::testing::Test {
 protected:
  Result<UploadStatus> begin(oci::Algorithm algorithm = oci::Algorithm::sha256) {
    return bed.run(bed.registry().begin_upload(bed.alice(), repository, algorithm));
  }
  Result<UploadStatus> append(const std::string& session, const std::string& text,
                              std::optional<ChunkRange> range = std::nullopt) {
    io::MemorySource source(as_bytes(text));
    return bed.run(bed.registry().append_upload(bed.alice(), repository, session, range, source));
  }
  Result<UploadStatus> status(const std::string& session) {
    return bed.run(bed.registry().upload_status(bed.alice(), repository, session));
  }
  Result<void> finish(const std::string& session, const std::string& rest, const oci::Digest& wanted,
                      std::optional<ChunkRange> range = std::nullopt) {
    io::MemorySource source(as_bytes(rest));
    return bed.run(bed.registry().finish_upload(bed.alice(), repository, session, range, source, wanted));
  }
  std::uint64_t staged_files() { return bed.disk.list("/data/staging").value().size(); }

  Bed bed;
  oci::RepositoryName repository = name("team/app");
};

TEST_F(UploadsTest, ChunksBecomeTheBlob) {
  const auto session = begin().value().session;
  EXPECT_EQ(append(session, "one ", ChunkRange{0, 3})->received, 4U);
  EXPECT_EQ(append(session, "two ")->received, 8U);
  EXPECT_EQ(status(session)->received, 8U);
  ASSERT_TRUE(finish(session, "three", digest("one two three"), ChunkRange{8, 12}));
  EXPECT_EQ(bed.pull_blob("team/app", digest("one two three")), "one two three");
  EXPECT_EQ(staged_files(), 0U);
}

TEST_F(UploadsTest, EmptyBlobAndOtherAlgorithmsWork) {
  ASSERT_TRUE(finish(begin().value().session, "", digest("")));
  EXPECT_EQ(bed.pull_blob("team/app", digest("")), "");
  const auto sha512 = oci::Digest::compute(oci::Algorithm::sha512, as_bytes("text"));
  ASSERT_TRUE(finish(begin(oci::Algorithm::sha512).value().session, "text", sha512));
  EXPECT_EQ(bed.pull_blob("team/app", sha512), "text");
}

TEST_F(UploadsTest, ChunkAtAnotherOffsetChangesNothing) {
  const auto session = begin().value().session;
  ASSERT_TRUE(append(session, "abc"));
  EXPECT_TRUE(fails_with(append(session, "zz", ChunkRange{2, 3}), ErrorCode::range, Subject::upload));
  EXPECT_TRUE(fails_with(append(session, "zz", ChunkRange{4, 5}), ErrorCode::range, Subject::upload));
  EXPECT_TRUE(fails_with(finish(session, "zz", digest("abczz"), ChunkRange{0, 1}), ErrorCode::range, Subject::upload));
  EXPECT_EQ(status(session)->received, 3U);
  EXPECT_TRUE(finish(session, "d", digest("abcd"), ChunkRange{3, 3}));
}

TEST_F(UploadsTest, WrongDigestEndsTheSession) {
  const auto session = begin().value().session;
  EXPECT_TRUE(fails_with(finish(session, "these", digest("those")), ErrorCode::invalid, Subject::digest));
  EXPECT_TRUE(fails_with(status(session), ErrorCode::not_found, Subject::upload));
  EXPECT_EQ(bed.pull_blob("team/app", digest("these")), "not_found");
  EXPECT_EQ(staged_files(), 0U);
}

TEST_F(UploadsTest, BrokenBodyLeavesItsBytesForTheNextRequest) {
  const auto session = begin().value().session;
  SlowSource broken("first half, ", std::chrono::milliseconds(5), true);
  const auto cut = bed.run(bed.registry().append_upload(bed.alice(), repository, session, std::nullopt, broken));
  EXPECT_TRUE(fails_with(cut, ErrorCode::disconnected));
  EXPECT_EQ(status(session)->received, 12U);
  EXPECT_TRUE(finish(session, "second", digest("first half, second")));
}

TEST_F(UploadsTest, BrokenBodyOfTheLastRequestKeepsTheSession) {
  const auto session = begin().value().session;
  SlowSource broken("first half, ", std::chrono::milliseconds(5), true);
  const auto cut = bed.run(bed.registry().finish_upload(bed.alice(), repository, session, std::nullopt, broken,
                                                        digest("first half, second")));
  EXPECT_TRUE(fails_with(cut, ErrorCode::disconnected));
  EXPECT_TRUE(finish(session, "second", digest("first half, second")));
}

io::Task<void> keep_status(registry::Registry& registry, auth::Access who, oci::RepositoryName where,
                           std::string session, io::ByteSource& body, std::optional<Result<UploadStatus>>* out) {
  out->emplace(
      co_await registry.append_upload(std::move(who), std::move(where), std::move(session), std::nullopt, body));
}

TEST_F(UploadsTest, OneRequestAtATimeUsesASession) {
  const auto session = begin().value().session;
  SlowSource slow("abc", std::chrono::milliseconds(300), false);
  std::optional<Result<UploadStatus>> first;
  io::TaskScope scope(bed.executor);
  scope.spawn("first", keep_status(bed.registry(), bed.alice(), repository, session, slow, &first));
  bed.run_for(std::chrono::milliseconds(100));
  EXPECT_TRUE(fails_with(append(session, "xyz"), ErrorCode::too_many, Subject::upload));
  bed.run(scope.join());
  EXPECT_EQ(first->value().received, 3U);
  EXPECT_TRUE(finish(session, "def", digest("abcdef")));
}

TEST_F(UploadsTest, SessionIsBoundToItsUserAndRepository) {
  const auto session = begin().value().session;
  auto& registry = bed.registry();
  const auto elsewhere = bed.run(registry.upload_status(bed.alice(), name("team/other"), session));
  EXPECT_TRUE(fails_with(elsewhere, ErrorCode::not_found, Subject::upload));
  bed.rights->creators.insert("dave");
  const auto stranger = bed.run(registry.upload_status(bed.as("dave"), repository, session));
  EXPECT_TRUE(fails_with(stranger, ErrorCode::not_found, Subject::upload));
  EXPECT_TRUE(status(session));
}

TEST_F(UploadsTest, MadeUpIdsFindNothing) {
  const auto session = begin().value().session;
  std::string forged = session;
  forged.back() = forged.back() == '0' ? '1' : '0';
  for (const std::string& id :
       {forged, std::string("../../disk.json"), std::string(), std::string("-"), session + "0"}) {
    EXPECT_TRUE(fails_with(status(id), ErrorCode::not_found, Subject::upload)) << id;
    EXPECT_TRUE(fails_with(finish(id, "x", digest("x")), ErrorCode::not_found, Subject::upload)) << id;
  }
}

// A client whose answer was cut repeats its PUT (H12).
TEST_F(UploadsTest, FinishedSessionIsRememberedForATick) {
  const auto session = begin().value().session;
  ASSERT_TRUE(finish(session, "text", digest("text")));
  EXPECT_TRUE(finish(session, "text", digest("text")));
  EXPECT_TRUE(fails_with(finish(session, "text", digest("other")), ErrorCode::not_found, Subject::upload));
  EXPECT_TRUE(fails_with(append(session, "more"), ErrorCode::not_found, Subject::upload));
  EXPECT_TRUE(fails_with(status(session), ErrorCode::not_found, Subject::upload));
  bed.ticks(4);
  EXPECT_TRUE(fails_with(finish(session, "text", digest("text")), ErrorCode::not_found, Subject::upload));
  EXPECT_EQ(bed.pull_blob("team/app", digest("text")), "text");
}

// The bytes are stored, but the metadata store fails: the same PUT goes on from there, or says that they are gone.
TEST_F(UploadsTest, PutAfterAFailedLinkGoesOnWithoutTheBytes) {
  std::set<std::string> outcomes;
  for (std::uint64_t n = 1; n < 80; ++n) {
    for (const int pause : {0, 6}) {
      Bed fresh(small_options(), n);
      auto& uploads = fresh.registry();
      const auto session = fresh.run(uploads.begin_upload(fresh.alice(), repository, oci::Algorithm::sha256))->session;
      const auto finish_now = [&](const std::string& text) {
        io::MemorySource source(as_bytes(text));
        return fresh.run(
            uploads.finish_upload(fresh.alice(), repository, session, std::nullopt, source, digest("text")));
      };
      fresh.disk.fail({.call = sim::Call::any, .nth = n});
      if (finish_now("text") || !fresh.has_file(digest("text"))) continue;
      fresh.disk.clear_faults();
      for (int i = 0; i < pause; ++i) {
        fresh.ticks(1);
        fresh.collect();
      }
      const auto again = finish_now("");
      outcomes.insert(again ? "done" : std::string(to_string(again.error().code)));
      EXPECT_EQ(again.has_value(), fresh.pull_blob("team/app", digest("text")) == "text");
    }
  }
  EXPECT_EQ(outcomes, (std::set<std::string>{"done", "not_found"}));
}

TEST_F(UploadsTest, CancelRemovesTheBytes) {
  const auto session = begin().value().session;
  ASSERT_TRUE(append(session, "abc"));
  EXPECT_TRUE(bed.run(bed.registry().cancel_upload(bed.alice(), repository, session)));
  EXPECT_TRUE(fails_with(status(session), ErrorCode::not_found, Subject::upload));
  EXPECT_EQ(staged_files(), 0U);
}

TEST_F(UploadsTest, IdleSessionsExpireAndUsedOnesDoNot) {
  const auto idle = begin().value().session;
  const auto used = begin().value().session;
  for (int i = 0; i < 3; ++i) {
    bed.ticks(5);
    ASSERT_TRUE(append(used, "x"));
  }
  EXPECT_TRUE(fails_with(status(idle), ErrorCode::not_found, Subject::upload));
  EXPECT_TRUE(finish(used, "", digest("xxx")));
  EXPECT_EQ(staged_files(), 0U);
}

// Uploads that a process before left and nobody continues go too.
TEST_F(UploadsTest, StrayUploadsExpireAfterARestart) {
  ASSERT_TRUE(append(begin().value().session, "abc"));
  bed.restart();
  bed.ticks(5);
  EXPECT_GT(staged_files(), 0U);
  bed.ticks(10);
  EXPECT_EQ(staged_files(), 0U);
}

TEST_F(UploadsTest, NumberOfOpenSessionsIsLimited) {
  auto options = small_options();
  options.max_uploads = 2;
  Bed small(options);
  const auto open = [&] {
    return small.run(small.registry().begin_upload(small.alice(), repository, oci::Algorithm::sha256));
  };
  ASSERT_TRUE(open());
  const auto second = open();
  ASSERT_TRUE(second);
  EXPECT_TRUE(fails_with(open(), ErrorCode::too_many, Subject::upload));
  ASSERT_TRUE(small.run(small.registry().cancel_upload(small.alice(), repository, second->session)));
  EXPECT_TRUE(open());
}

// A node where one user, or one address without a user, may have two open uploads, and all together three.
class SharedUploadsTest : public ::testing::Test {
 protected:
  static Options options() {
    auto out = small_options();
    out.max_uploads = 3;
    out.max_uploads_per_client = 2;
    return out;
  }
  void SetUp() override { bed.rights->creators = {"", "dave"}; }
  Result<UploadStatus> begin(const std::string& user, const std::string& client) {
    auth::Access who = bed.as(user);
    who.came_from(client);
    return bed.run(bed.registry().begin_upload(std::move(who), repository, oci::Algorithm::sha256));
  }
  void cancel(const std::string& user, const std::string& session) {
    ASSERT_TRUE(bed.run(bed.registry().cancel_upload(bed.as(user), repository, session)));
  }

  Bed bed{options()};
  oci::RepositoryName repository = name("team/app");
};

TEST_F(SharedUploadsTest, AUserIsLimitedWhereverTheyAre) {
  const auto first = begin("alice", "192.0.2.1");
  ASSERT_TRUE(first);
  ASSERT_TRUE(begin("alice", "192.0.2.2"));
  const auto third = begin("alice", "192.0.2.3");
  EXPECT_TRUE(fails_with(third, ErrorCode::too_many, Subject::upload));
  EXPECT_NE(third.error().message.find("user alice"), std::string::npos) << third.error().message;
  io::MemorySource source(as_bytes("whole"));
  const auto whole = bed.run(bed.registry().push_blob(bed.alice(), repository, digest("whole"), source));
  EXPECT_TRUE(fails_with(whole, ErrorCode::too_many, Subject::upload));
  EXPECT_TRUE(begin("dave", "192.0.2.1"));
  EXPECT_EQ(bed.node->status().refused_uploads.all, 2U);
  EXPECT_EQ(bed.node->status().refused_uploads.of_clients, 2U);
  cancel("alice", first->session);
  EXPECT_TRUE(begin("alice", "192.0.2.3"));
}

TEST_F(SharedUploadsTest, WithoutAUserTheAddressIsLimited) {
  ASSERT_TRUE(begin("", "192.0.2.1"));
  ASSERT_TRUE(begin("", "192.0.2.1"));
  EXPECT_TRUE(fails_with(begin("", "192.0.2.1"), ErrorCode::too_many, Subject::upload));
  EXPECT_TRUE(begin("", "192.0.2.2"));
  EXPECT_TRUE(fails_with(begin("", "192.0.2.3"), ErrorCode::too_many, Subject::upload));  // of all
  EXPECT_EQ(bed.node->status().refused_uploads.all, 2U);
  EXPECT_EQ(bed.node->status().refused_uploads.of_clients, 1U);
}

TEST_F(SharedUploadsTest, WhatEndsMakesRoomHoweverItEnds) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(begin("alice", ""));
    const auto session = begin("alice", "").value().session;
    io::MemorySource source(as_bytes("text"));
    ASSERT_TRUE(
        bed.run(bed.registry().finish_upload(bed.alice(), repository, session, std::nullopt, source, digest("text"))));
    ASSERT_TRUE(begin("alice", ""));
    EXPECT_FALSE(begin("alice", ""));
    bed.ticks(15);  // both are idle for long enough
    EXPECT_EQ(bed.node->status().uploads, 0U);
  }
}

// It counts for its user again; nobody has to give up what they began.
TEST_F(SharedUploadsTest, WhatGoesOnAfterARestartIsNotRefusedAndCounts) {
  const auto append = [this](const std::string& session) {
    io::MemorySource source(as_bytes("x"));
    return bed.run(bed.registry().append_upload(bed.alice(), repository, session, std::nullopt, source));
  };
  const auto one = begin("alice", "").value().session;
  const auto two = begin("alice", "").value().session;
  bed.restart();
  ASSERT_TRUE(begin("alice", ""));
  ASSERT_TRUE(append(one));
  EXPECT_FALSE(begin("alice", ""));
  EXPECT_TRUE(append(two));
  cancel("alice", one);
  EXPECT_FALSE(begin("alice", ""));
  cancel("alice", two);
  EXPECT_TRUE(begin("alice", ""));
}

// A node whose unfinished uploads may hold 100 bytes, those of one user 75.
class UploadBytesTest : public ::testing::Test {
 protected:
  static Options options() {
    auto out = small_options();
    out.max_upload_bytes = 100;
    out.max_upload_bytes_per_client = 75;
    return out;
  }
  void SetUp() override { bed.rights->creators = {"", "dave"}; }
  std::string begin(const std::string& user) {
    return bed.run(bed.registry().begin_upload(bed.as(user), repository, oci::Algorithm::sha256)).value().session;
  }
  Result<UploadStatus> append(const std::string& user, const std::string& session, std::size_t bytes) {
    const std::string text(bytes, 'x');
    io::MemorySource source(as_bytes(text));
    return bed.run(bed.registry().append_upload(bed.as(user), repository, session, std::nullopt, source));
  }

  Bed bed{options()};
  oci::RepositoryName repository = name("team/app");
};

TEST_F(UploadBytesTest, OneUserLeavesRoomForOthersAndGoesOnOnceThereIsRoom) {
  const std::string first = begin("alice");
  const std::string second = begin("alice");
  ASSERT_TRUE(append("alice", first, 60));
  const auto refused = append("alice", second, 20);
  EXPECT_TRUE(fails_with(refused, ErrorCode::too_many, Subject::upload));
  EXPECT_NE(refused.error().message.find("user alice"), std::string::npos) << refused.error().message;
  EXPECT_EQ(bed.node->status().refused_uploads.of_clients, 1U);
  const std::string other = begin("dave");
  ASSERT_TRUE(append("dave", other, 40));
  EXPECT_TRUE(fails_with(append("dave", other, 1), ErrorCode::too_many, Subject::upload)) << "of all";
  EXPECT_EQ(bed.node->status().refused_uploads.all, 2U);
  EXPECT_EQ(bed.node->status().refused_uploads.of_clients, 1U);
  ASSERT_TRUE(bed.run(bed.registry().cancel_upload(bed.alice(), repository, first)));
  ASSERT_TRUE(append("alice", second, 60)) << "what was refused before was not kept, and does not count";
  EXPECT_FALSE(append("alice", second, 1));
}

TEST_F(UploadBytesTest, WhatIsFinishedCountsNoLonger) {
  for (int i = 0; i < 5; ++i) {
    const std::string text(70, static_cast<char>('a' + i));
    io::MemorySource source(as_bytes(text));
    ASSERT_TRUE(bed.run(bed.registry().push_blob(bed.alice(), repository, digest(text), source)));
  }
  const std::string large(80, 'x');
  io::MemorySource source(as_bytes(large));
  const auto refused = bed.run(bed.registry().push_blob(bed.alice(), repository, digest(large), source));
  EXPECT_TRUE(fails_with(refused, ErrorCode::too_large, Subject::upload)) << "trying again would never help";
  EXPECT_EQ(bed.node->status().refused_uploads.all, 0U);
  EXPECT_TRUE(append("alice", begin("alice"), 75)) << "a push that was refused leaves nothing";
}

TEST_F(UploadBytesTest, WhatOutlivesTheProcessCountsOnceItGoesOn) {
  const std::string first = begin("alice");
  ASSERT_TRUE(append("alice", first, 50));
  bed.restart();
  ASSERT_TRUE(append("alice", first, 10));
  EXPECT_FALSE(append("alice", begin("alice"), 20));
  EXPECT_TRUE(append("alice", begin("alice"), 15));
}

TEST_F(UploadsTest, FailedSinglePushLeavesNothing) {
  io::MemorySource source(as_bytes("these"));
  const auto pushed = bed.run(bed.registry().push_blob(bed.alice(), repository, digest("those"), source));
  EXPECT_TRUE(fails_with(pushed, ErrorCode::invalid, Subject::digest));
  SlowSource broken("half", std::chrono::milliseconds(1), true);
  const auto cut = bed.run(bed.registry().push_blob(bed.alice(), repository, digest("half and half"), broken));
  EXPECT_TRUE(fails_with(cut, ErrorCode::disconnected));
  EXPECT_EQ(staged_files(), 0U);
  EXPECT_EQ(bed.node->status().uploads, 0U);
}

TEST_F(UploadsTest, UploadsNeedTheRightToCreate) {
  auto& registry = bed.registry();
  const auto reader = bed.run(registry.begin_upload(bed.bob(), repository, oci::Algorithm::sha256));
  EXPECT_TRUE(fails_with(reader, ErrorCode::denied));
  const auto anonymous = bed.run(registry.begin_upload(bed.nobody(), repository, oci::Algorithm::sha256));
  EXPECT_TRUE(fails_with(anonymous, ErrorCode::unauthenticated));
}

// A body larger than a buffer, in pieces that fit none.
TEST_F(UploadsTest, LargeBodyArrivesWhole) {
  std::string large;
  for (int i = 0; large.size() < 3 * MiB; ++i) large += std::to_string(i);
  bed.push_blob("team/app", large);
  EXPECT_EQ(bed.pull_blob("team/app", digest(large)), large);
}

// RFC 4231, test cases 1 and 2.
}  // namespace
}  // namespace hansa::node::testing
