// etcd::Store on real servers and on the simulator's model of one: the contract suite of MetadataStore, and what its
// barriers cost etcd.
#include "meta/store_contract_test.h"

#include <atomic>
#include <fstream>
#include <thread>

#include "io/scope.h"
#include "meta/etcd/grpc_channel.h"
#include "meta/etcd/store.h"
#include "meta/etcd/testing/etcd_server.h"
#include "sim/ports/etcd_model.h"

namespace hansa::meta::etcd::testing {
namespace {

using namespace std::chrono_literals;

class EtcdBed final : public sqlite::testing::Bed {
 public:
  explicit EtcdBed(std::string binary) : server_({.binary = std::move(binary), .arguments = {}}) {
    const auto answers = [this] {
      const auto channel = runtime_.channels()(settings()).value();
      const auto status = run(channel->status(1s));
      if (!status || status->leader == 0) (void)run(io::sleep_for(50ms));
      return status && status->leader != 0;
    };
    server_.start_until(answers);
    StoreOptions options;
    options.endpoints = {settings()};
    options.view.path = rig_.folder() + "/view.db";
    options.view.full_sync = false;
    store_ =
        Store::open(rig_.disk(), rig_.clock(), rig_.random(), log_, rig_.executor(), runtime_.channels(), options, {})
            .value();
    HANSA_ASSERT(run(store_->ready()), "the store gets ready");
  }
  ~EtcdBed() override {
    rig_.run(store_->close());
    store_.reset();
  }
  Store& store() override { return *store_; }
  const EtcdServer& server() const { return server_; }
  void run_all(std::vector<io::Task<void>> tasks) override { rig_.run(together(std::move(tasks))); }
  // A barrier brings the view up to date; the keys of the suite's ended lease go when etcd has been told.
  void settle() override {
    constexpr int tries = 500;
    for (int i = 0; i < tries; ++i) {
      put("settle", "x");
      if (store_->snapshot().value()->range("mine/", "", 1).value().empty()) return;
      (void)run(io::sleep_for(10ms));
    }
  }

 private:
  ChannelSettings settings() const { return {.endpoint = server_.endpoint(), .tls = {}, .user = {}, .password = {}}; }
  static io::Task<void> together(std::vector<io::Task<void>> tasks) {
    io::TaskContext& context = co_await io::current_context();
    io::TaskScope scope(context.executor());
    for (auto& task : tasks) scope.spawn("test", std::move(task));
    co_await scope.join();
  }

  EtcdServer server_;
  sim::RealRig rig_;
  GrpcRuntime runtime_;
  NullLogger log_;
  std::unique_ptr<Store> store_;
};

// On the model that the simulator has of it, so that the model cannot lie.
class ModelBed final : public sqlite::testing::WorldBed {
 public:
  explicit ModelBed(std::string version) : WorldBed(23) {
    etcd_.version = std::move(version);
    HANSA_ASSERT(disk_.make_directories("/data"), "the simulated disk starts empty");
    StoreOptions options;
    options.endpoints = {{.endpoint = "model", .tls = {}, .user = {}, .password = {}}};
    options.view.path = "/data/view.db";
    options.view.full_sync = false;
    options.own_thread = false;
    store_ = Store::open(disk_, clock_, random_, log_, first_, etcd_.channels(), options, {}).value();
    HANSA_ASSERT(run(store_->ready()), "the store gets ready");
  }
  ~ModelBed() override {
    sim::run(world_, first_, store_->close());
    store_.reset();
  }
  Store& store() override { return *store_; }

