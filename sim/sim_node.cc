#include "sim/sim_node.h"

namespace hansa::sim {

SimNode::SimNode(World& world, std::string name, node::Options options, bool loud)
    : world_(world),
      executor_(world, name),
      clock_(world, name),
      disk_(world, name),
      random_(world.random(name + "/random")),
      log_(world, loud),
      options_(std::move(options)) {
  options_.own_metadata_thread = false;
}

SimNode::~SimNode() {
  if (running()) stop();
}

Result<void> SimNode::start() {
  const node::Ports ports{.disk = disk_, .clock = clock_, .random = random_, .executor = executor_, .log = log_};
  log_.info("start", {{"life", life_}});
  HANSA_TRY(node_, run(world_, executor_, node::Node::start(ports, options_)));
  return {};
}

void SimNode::stop() {
  ++life_;
  run(world_, executor_, node_->stop());
  node_.reset();
}

void SimNode::end(Loss loss, io::TaskScope& clients) {
  ++life_;
  log_.info(loss == Loss::unsynced ? "power cut" : "kill -9");
  // From here every call of the disk fails, so that what still runs can change nothing.
  disk_.stop(loss);
  run(world_, executor_, clients.close());
  run(world_, executor_, node_->stop());
  node_.reset();
  disk_.start();
}

}  // namespace hansa::sim
