// How a blob gets to all members: from who has it and from who is still receiving it, on simulated members.
#include <list>

#include "registry/testing/cluster_bed.h"

namespace hansa::registry::testing {
namespace {

using namespace std::chrono_literals;

const std::string large(4'000'000, 'g');

class ClusterFill : public ::testing::Test {
 protected:
  static io::Task<void> fill(Member* member, oci::Digest wanted, std::vector<Result<void>>* done) {
    done->push_back(co_await member->copies->fill(std::move(wanted)));
  }
  // All of these at once; how many got it.
  std::size_t fill_all(const std::vector<std::string>& ids, const oci::Digest& wanted) {
    std::vector<Result<void>> done;
    std::list<io::TaskScope> scopes;
    for (const auto& id : ids) {
      scopes.emplace_back(bed[id].executor).spawn("fill", fill(&bed[id], wanted, &done));
    }
    EXPECT_TRUE(bed.shared.world.run_until([&] { return done.size() == ids.size(); }, 5min));
    for (auto& scope : scopes) EXPECT_EQ(scope.running(), 0U);
    return static_cast<std::size_t>(std::ranges::count_if(done, [](const auto& one) { return one.has_value(); }));
  }
  struct Spread {
    std::vector<std::string> holders;
    std::vector<std::string> lack;
  };
  Spread spread(const oci::Digest& wanted) {
    Spread out;
    for (const std::string id : {"n1", "n2", "n3", "n4", "n5"}) {
      (bed[id].has_file(wanted) ? out.holders : out.lack).push_back(id);
    }
    return out;
  }
  std::uint64_t served_growing() {
    std::uint64_t count = 0;
    for (const auto* id : {"n1", "n2", "n3", "n4", "n5"}) count += bed[id].copies->served_growing();
    return count;
  }