 private:
  sim::EtcdModel etcd_{world_};
  sim::SimClock clock_{world_, "node"};
  sim::SimDisk disk_{world_, "node"};
  sim::SimRandom random_{23};
  NullLogger log_;
  std::unique_ptr<Store> store_;
};

io::Task<void> pass(MetadataStore* store, int* passed) {
  auto barrier = co_await store->barrier();
  if (barrier) ++*passed;
}

// Calls of a method that this etcd has answered, by its own count.
std::uint64_t handled(const EtcdServer& server, const std::string& method) {
  const std::string file = server.folder() + "/metrics";
  run({"curl", "-s", "-o", file, server.endpoint() + "/metrics"});
  std::ifstream stream(file);
  std::string line;
  while (std::getline(stream, line)) {
    if (!line.starts_with("grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"" + method + "\"")) continue;
    return static_cast<std::uint64_t>(std::stod(line.substr(line.rfind(' '))));
  }
  return 0;
}

TEST(EtcdBarrier, AThousandAtOnceShareAFewReadsByEtcdsOwnCount) {
  if (current_etcd().empty()) GTEST_SKIP() << "no current etcd here; see ./dev clients";
  EtcdBed bed(current_etcd());
  ASSERT_FALSE(bed.store().health().barrier_by_log);
  const std::uint64_t before = handled(bed.server(), "Range");
  int passed = 0;
  std::vector<io::Task<void>> tasks;
  for (int i = 0; i < 1000; ++i) tasks.push_back(pass(&bed.store(), &passed));
  bed.run_all(std::move(tasks));
  EXPECT_EQ(passed, 1000);
  const std::uint64_t reads = handled(bed.server(), "Range") - before;
  EXPECT_GE(reads, 1U);
  EXPECT_LE(reads, 4U) << "one in flight and one for all that came meanwhile, and perhaps a probe";
}

io::Task<void> put_many(MetadataStore* store, std::atomic<bool>* done) {
  constexpr int commits = 400;
  for (int i = 0; i < commits; ++i) {
    const std::string text = std::to_string(i);
    Commit commit{.operation = "many-" + text, .compares = {}, .puts = {{"many", text}}, .deletes = {}};
    auto put = co_await store->commit(std::move(commit));
    EXPECT_TRUE(put);
  }
  *done = true;
}

// A node that starts while others write: the view is ahead of what the feed has told, for a moment.
TEST(EtcdFollow, MayBeginAtTheRevisionOfAnySnapshotWhileOthersWrite) {
  EtcdBed bed(debian_etcd());
  std::atomic<bool> done = false;
  std::size_t refused = 0;
  std::thread starter([&bed, &done, &refused] {
    while (!done) {
      const Revision from = bed.store().snapshot().value()->revision();
      if (!bed.store().follow(from, [](const ChangeSet&) {})) ++refused;
    }
  });
  std::vector<io::Task<void>> tasks;
  tasks.push_back(put_many(&bed.store(), &done));
  bed.run_all(std::move(tasks));
  starter.join();
  EXPECT_EQ(refused, 0U);
}

}  // namespace
}  // namespace hansa::meta::etcd::testing

namespace hansa::meta::sqlite::testing {
namespace {

std::unique_ptr<Bed> debian() {
  return std::make_unique<etcd::testing::EtcdBed>(etcd::testing::debian_etcd());
}
std::unique_ptr<Bed> current() {
  return std::make_unique<etcd::testing::EtcdBed>(etcd::testing::current_etcd());
}
std::unique_ptr<Bed> model() {
  return std::make_unique<etcd::testing::ModelBed>("3.6.9");
}
std::unique_ptr<Bed> old_model() {
  return std::make_unique<etcd::testing::ModelBed>("3.4.23");
}
// A bed starts with its test, so what is missing is left out here.
std::vector<Kind> kinds() {
  std::vector<Kind> out = {{"ModelOfEtcd", model}, {"ModelOfAnOldEtcd", old_model}};
  if (!etcd::testing::debian_etcd().empty()) out.push_back({"EtcdOfDebian", debian});
  if (!etcd::testing::current_etcd().empty()) out.push_back({"CurrentEtcd", current});
  return out;
}
INSTANTIATE_TEST_SUITE_P(Stores, MetaContract, ::testing::ValuesIn(kinds()),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace hansa::meta::sqlite::testing
