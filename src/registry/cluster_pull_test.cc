// Pulls that are sent to other members: who sends, what a ticket opens, when nobody is sent anywhere.
#include <map>

#include "registry/testing/cluster_bed.h"
#include "registry/ticket.h"

namespace hansa::registry::testing {
namespace {

const std::string layer(3'000'000, 'l');

BlobPull may_go() {
  BlobPull pull;
  pull.may_redirect = true;
  return pull;
}

class ClusterPull : public ::testing::Test {
 protected:
  ClusterPull() {
    EXPECT_TRUE(bed["n1"].push_blob("team/app", layer));
    EXPECT_TRUE(bed["n1"].push_blob("team/app", "small"));
    for (const std::string id : {"n1", "n2", "n3"}) {
      EXPECT_EQ(bed[id].pull_blob("team/app", digest(layer)), layer);
      bed.mark(id);
    }
    see();
  }
  // Views and pulses get round.
  void see() { bed.shared.world.run_for(cluster::pulse_interval * 3); }
  // Where `times` pulls through n1 go: by address, empty for n1 itself.
  std::map<std::string, int> pulls(int times, BlobPull pull = may_go()) {
    std::map<std::string, int> out;
    for (int i = 0; i < times; ++i) {
      const auto got = bed["n1"].ask_blob("team/app", digest(layer), pull);
      EXPECT_TRUE(got);
      if (got) ++out[got->elsewhere ? got->elsewhere->url : ""];
    }
    return out;
  }

