// The two worlds that a contract suite runs on: the real ports and the simulated ones. For tests only.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/assert.h"
#include "io/asio/event_loops.h"
#include "io/asio/posix_disk.h"
#include "io/wait.h"
#include "sim/ports/clock.h"
#include "sim/ports/disk.h"
#include "sim/ports/world.h"

namespace hansa::sim {

class RealRig {
 public:
  RealRig() {
    const char* temporary = std::getenv("TMPDIR");
    std::string pattern = std::string(temporary != nullptr ? temporary : "/tmp") + "/hansa-contract-XXXXXX";
    HANSA_ASSERT(::mkdtemp(pattern.data()) != nullptr, "a contract test needs a temporary directory");
    folder_ = pattern;
  }
  ~RealRig() {
    loops_.stop();
    remove_tree(folder_);
  }
  RealRig(const RealRig&) = delete;
  RealRig& operator=(const RealRig&) = delete;

  io::Executor& executor() { return loops_.executor(0); }
  void run(io::Task<void> task) { io::asio::run_and_wait(executor(), std::move(task)); }
  io::Clock& clock() { return *clock_; }
  io::Random& random() { return *random_; }
  io::Disk& disk() { return *disk_; }
  std::string folder() const { return folder_; }

 private:
  void remove_tree(const std::string& path) {
    const auto entries = disk_->list(path);
    if (!entries) return;
    for (const auto& entry : *entries) {
      const std::string child = path + "/" + entry.name;
      if (entry.directory) {
        remove_tree(child);
      } else {
        EXPECT_TRUE(disk_->remove(child));
      }
    }
    EXPECT_TRUE(disk_->remove(path));
  }

  io::asio::EventLoops loops_{1};
  std::unique_ptr<io::Clock> clock_ = io::asio::real_clock();
  std::unique_ptr<io::Random> random_ = io::asio::real_random();
  std::unique_ptr<io::Disk> disk_ = io::asio::posix_disk();
  std::string folder_;
};

class SimRig {
 public:
  SimRig() { HANSA_ASSERT(disk_.make_directories(folder()), "the simulated disk starts empty"); }
  io::Executor& executor() { return executor_; }
  void run(io::Task<void> task) { sim::run(world_, executor_, std::move(task)); }
  io::Clock& clock() { return clock_; }
  io::Random& random() { return random_; }
  io::Disk& disk() { return disk_; }
  std::string folder() const { return "/contract/folder"; }

 private:
  World world_{{.seed = 11, .order = Order::between_executors}};
  SimExecutor executor_{world_, "node"};
  SimClock clock_{world_, "node"};
  SimRandom random_{11};
  SimDisk disk_{world_, "node"};
};

}  // namespace hansa::sim
