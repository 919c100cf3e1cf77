// SimNode: one node's machine in a world: its executor, clock and disk, and the lives of the Node on them. The Node is
// the one that the server runs.
//
// Single-threaded, like its world.
#pragma once

#include <memory>
#include <string>

#include "node/node.h"
#include "sim/ports/clock.h"
#include "sim/ports/disk.h"
#include "sim/ports/world.h"
#include "sim/sim_log.h"

namespace hansa::sim {

class SimNode {
 public:
  // `loud`: the node's log goes to standard error.
  SimNode(World& world, std::string name, node::Options options, bool loud = false);
  ~SimNode();

  // Starts a life; the error of Node::start.
  Result<void> start();
  // A clean stop.
  void stop();
  // The life ends at once: a power cut loses or tears unsynced data (Loss::unsynced), kill -9 leaves to the kernel what
  // was written (Loss::nothing). What still runs, `clients` included, ends without an effect on the disk, and its
  // answers reach nobody: see life().
  void end(Loss loss, io::TaskScope& clients);

  bool running() const { return node_ != nullptr; }
  registry::Registry& registry() { return node_->registry(); }
  node::Node& node() { return *node_; }
  SimExecutor& executor() { return executor_; }
  SimDisk& disk() { return disk_; }
  SimClock& clock() { return clock_; }
  Logger& log() { return log_; }
  // Counts lives: what a client saw in an earlier life was cut off.
  std::uint64_t life() const { return life_; }

 private:
  World& world_;
  SimExecutor executor_;
  SimClock clock_;
  SimDisk disk_;
  SimRandom random_;
  SimLog log_;
  node::Options options_;
  std::unique_ptr<node::Node> node_;
  std::uint64_t life_ = 0;
};

}  // namespace hansa::sim
