// The stores that the contract suite of MetadataStore runs on: SQLite on a real disk with several event loops, SQLite
// in a simulated world, and the simulated store. For tests only.
#pragma once

#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "io/asio/event_loops.h"
#include "io/wait.h"
#include "meta/sqlite/store.h"
#include "sim/ports/clock.h"
#include "sim/ports/contract_rigs_test.h"
#include "sim/ports/disk.h"
#include "sim/ports/meta_store.h"

namespace hansa::meta::sqlite::testing {

class Bed {
 public:
  virtual ~Bed() = default;
  virtual MetadataStore& store() = 0;
  // Runs all at once, on as many executors as there are, to their ends.
  virtual void run_all(std::vector<io::Task<void>> tasks) = 0;
  // Until followers have heard of everything and ended leases are gone.
  virtual void settle() = 0;

  Revision begin() { return store().snapshot().value()->revision(); }
  std::uint64_t head_version() {
    const auto head = get(head_key);
    return head ? head->version : 0;
  }

  template <class T>
  T run(io::Task<T> task) {
    std::optional<T> out;
    std::vector<io::Task<void>> tasks;
    tasks.push_back(sim::detail::keep_result(std::move(task), &out));
    run_all(std::move(tasks));
    return std::move(*out);
  }
  Result<CommitOutcome> commit(Commit commit) { return run(store().commit(std::move(commit))); }
  // The revision of a commit that must succeed.
  Revision committed(Commit commit) {
    const auto outcome = this->commit(std::move(commit));
    HANSA_ASSERT(outcome && outcome->status == CommitStatus::committed, "this commit meets no obstacle");
    return outcome->revision;
  }
  Revision put(std::string key, std::string value) {
    return committed({.operation = "op", .compares = {}, .puts = {{std::move(key), std::move(value)}}, .deletes = {}});
  }
  Revision remove(std::string key) {
    return committed({.operation = "op", .compares = {}, .puts = {}, .deletes = {std::move(key)}});
  }
  std::optional<KeyValue> get(std::string_view key) {
    auto record = store().snapshot().value()->get(key).value();
    return record ? std::optional(*record) : std::nullopt;
  }
};

class RealBed final : public Bed {
 public:
  RealBed() {
    StoreOptions options;
    options.database.path = rig_.folder() + "/meta.db";
    options.database.checkpoint_pages = 50;  // checkpoints and WAL resets happen in every test
    store_ = Store::open(rig_.disk(), rig_.clock(), log_, options, {}).value();
  }
  ~RealBed() override {
    store_.reset();
    loops_.stop();
  }
  MetadataStore& store() override { return *store_; }
  void run_all(std::vector<io::Task<void>> tasks) override {
    std::vector<std::thread> waiting;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      waiting.emplace_back([&executor = loops_.executor(i % loops_.size()), task = std::move(tasks[i])]() mutable {
        io::asio::run_and_wait(executor, std::move(task));
      });
    }
    for (auto& thread : waiting) thread.join();
  }
  // The writer tells followers first; what it was given before is done when this commit is.
  void settle() override { put("settle", "x"); }

 private:
  sim::RealRig rig_;
  io::asio::EventLoops loops_{4};
  NullLogger log_;
  std::unique_ptr<Store> store_;
};

// A world with two nodes' executors.
class WorldBed : public Bed {
 public:
  explicit WorldBed(std::uint64_t seed) : world_({.seed = seed, .order = sim::Order::between_executors}) {}
  void run_all(std::vector<io::Task<void>> tasks) override {
    io::TaskScope first(first_);
    io::TaskScope second(second_);
    bool odd = false;
    for (auto& task : tasks) {
      (odd ? second : first).spawn("test", std::move(task));
      odd = !odd;
    }
    const bool ended = world_.run_until([&] { return first.running() + second.running() == 0; });
    HANSA_ASSERT(ended, "every task of a test ends");
  }
  void settle() override { world_.run_for(std::chrono::minutes(1)); }

 protected:
  sim::World world_;
  sim::SimExecutor first_{world_, "first"};
  sim::SimExecutor second_{world_, "second"};
};

class SimBed final : public WorldBed {
 public:
  SimBed() : WorldBed(21) {
    HANSA_ASSERT(disk_.make_directories("/data"), "the simulated disk starts empty");
    StoreOptions options;
    options.own_thread = false;
    options.database.path = "/data/meta.db";
    options.database.checkpoint_pages = 10;
    store_ = Store::open(disk_, clock_, log_, options, {}).value();
  }
  MetadataStore& store() override { return *store_; }

 private:
  sim::SimClock clock_{world_, "node"};
  sim::SimDisk disk_{world_, "node"};
  NullLogger log_;
  std::unique_ptr<Store> store_;
};

class MemoryBed final : public WorldBed {
 public:
  MemoryBed() : WorldBed(22) {}
  MetadataStore& store() override { return store_; }

 private:
  sim::SimMetaStore store_{world_, "store"};
};

}  // namespace hansa::meta::sqlite::testing
