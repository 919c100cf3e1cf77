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
  // Power cut: unsynced data is lost or torn. Whatever ran ends without an effect.
  void crash() { end(Loss::unsynced); }
  // kill -9: the kernel keeps what was written.
  void kill() { end(Loss::nothing); }

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
  void end(Loss loss);

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
