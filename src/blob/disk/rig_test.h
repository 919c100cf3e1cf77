// A DiskBlobStore on the real ports or on the simulated ones. For tests only.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "blob/disk/disk_store.h"
#include "blob/disk/layout.h"
#include "blob/store_contract_test.h"
#include "sim/ports/contract_rigs_test.h"

namespace hansa::blob::disk {

// The simulated ports of one node.
class SimPorts {
 public:
  explicit SimPorts(std::uint64_t seed = 11, sim::Order order = sim::Order::posted)
      : world({.seed = seed, .order = order}), random_(seed) {
    HANSA_ASSERT(sim_disk.make_directories(folder()), "the simulated disk starts empty");
  }
  io::Executor& executor() { return executor_; }
  void run(io::Task<void> task) { sim::run(world, executor_, std::move(task)); }
  io::Clock& clock() { return clock_; }
  io::Random& random() { return random_; }
  io::Disk& disk() { return sim_disk; }
  std::string folder() const { return "/data"; }

  sim::World world;
  sim::SimDisk sim_disk{world, "node"};

 private:
  sim::SimExecutor executor_{world, "node"};
  sim::SimClock clock_{world, "node"};
  sim::SimRandom random_;
};

template <class Ports>
class StoreRig {
 public:
  template <class... Args>
  explicit StoreRig(DiskStoreOptions options = {}, Args... args) : ports_(args...), options_(std::move(options)) {
    options_.root = ports_.folder();
    options_.node = "node-1";
    options_.disk = "disk-1";
    options_.current_tick = [this] { return tick_.load(); };
    options_.on_corrupt = [this](const oci::Digest& digest) {
      const std::lock_guard guard(mutex_);
      corrupt_.push_back(digest);
    };
    restart();
  }

  DiskBlobStore& store() { return *store_; }
  BlobMaintenance& upkeep() { return *store_; }
  void run(io::Task<void> task) { ports_.run(std::move(task)); }
  void set_tick(TickNumber tick) { tick_ = tick; }
  // The memory goes. The next start is restart() or begin().
  void end() { store_.reset(); }
  void begin() { store_ = DiskBlobStore::open(ports_.disk(), ports_.clock(), ports_.random(), log_, options_).value(); }

  void restart() {
    end();
    begin();
  }

  Ports& ports() { return ports_; }
  io::Disk& disk() { return ports_.disk(); }
  Layout layout() const { return Layout(options_.root); }
  // What the hook was told, in order.
  std::vector<oci::Digest> corrupt() {
    const std::lock_guard guard(mutex_);
    return corrupt_;
  }

 private:
  Ports ports_;
  NullLogger log_;
  DiskStoreOptions options_;
  std::atomic<TickNumber> tick_ = 0;
  std::mutex mutex_;
  std::vector<oci::Digest> corrupt_;
  std::unique_ptr<DiskBlobStore> store_;
};

}  // namespace hansa::blob::disk
