// Which etcd is asked, when those that are known change while a store runs.
#include "meta/etcd/endpoints.h"

#include <gtest/gtest.h>

#include "meta/etcd/store.h"
#include "sim/ports/clock.h"
#include "sim/ports/disk.h"
#include "sim/ports/etcd_model.h"

namespace hansa::meta::etcd::testing {
namespace {

using namespace std::chrono_literals;

ChannelSettings at(std::string name) {
  return {.endpoint = std::move(name), .tls = {}, .user = {}, .password = {}};
}

class EndpointsTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(endpoints_.set({at("one"), at("two")})); }

  sim::World world_{{.seed = 3}};
  sim::EtcdModel etcd_{world_};
  Endpoints endpoints_{etcd_.channels()};
};

TEST_F(EndpointsTest, TheSameOnesAgainKeepTheirChannelsAndTheOneInUse) {
  endpoints_.move_on(endpoints_.current());
  const auto two = endpoints_.current();
  ASSERT_TRUE(endpoints_.set({at("one"), at("two")}));
  EXPECT_EQ(endpoints_.current(), two);
}

TEST_F(EndpointsTest, TheOneInUseStaysInUseWhenOthersComeAndGo) {
  endpoints_.move_on(endpoints_.current());
  const auto two = endpoints_.current();
  ASSERT_TRUE(endpoints_.set({at("three"), at("four"), at("two")}));
  EXPECT_EQ(endpoints_.current(), two);
  EXPECT_EQ(endpoints_.size(), 3u);
}

TEST_F(EndpointsTest, WhenTheOneInUseIsGoneTheFirstIsUsed) {
  const auto one = endpoints_.current();
  ASSERT_TRUE(endpoints_.set({at("two"), at("three")}));
  EXPECT_NE(endpoints_.current(), one);
  EXPECT_EQ(endpoints_.size(), 2u);
}

TEST_F(EndpointsTest, RenewedCertificatesAreReadByANewChannel) {
  ChannelSettings settings = at("one");
  settings.tls = ClientTls{.ca = "ca", .certificate = "crt", .key = "key"};
  ASSERT_TRUE(endpoints_.set({settings}));
  const auto old = endpoints_.current();
  settings.tls->issue = 1;
  ASSERT_TRUE(endpoints_.set({settings}));
  EXPECT_NE(endpoints_.current(), old);
}

TEST_F(EndpointsTest, NoneAtAllIsRefusedAndTheOldOnesStay) {
  EXPECT_FALSE(endpoints_.set({}));
  EXPECT_EQ(endpoints_.size(), 2u);
}

// The founder of a cluster starts with its own etcd only.
TEST(EtcdStoreEndpoints, AStoreThatIsToldOfMoreEndpointsOutlivesThoseOfItsStart) {
  sim::World world({.seed = 4});
  sim::SimExecutor executor(world, "node");
  sim::SimClock clock(world, "node");
  sim::SimDisk disk(world, "node");
  sim::SimRandom random(4);
  NullLogger log;
  sim::EtcdModel etcd(world);
  ASSERT_TRUE(disk.make_directories("/data"));
  StoreOptions options;
  options.endpoints = {at("first")};
  options.view.path = "/data/view.db";
  options.view.full_sync = false;
  options.own_thread = false;
  auto store = Store::open(disk, clock, random, log, executor, etcd.channels(), options, {}).value();
  ASSERT_TRUE(sim::run(world, executor, store->ready()));
  store->set_endpoints({at("first"), at("second")});
  etcd.set_away({"first"});
  world.run_for(2s);
  EXPECT_TRUE(sim::run(world, executor, store->barrier()));
  const auto put = sim::run(
      world, executor, store->commit({.operation = "put", .compares = {}, .puts = {{"key", "value"}}, .deletes = {}}));
  ASSERT_TRUE(put);
  EXPECT_EQ(put->status, CommitStatus::committed);
  sim::run(world, executor, store->close());
}

}  // namespace
}  // namespace hansa::meta::etcd::testing
