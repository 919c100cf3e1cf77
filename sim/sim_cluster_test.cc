// Whole members of a cluster on the model of etcd.
#include "sim/sim_cluster.h"

#include <gtest/gtest.h>

#include <set>

#include "node/identity.h"
#include "sim/image.h"
#include "sim/ports/disk_tree.h"

namespace hansa::sim {
namespace {

using namespace std::chrono_literals;

class SimClusterTest : public ::testing::Test {
 protected:
  explicit SimClusterTest(bool mixed_versions = false)
      : cluster(world, {.nodes = 3, .mixed_versions = mixed_versions}) {}
  void start_all() {
    for (std::size_t i = 0; i < cluster.size(); ++i) cluster.start(i);
    ASSERT_TRUE(cluster.wait_until_joined(1min)) << cluster.start_error(0);
  }
  template <class T>
  std::optional<Result<T>> ask(std::size_t i, std::function<io::Task<Result<T>>(registry::Registry&)> use) {
    return run(world, clients, cluster.ask<Result<T>>(i, std::move(use)));
  }
  std::string push(std::size_t i, const std::string& content) {
    const auto source = std::make_shared<io::MemorySource>(as_bytes(content));
    const auto done = ask<void>(i, [=, this](registry::Registry& registry) {
      return registry.push_blob(alice(), app, sha256(content), *source);
    });
    if (!done) return "cut off";
    return *done ? "pushed" : std::string(to_string(done->error().code));
  }
  std::string pull(std::size_t i, const std::string& content) {
    const auto got = ask<registry::BlobContent>(
        i, [=, this](registry::Registry& registry) { return registry.get_blob(alice(), app, sha256(content)); });
    if (!got) return "cut off";
    return *got ? "pulled" : std::string(to_string(got->error().code));
  }
  // The first member ends at once, and comes back with this disk.json.
  void restart_with(const node::Identity& identity) {
    cluster.kill(0, Loss::nothing);
    ASSERT_TRUE(node::write_identity(cluster.disk(0), "/data", identity));
    cluster.start(0);
    ASSERT_TRUE(cluster.wait_until_ready(1min)) << cluster.start_error(0);
  }
  std::set<std::string> alarms() {
    std::set<std::string> all;
    for (std::size_t i = 0; i < cluster.size(); ++i) all.insert(cluster.node(i)->status().metadata->alarm);
    return all;
  }
  static auth::Access alice() { return {auth::Identity{.user = "alice", .groups = {}}, auth::allow_everything()}; }

