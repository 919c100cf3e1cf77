// A view that the store's history no longer reaches back to: copied from another member, checked, else read from etcd.
#include <gtest/gtest.h>

#include "meta/etcd/store.h"
#include "sim/ports/clock.h"
#include "sim/ports/disk.h"
#include "sim/ports/etcd_model.h"

namespace hansa::meta::etcd::testing {
namespace {

using namespace std::chrono_literals;

class PeerViewTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* folder : {"/peer", "/mine"}) ASSERT_TRUE(disk_.make_directories(folder));
    peer_ = open("/peer/view.db", nullptr);
    mine_ = open("/mine/view.db", nullptr);
    committed("old", "1");
    close(mine_);
  }
  void TearDown() override {
    close(mine_);
    close(peer_);
  }

  using PeerView = decltype(StoreOptions::peer_view);
  std::unique_ptr<Store> open(std::string path, PeerView peer_view) {
    StoreOptions options;
    options.endpoints = {{.endpoint = "one", .tls = {}, .user = {}, .password = {}}};
    options.view.path = std::move(path);
    options.view.full_sync = false;
    options.own_thread = false;
    options.peer_view = std::move(peer_view);
    auto store = Store::open(disk_, clock_, random_, log_, executor_, etcd_.channels(), options, {}).value();
    EXPECT_TRUE(sim::run(world_, executor_, store->ready()));
    return store;
  }
  void close(std::unique_ptr<Store>& store) {
    if (store) sim::run(world_, executor_, store->close());
    store.reset();
  }
  void committed(std::string key, std::string value) {
    const auto outcome = sim::run(world_, executor_,
                                  peer_->commit({.operation = random_.hex(8),
                                                 .compares = {},
                                                 .puts = {{std::move(key), std::move(value)}},
                                                 .deletes = {}}));
    ASSERT_TRUE(outcome && outcome->status == CommitStatus::committed);
  }
  // This member's view falls behind the history that etcd keeps.
  void fall_behind() {
    committed("old", "2");
    committed("new", "1");
    etcd_.compact(etcd_.state().revision - 1);
  }
  PeerView giving(std::function<Result<std::string>()> give) {
    return [this,
            give = std::move(give)](std::unique_ptr<sqlite::ReadTransaction> stale) -> io::Task<Result<std::string>> {
      ++asked_;
      stale.reset();
      co_return give();
    };
  }
  Result<std::string> copy_of_peer() {
    HANSA_CHECK(peer_->copy_view(copied));
    return std::string(copied);
  }
  void expect_truth() {
    const auto view = mine_->snapshot().value();
    std::map<std::string, std::pair<std::string, Revision>> shown;
    std::map<std::string, std::pair<std::string, Revision>> truth;
    const auto all = view->range("", "", 1000).value();
    for (const auto& record : all) shown[record.key] = {record.value, record.mod};
    for (const auto& [key, record] : etcd_.state().keys) truth[key.substr(6)] = {record.value, record.mod};
    EXPECT_EQ(shown, truth);
  }

  static constexpr const char* copied = "/mine/copy.db";
  sim::World world_{{.seed = 5}};
  sim::SimExecutor executor_{world_, "node"};
  sim::SimClock clock_{world_, "node"};
  sim::SimDisk disk_{world_, "node"};
  sim::SimRandom random_{5};
  NullLogger log_;
  sim::EtcdModel etcd_{world_};
  std::unique_ptr<Store> peer_;
  std::unique_ptr<Store> mine_;
  int asked_ = 0;
};

TEST_F(PeerViewTest, AViewThatIsTooOldIsCopiedFromAPeerAndTheCopyRemoved) {
  fall_behind();
  mine_ = open("/mine/view.db", giving([this] { return copy_of_peer(); }));
  EXPECT_EQ(mine_->health().copied_views, 1u);
  expect_truth();
  EXPECT_FALSE(disk_.info(copied)) << "it is of no use any more";
  committed("new", "2");
  EXPECT_TRUE(sim::run(world_, executor_, mine_->barrier()));
  expect_truth();
}

TEST_F(PeerViewTest, ACopyThatIsTooOldItselfIsNotAskedForTwice) {
  committed("old", "2");
  ASSERT_TRUE(peer_->copy_view("/peer/early.db"));
  fall_behind();
  mine_ = open("/mine/view.db", giving([]() -> Result<std::string> { return std::string("/peer/early.db"); }));
  EXPECT_EQ(asked_, 1);
  expect_truth();
}

TEST_F(PeerViewTest, WhatIsNoCopyOfThisStoreIsLeftAside) {
  fall_behind();
  const auto nonsense = [this]() -> Result<std::string> {
    HANSA_TRY(const auto file, disk_.open(copied, io::OpenMode::create));
    HANSA_CHECK(file->write(0, as_bytes(std::string_view("this is no database, whatever its name says"))));
    return std::string(copied);
  };
  mine_ = open("/mine/view.db", giving(nonsense));
  EXPECT_EQ(mine_->health().copied_views, 0u);
  expect_truth();
}

TEST_F(PeerViewTest, WithoutAPeerEtcdIsRead) {
  fall_behind();
  mine_ =
      open("/mine/view.db",
           giving([]() -> Result<std::string> { return make_error(ErrorCode::not_found, "no member gave a copy"); }));
  EXPECT_EQ(asked_, 1);
  expect_truth();
}

TEST_F(PeerViewTest, AViewThatCanGoOnAsksNobody) {
  committed("new", "1");
  mine_ = open("/mine/view.db", giving([this] { return copy_of_peer(); }));
  EXPECT_EQ(asked_, 0);
  expect_truth();
}

}  // namespace
}  // namespace hansa::meta::etcd::testing