  ClusterBed bed{5};
};

TEST_F(ClusterFill, ThreeMembersAtOnceAreFilledByOneBodyOfEachHolderAndByEachOther) {
  ASSERT_TRUE(bed["n1"].push_blob("team/app", large));
  ASSERT_EQ(bed.copies_of(digest(large)), 2U);
  const auto lack = spread(digest(large)).lack;
  EXPECT_EQ(fill_all(lack, digest(large)), 3U);
  EXPECT_EQ(bed.copies_of(digest(large)), 5U);
  EXPECT_LE(bed["n1"].copies->served_whole(), 2U) << "the uploader gives no more than it must";
  EXPECT_GE(served_growing(), 1U);
  for (const auto& id : lack) {
    EXPECT_EQ(bed[id].run(Member::read_all(bed[id].run(bed[id].blobs->open(digest(large))).value())), large);
    EXPECT_EQ(bed[id].staged_files(), 0U);
  }
}

TEST_F(ClusterFill, WhatCameIsNotThrownAwayWhereEachSourceBrokeOffOnce) {
  int tried = 0;
  for (int round = 0; round < 12; ++round) {
    const std::string text = large + std::to_string(round);
    ASSERT_TRUE(bed["n1"].push_blob("team/app", text));
    const std::string lacking = spread(digest(text)).lack.front();
    std::vector<Result<void>> done;
    io::TaskScope scope(bed[lacking].executor);
    scope.spawn("fill", fill(&bed[lacking], digest(text), &done));
    bed.shared.world.run_for(std::chrono::milliseconds(1 + round));
    if (done.empty() && bed[lacking].staged_files() > 0) {
      ++tried;
      bed.network.isolate(io::NodeId(lacking));
      bed.shared.world.run_for(20ms);
      bed.network.heal();
    }
    ASSERT_TRUE(bed.shared.world.run_until([&] { return !done.empty(); }, 10min)) << round;
    EXPECT_TRUE(done.front()) << round << ": " << describe(done.front().error());
    bed.settle();
  }
  EXPECT_GT(tried, 3);
}

// Whoever they fetched from is cut off at many points: they go on from others, and never wait for each other for ever.
TEST_F(ClusterFill, ALostSourceAnywhereInTheChainIsReplacedAndNobodyWaitsForEver) {
  for (int round = 0; round < 30; ++round) {
    const std::string text = large + std::to_string(round);
    ASSERT_TRUE(bed["n1"].push_blob("team/app", text));
    const auto lack = spread(digest(text)).lack;
    ASSERT_EQ(lack.size(), 3U);
    std::vector<Result<void>> done;
    std::list<io::TaskScope> scopes;
    for (const auto& id : lack)
      scopes.emplace_back(bed[id].executor).spawn("fill", fill(&bed[id], digest(text), &done));
    bed.shared.world.run_for(std::chrono::milliseconds(round * 3));
    const std::string lost = lack[static_cast<std::size_t>(round) % 3];
    bed.network.isolate(io::NodeId(lost));
    ASSERT_TRUE(bed.shared.world.run_until([&] { return done.size() == 3; }, 10min)) << round;
    for (const auto& id : lack) {
      if (id == lost) continue;
      EXPECT_TRUE(bed[id].has_file(digest(text))) << round << " " << id;
    }
    bed.network.heal();
  }
}

TEST_F(ClusterFill, WhoRelaysAnUploadGivesNoLargeBlobToThoseForWhomNobodyWaits) {
  ASSERT_TRUE(bed["n1"].push_blob("team/app", large));
  const auto [holders, lack] = spread(digest(large));
  const auto busy = bed["n1"].copies->relaying();
  const auto before = bed["n1"].copies->served_whole();
  EXPECT_EQ(fill_all({lack.front()}, digest(large)), 1U);
  EXPECT_EQ(bed["n1"].copies->served_whole(), before);
  // A client that waits is served all the same.
  bed.network.isolate(io::NodeId(holders.back()));
  bed.network.isolate(io::NodeId(lack.front()));
  EXPECT_EQ(bed[lack[1]].pull_blob("team/app", digest(large)), large);
  EXPECT_EQ(bed["n1"].copies->served_whole(), before + 1);
}

TEST_F(ClusterFill, AfterAWhileOfBusyMembersABlobIsFetchedAsIfSomebodyWaited) {
  ClusterBed two(3);
  ASSERT_TRUE(two["n1"].push_blob("team/app", large));
  const std::string lacks = two["n2"].has_file(digest(large)) ? "n3" : "n2";
  const auto one = two["n1"].copies->relaying();
  const auto other = two[lacks == "n2" ? "n3" : "n2"].copies->relaying();
  EXPECT_TRUE(two[lacks].run(two[lacks].copies->fill(digest(large))));
  EXPECT_TRUE(two[lacks].has_file(digest(large)));
}

TEST_F(ClusterFill, AClientThatComesWhileABlobWaitsForAFreeSlotMakesItUrgent) {
  ClusterBed two(3);
  ASSERT_TRUE(two["n1"].push_blob("team/app", large));
  const std::string lacks = two["n2"].has_file(digest(large)) ? "n3" : "n2";
  const auto one = two["n1"].copies->relaying();
  const auto other = two[lacks == "n2" ? "n3" : "n2"].copies->relaying();
  std::vector<Result<void>> done;
  io::TaskScope scope(two[lacks].executor);
  scope.spawn("fill", fill(&two[lacks], digest(large), &done));
  two.shared.world.run_for(300ms);
  const auto began = two.shared.world.now();
  EXPECT_EQ(two[lacks].pull_blob("team/app", digest(large)), large);
  EXPECT_LT(two.shared.world.now() - began, 2s);
  EXPECT_TRUE(two.shared.world.run_until([&] { return done.size() == 1; }, 1min));
  two.shared.world.run_for(10ms);
}

TEST_F(ClusterFill, ASourceThatSendsOtherBytesFoolsNobodyInTheChain) {
  ASSERT_TRUE(bed["n1"].push_blob("team/app", large));
  // Its file is exchanged together with its checksums, so that only the digest tells.
  const auto [holders, lack] = spread(digest(large));
  const std::string other(large.size(), 'x');
  const auto bad = digest(other);
  ASSERT_TRUE(bed[holders[0]].run(bed[holders[0]].blobs->put(bad, other)));
  for (const std::string end : {"", ".crc"}) {
    const auto from = Member::path_of(bad) + end;
    if (bed[holders[0]].disk.info(from)) {
      ASSERT_TRUE(bed[holders[0]].disk.rename(from, Member::path_of(digest(large)) + end));
    }
  }
  EXPECT_EQ(fill_all(lack, digest(large)), 3U);
  for (const auto& id : lack) {
    EXPECT_EQ(bed[id].run(Member::read_all(bed[id].run(bed[id].blobs->open(digest(large))).value())), large);
  }
}

}  // namespace
}  // namespace hansa::registry::testing