  ClusterBed bed{3};
};

TEST_F(ClusterPull, ManyPullsThroughOneMemberComeFromAllEvenly) {
  const auto from = pulls(30);
  ASSERT_EQ(from.size(), 3U);
  for (const auto& [url, count] : from) EXPECT_NEAR(count, 10, 2) << url;
}

TEST_F(ClusterPull, WhatIsSmallAndWhoMayNotGoStaysHere) {
  EXPECT_EQ(pulls(6, {}), (std::map<std::string, int>{{"", 6}}));
  for (int i = 0; i < 6; ++i) {
    EXPECT_FALSE(bed["n1"].ask_blob("team/app", digest("small"), may_go())->elsewhere);
  }
  BlobPull part = may_go();
  part.length = 1000;
  EXPECT_EQ(pulls(6, part), (std::map<std::string, int>{{"", 6}}));
}

TEST_F(ClusterPull, ATicketOpensItsBlobElsewhereWithoutCredentials) {
  std::optional<BlobElsewhere> sent;
  for (int i = 0; i < 10 && !sent; ++i) sent = bed["n1"].ask_blob("team/app", digest(layer), may_go())->elsewhere;
  ASSERT_TRUE(sent);
  Member& other = bed[sent->url.substr(7, 2)];
  BlobPull pull = may_go();
  pull.ticket = sent->ticket;
  const auth::Access nobody({}, std::make_shared<node::testing::Rights>());
  const auto open = [&](std::string_view repository, const oci::Digest& wanted) {
    return other.run(other.registry->get_blob(nobody, name(repository), wanted, pull));
  };
  const auto got = open("team/app", digest(layer));
  ASSERT_TRUE(got) << describe(got.error());
  EXPECT_FALSE(got->elsewhere) << "who was sent here is not sent on";
  EXPECT_EQ(got->head.size, layer.size());
  EXPECT_TRUE(fails_with(open("team/app", digest("small")), ErrorCode::denied, Subject::blob));
  EXPECT_TRUE(fails_with(open("team/other", digest(layer)), ErrorCode::denied, Subject::blob));
  // It stands for credentials, not for existence.
  ASSERT_TRUE(bed["n2"].run(bed["n2"].registry->delete_blob(bed["n2"].alice(), name("team/app"), digest(layer))));
  EXPECT_TRUE(fails_with(open("team/app", digest(layer)), ErrorCode::not_found, Subject::blob));
}

TEST_F(ClusterPull, NobodyIsSentToAMemberThatDoesNotAnswer) {
  bed.network.isolate(io::NodeId("n3"));
  bed.shared.world.run_for(cluster::pulse_life + cluster::pulse_interval);
  const auto from = pulls(30);
  EXPECT_FALSE(from.contains("http://n3.example:5000"));
  EXPECT_EQ(from.size(), 2U);
  bed.network.heal();
  see();
  EXPECT_TRUE(pulls(30).contains("http://n3.example:5000"));
}

TEST_F(ClusterPull, NobodyIsSentToAMemberThatStopsSoonThoughItStillAnswers) {
  EXPECT_TRUE(pulls(30).contains("http://n3.example:5000"));
  bed["n3"].pulses->stand_aside();
  see();
  EXPECT_FALSE(pulls(30).contains("http://n3.example:5000"));
}

TEST_F(ClusterPull, AClientThatComesBackFromAMemberThatJustEndedIsSentElsewhere) {
  EXPECT_TRUE(pulls(30).contains("http://n3.example:5000"));
  bed.stop("n3", false);  // its lease stands still
  bed.shared.world.run_for(cluster::pulse_interval + std::chrono::milliseconds(20));
  EXPECT_FALSE(pulls(30).contains("http://n3.example:5000"));
}

// Whoever asks again has not got it there, whatever is known of that member yet.
TEST_F(ClusterPull, AClientThatAsksAgainIsNotSentToTheSameMember) {
  const std::string third = "http://n3.example:5000";
  BlobPull pull = may_go();
  int sent = 0;
  for (int i = 0; i < 30; ++i) {
    pull.client = "10.0.0." + std::to_string(i);
    if (!pulls(1, pull).contains(third)) continue;
    ++sent;
    EXPECT_FALSE(pulls(1, pull).contains(third)) << pull.client;
  }
  EXPECT_GT(sent, 5);
  // Many behind one address are spread nevertheless, also over two.
  pull.client = "10.0.1.1";
  const auto from = pulls(30, pull);
  ASSERT_EQ(from.size(), 3U);
  for (const auto& [url, count] : from) EXPECT_NEAR(count, 10, 3) << url;
  bed.mark("n2", {digest(layer)});
  see();
  const auto of_two = pulls(30, pull);
  ASSERT_EQ(of_two.size(), 2U);
  for (const auto& [url, count] : of_two) EXPECT_NEAR(count, 15, 3) << url;
}

TEST_F(ClusterPull, NobodyIsSentToAMemberWhoseMarkLeavesTheBlobOut) {
  bed.mark("n2", {digest(layer)});
  see();
  const auto from = pulls(30);
  EXPECT_FALSE(from.contains("http://n2.example:5000"));
  EXPECT_TRUE(from.contains("http://n3.example:5000"));
}

TEST_F(ClusterPull, AMemberThatLacksABlobSendsItsClientsToThoseThatHoldIt) {
  bed.mark("n1", {digest(layer)});
  see();
  EXPECT_FALSE(pulls(30).contains(""));
}

TEST_F(ClusterPull, WhatWasJustPushedAndStandsInNoMarkIsServedHere) {
  const std::string fresh(2'000'000, 'f');
  ASSERT_TRUE(bed["n1"].push_blob("team/app", fresh));
  for (int i = 0; i < 6; ++i) EXPECT_FALSE(bed["n1"].ask_blob("team/app", digest(fresh), may_go())->elsewhere);
}

TEST_F(ClusterPull, PartsOfOneBlobComeFromSeveral) {
  std::map<std::string, int> out;
  for (std::uint64_t at = 0; at < 3; ++at) {
    BlobPull part = may_go();
    part.offset = at * 1'000'000;
    const auto got = bed["n1"].ask_blob("team/app", digest(layer), part);
    ++out[got->elsewhere ? got->elsewhere->url : ""];
  }
  EXPECT_GE(out.size(), 2U);
}

TEST_F(ClusterPull, OverTlsNobodyIsSentToPlainHttp) {
  BlobPull secure = may_go();
  secure.secure = true;
  EXPECT_EQ(pulls(6, secure), (std::map<std::string, int>{{"", 6}}));
}

}  // namespace
}  // namespace hansa::registry::testing
