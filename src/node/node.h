// Node: one registry node assembled from given ports. Owns the stores, the catalogue, the use cases and the upkeep
// tasks, and their order of start and stop. The server and the simulator run the same Node (nothing here is global, so
// several live in one process).
//
// Thread rule: start() and stop() on the executor's thread; registry() and the rest from any executor's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "blob/store.h"
#include "io/clock.h"
#include "io/disk.h"
#include "io/executor.h"
#include "io/random.h"
#include "io/task.h"
#include "registry/registry.h"

namespace hansa::node {

// All outlive the node. `executor` runs the background tasks.
struct Ports {
  io::Disk& disk;
  io::Clock& clock;
  io::Random& random;
  io::Executor& executor;
  Logger& log;
};

struct Options {
  std::string root;  // absolute; made if absent. Holds hansa.db, blobs/, staging/, trash/, disk.json
  bool gc = true;
  io::Duration gc_delay = std::chrono::hours(1);     // grace time; raised to 4 s if smaller
  io::Duration gc_interval = std::chrono::hours(1);  // one cycle
  io::Duration verify_every = std::chrono::hours(24);
  io::Duration scrub_interval{};    // 0: no periodic scrub
  std::size_t max_uploads = 1000;   // open sessions
  bool own_metadata_thread = true;  // false in the simulator
};

struct Status {
  bool ready = false;
  std::uint64_t uploads = 0;  // open sessions
  std::uint64_t repositories = 0;
  std::uint64_t manifests = 0;
  std::uint64_t swept_blobs = 0;  // since the start
  std::uint64_t corrupt_blobs = 0;
  std::uint64_t disk_total = 0;      // bytes
  std::uint64_t disk_available = 0;  // bytes
};

class Node {
 public:
  virtual ~Node() = default;
  // Locks the root (conflict if another process has it), opens the stores, repairs what a crash left, starts upkeep.
  static io::Task<Result<std::unique_ptr<Node>>> start(Ports ports, Options options);
  // Ends upkeep, closes the stores. No call of the registry may be under way.
  virtual io::Task<void> stop() = 0;

  virtual registry::Registry& registry() = 0;
  virtual Status status() = 0;
  // Checks every blob's bytes; `progress` after each blob. One at a time: conflict if one is running.
  virtual io::Task<Result<blob::ScrubReport>> scrub(std::function<void(const blob::ScrubReport&)> progress) = 0;
  // One collection cycle now, in addition to the periodic ones.
  virtual io::Task<Result<void>> collect() = 0;
};

}  // namespace hansa::node