  World world{{.seed = 3, .order = Order::between_executors}};
  SimExecutor clients{world, "clients"};
  SimCluster cluster;
  const oci::RepositoryName app = *oci::RepositoryName::parse("team/app");
};

TEST_F(SimClusterTest, MembersFindEachOtherAndEachPullsWhatAnyWasGiven) {
  start_all();
  EXPECT_EQ(push(0, "content"), "pushed");
  for (std::size_t i = 0; i < cluster.size(); ++i) EXPECT_EQ(pull(i, "content"), "pulled");
}

TEST_F(SimClusterTest, AKilledMemberIsCutOffAndComesBackWithWhatWasAcknowledged) {
  start_all();
  EXPECT_EQ(push(1, "content"), "pushed");
  cluster.kill(1, Loss::unsynced);
  EXPECT_FALSE(cluster.running(1));
  EXPECT_EQ(push(1, "other"), "cut off");
  EXPECT_EQ(push(0, "other"), "pushed");
  cluster.start(1);
  ASSERT_TRUE(cluster.wait_until_ready(1min)) << cluster.start_error(1);
  EXPECT_EQ(pull(1, "content"), "pulled");
  EXPECT_EQ(pull(1, "other"), "pulled");
}

class MixedVersionsTest : public SimClusterTest {
 protected:
  MixedVersionsTest() : SimClusterTest(true) {}
};

TEST_F(MixedVersionsTest, WhileAnUpgradeRollsAnOlderMemberKeepsWhatANewerOneWroteIntoARecord) {
  start_all();
  for (int round = 0; round < 4; ++round) {
    for (std::size_t i = 0; i < cluster.size(); ++i) {
      cluster.stop(i);
      cluster.start(i);
      ASSERT_TRUE(cluster.wait_until_joined(1min)) << cluster.start_error(i);
      const std::string content = std::to_string(round) + " through " + std::to_string(i);
      EXPECT_EQ(push(i, content), "pushed");
      EXPECT_EQ(pull((i + 1) % cluster.size(), content), "pulled");
    }
  }
  EXPECT_EQ(cluster.versions().forgotten(), std::set<std::string>());
  EXPECT_GT(cluster.versions().kept(), 0U);
}

// As when a machine is set back to a snapshot of its disk: no start was between, but marks were.
TEST_F(SimClusterTest, AnImageOfADiskThatWasTakenWhileItsNodeRanIsKnownAsOld) {
  start_all();
  EXPECT_EQ(push(1, "content"), "pushed");
  world.run_for(10s);
  EXPECT_EQ(cluster.disk_shown(0), cluster.first_disk(0));
  const auto image = node::read_identity(cluster.disk(0), "/data").value().value();
  restart_with(image);
  EXPECT_EQ(cluster.disk_shown(0), cluster.first_disk(0)) << "it lacks nothing";
  const auto older = node::read_identity(cluster.disk(0), "/data").value().value();
  EXPECT_EQ(push(1, "other"), "pushed");
  world.run_for(10s);
  restart_with(older);
  EXPECT_NE(cluster.disk_shown(0), cluster.first_disk(0));
  EXPECT_EQ(pull(0, "content"), "pulled");
  EXPECT_EQ(pull(0, "other"), "pulled");
}

TEST_F(SimClusterTest, ANewMachineTakesTheLostOnesPlaceAndGetsWhatItHad) {
  start_all();
  EXPECT_EQ(push(0, "content"), "pushed");
  const std::string lost = cluster.id(1).value();
  cluster.kill(1, Loss::unsynced);
  cluster.replace(1);
  EXPECT_NE(cluster.id(1).value(), lost);
  EXPECT_FALSE(cluster.has_file(1, sha256("content")));
  cluster.start(1);
  const auto forgotten = [&] {
    std::function<io::Task<Result<std::string>>(node::Node&)> use = [lost](node::Node& node) {
      return node.cluster_operation("forget", lost);
    };
    const auto answer = run(world, clients, cluster.ask_node<Result<std::string>>(0, std::move(use)));
    return answer && answer->has_value();
  };
  for (int tries = 0; tries < 20 && !forgotten(); ++tries) world.run_for(1s);  // until its lease has ended
  EXPECT_TRUE(cluster.wait_until_joined(1min));
  EXPECT_TRUE(world.run_until([this] { return cluster.has_file(1, sha256("content")); }, 1min));
}

TEST_F(SimClusterTest, ADiskThatIsSetBackIsANewDiskAndGetsWhatItLacks) {
  start_all();
  auto image = cluster.disk(1).image();
  EXPECT_EQ(push(0, "content"), "pushed");
  EXPECT_TRUE(world.run_until([this] { return cluster.has_file(1, sha256("content")); }, 1min));
  world.run_for(5s);  // its mark says so
  cluster.kill(1, Loss::nothing);
  cluster.set_back(1, std::move(image));
  EXPECT_FALSE(cluster.has_file(1, sha256("content")));
  cluster.start(1);
  ASSERT_TRUE(cluster.wait_until_ready(1min)) << cluster.start_error(1);
  EXPECT_NE(cluster.disk_shown(1), cluster.first_disk(1));
  EXPECT_EQ(pull(1, "content"), "pulled");
  EXPECT_TRUE(world.run_until([this] { return cluster.has_file(1, sha256("content")); }, 1min));
}

// From a terminal of another encoding.
TEST_F(SimClusterTest, AnIdThatIsNoTextIsAMemberThatNobodyKnows) {
  start_all();
  std::function<io::Task<Result<std::string>>(node::Node&)> use = [](node::Node& node) {
    return node.cluster_operation("may-stop", "\xe4");
  };
  const auto answer = run(world, clients, cluster.ask_node<Result<std::string>>(0, std::move(use)));
  ASSERT_TRUE(answer && *answer);
  EXPECT_NE((*answer)->find("\"reason\""), std::string::npos);
}

TEST_F(SimClusterTest, ADiskThatNobodyKnowsClaimsNothingBeforeItsFilesWereHashed) {
  start_all();
  EXPECT_EQ(push(0, std::string(100'000'000, 'h')), "pushed");  // half a second of hashing
  world.run_for(10s);
  auto old = node::read_identity(cluster.disk(0), "/data").value().value();
  old.boot = old.next = "0123";
  restart_with(old);
  const auto claims = [this] {
    auto view = cluster.node(1)->catalogue().snapshot().value();
    const auto mark = view.holds(cluster.id(0).value()).value();
    return mark && !mark->record.at.empty();
  };
  const auto unchecked = [this] { return node::read_identity(cluster.disk(0), "/data").value()->unchecked; };
  EXPECT_TRUE(unchecked());
  int looked = 0;
  for (; unchecked(); world.run_for(10ms), ++looked) ASSERT_FALSE(claims()) << looked;
  EXPECT_GT(looked, 30);
  EXPECT_TRUE(world.run_until(claims, 1min));
}

TEST_F(SimClusterTest, AFullDiskIsNotFilledAgainAndAgainWithWhatDoesNotFit) {
  start_all();
  const auto content = [](int i) { return std::string(1'000'000, static_cast<char>('A' + i)); };
  cluster.kill(2, Loss::nothing);
  for (int i = 0; i < 12; ++i) EXPECT_EQ(push(0, content(i)), "pushed");
  const auto space = cluster.disk(2).space("/data").value();
  cluster.disk(2).set_capacity(space.total - space.available + 600'000);  // enough for its view
  cluster.start(2);
  ASSERT_TRUE(cluster.wait_until_ready(1min)) << cluster.start_error(2);
  world.run_for(15s);
  const auto before = cluster.disk(2).calls(Call::open);
  world.run_for(15s);
  EXPECT_LT(cluster.disk(2).calls(Call::open) - before, 60U);
  cluster.disk(2).set_capacity(std::nullopt);
  const auto all = [&] {
    int here = 0;
    for (int i = 0; i < 12; ++i) here += cluster.has_file(2, sha256(content(i))) ? 1 : 0;
    return here == 12;
  };
  EXPECT_TRUE(world.run_until(all, 3min));
}

TEST_F(SimClusterTest, AMemberThatIsCutOffFromEtcdTakesNoPushesUntilTheWireIsMended) {
  start_all();
  cluster.cut_from_etcd(2);
  EXPECT_NE(push(2, "content"), "pushed");
  EXPECT_EQ(push(2, "other"), "unavailable") << "what fails once fails fast";
  EXPECT_EQ(push(0, "content"), "pushed");
  cluster.heal();
  world.run_for(5s);
  EXPECT_EQ(push(2, "content"), "pushed");
}

// The lease was had again, the sign of life that it was for was not.
TEST_F(SimClusterTest, ASignOfLifeThatWentWrongIsGivenAgain) {
  start_all();
  cluster.cut_from_etcd(2);
  world.run_for(5s);
  cluster.etcd().set_warts({.unknown_lost = 1000});
  cluster.heal();
  world.run_for(20s);
  cluster.etcd().set_warts({});
  EXPECT_TRUE(cluster.wait_until_joined(20s));
}

TEST_F(SimClusterTest, AMemberCannotStartWithoutEtcdAndDoesOnceItIsThere) {
  cluster.etcd().set_available(false);
  cluster.start(0);
  EXPECT_FALSE(world.run_until([this] { return cluster.ready(0); }, 30s));
  cluster.kill(0, Loss::unsynced);
  cluster.start(0);
  cluster.heal();
  EXPECT_TRUE(world.run_until([this] { return cluster.ready(0); }, 1min)) << cluster.start_error(0);
}

// What a restore takes away was acknowledged: every member says so by its alarm, and shows what etcd has now.
TEST_F(SimClusterTest, AfterARestoreOfEtcdEveryMemberRaisesTheAlarmAndShowsTheOlderState) {
  start_all();
  EXPECT_EQ(push(0, "kept"), "pushed");
  const auto backup = cluster.etcd().save();
  EXPECT_EQ(push(1, "lost"), "pushed");
  world.run_for(1s);  // every view has it
  cluster.etcd().restore(backup);
  world.run_for(10s);
  EXPECT_EQ(alarms(), std::set<std::string>{"rewound"});
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    EXPECT_EQ(pull(i, "kept"), "pulled");
    EXPECT_EQ(pull(i, "lost"), "not_found");
  }
  EXPECT_EQ(push(2, "lost"), "pushed");
  EXPECT_EQ(pull(0, "lost"), "pulled");
}

TEST_F(SimClusterTest, AForgetfulVoterIsFoundOutByEveryMember) {
  start_all();
  EXPECT_EQ(push(0, "kept"), "pushed");
  world.run_for(5s);
  EXPECT_EQ(push(1, "lost"), "pushed");
  cluster.etcd().lose_last(1);
  world.run_for(10s);
  EXPECT_EQ(alarms(), std::set<std::string>{"rewound"});
  for (std::size_t i = 0; i < cluster.size(); ++i) EXPECT_EQ(pull(i, "lost"), "not_found");
}

}  // namespace
}  // namespace hansa::sim
