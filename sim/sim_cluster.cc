#include "sim/sim_cluster.h"

#include <algorithm>

#include "base/assert.h"
#include "blob/disk/layout.h"
#include "node/identity.h"
#include "sim/ports/disk_tree.h"

namespace hansa::sim {
namespace {

constexpr std::string_view root = "/data";
constexpr io::Duration start_again = std::chrono::seconds(1);

}  // namespace

SimCluster::Machine::Machine(World& world, const std::string& machine, bool loud)
    : name(machine),
      executor(world, name),
      clock(world, name),
      disk(world, name),
      random(world.random(name + "/random")),
      log(world, loud, name) {
  set_up();
}

void SimCluster::Machine::set_up() {
  HANSA_ASSERT(disk.make_directories(std::string(root)), "a new disk takes a folder");
  const auto identity = node::prepare_identity(disk, random, std::string(root));
  HANSA_ASSERT(identity.has_value(), "a new disk takes an identity");
  id = io::NodeId(identity->node);
  first_disk = identity->disk;
}

SimCluster::SimCluster(World& world, SimClusterOptions options)
    : world_(world),
      options_(std::move(options)),
      etcd_(world),
      versions_(etcd_.state()),
      draw_version_(world.random("versions")),
      network_(world) {
  HANSA_ASSERT(options_.nodes >= 1 && options_.nodes <= 7, "a simulated cluster has one to seven members");
  for (std::size_t i = 1; i <= options_.nodes; ++i) {
    machines_.emplace_back(world, "node-" + std::to_string(i), options_.loud);
  }
}

SimCluster::~SimCluster() {
  heal();
  for (std::size_t i = 0; i < size(); ++i) {
    if (running(i)) stop(i);
  }
}

node::Options SimCluster::options_of(const Machine& machine) const {
  node::Options options = options_.node;
  options.root = root;
  options.own_metadata_thread = false;
  node::ClusterOptions cluster;
  for (std::size_t n = 0; n < endpoints; ++n) {
    cluster.endpoints.push_back({.endpoint = endpoint(n), .tls = {}, .user = {}, .password = {}});
  }
  cluster.url = "http://" + machine.name + ":5000";
  cluster.peer = machine.name + ":5001";
  cluster.secret = "the cluster's";
  options.cluster = std::move(cluster);
  return options;
}

// ---- lives ------------------------------------------------------------------------------------------------------

io::Task<void> SimCluster::begin(Machine* machine, std::shared_ptr<Life> life) {
  while (true) {
    const node::Ports ports{.disk = machine->disk,
                            .clock = machine->clock,
                            .random = machine->random,
                            .executor = machine->executor,
                            .log = machine->log,
                            .peers = &life->peer,
                            .directory = nullptr,
                            .channels = versions_.channels(etcd_.channels(machine->client()), machine->newer)};
    auto started = co_await node::Node::start(ports, options_of(*machine));
    if (started) {
      life->node = std::move(*started);
      life->start_error.clear();
      machine->log.info("ready");
      co_return;
    }
    life->start_error = describe(started.error());
    machine->log.warn("the node does not start", {{"error", life->start_error}});
    auto slept = co_await io::sleep_for(start_again);
    if (!slept) co_return;
  }
}

void SimCluster::start(std::size_t i) {
  Machine& machine = machines_[i];
  HANSA_ASSERT(machine.life == nullptr, "a member that runs is not started");
  ++machine.lives;
  machine.newer = options_.mixed_versions && draw_version_.one_in(2);
  machine.log.info("start", {{"life", machine.lives}, {"newer", machine.newer}});
  for (const auto& endpoint : machine.cut_from) etcd_.cut(machine.client(), endpoint);
  machine.life = std::make_shared<Life>(network_, machine.id, machine.executor);
  machine.life->starting.spawn("start", begin(&machine, machine.life));
}

void SimCluster::start_all() {
  for (std::size_t i = 0; i < size(); ++i) {
    if (!running(i)) start(i);
  }
}

// What others asked of it ends before the node does, which they use.
void SimCluster::end(Machine& machine) {
  auto& life = *machine.life;
  life.ended = true;
  network_.isolate(machine.id);
  run(world_, machine.executor, life.requests.close());
  run(world_, machine.executor, life.peer.close());
  run(world_, machine.executor, life.starting.close());
  if (life.node) run(world_, machine.executor, life.node->stop());
  life.node.reset();
  machine.life.reset();
  network_.readmit(machine.id);
}

void SimCluster::stop(std::size_t i) {
  machines_[i].log.info("stop");
  end(machines_[i]);
}

void SimCluster::kill(std::size_t i, Loss loss) {
  Machine& machine = machines_[i];
  machine.log.info(loss == Loss::unsynced ? "power cut" : "kill -9");
  // From here its calls reach nobody and its disk fails, so that what still runs can change nothing.
  machine.disk.stop(loss);
  etcd_.cut(machine.client());
  end(machine);
  machine.disk.start();
}

void SimCluster::replace(std::size_t i) {
  set_back(i, nullptr);
  machines_[i].disk.clear_faults();
  machines_[i].log.info("a new machine");
  machines_[i].set_up();
}

void SimCluster::set_back(std::size_t i, std::unique_ptr<SimTree> image) {
  Machine& machine = machines_[i];
  HANSA_ASSERT(machine.life == nullptr, "the disk of a member that runs is not changed");
  machine.disk.stop(Loss::nothing);
  machine.disk.set_back(std::move(image));
  machine.disk.start();
}

node::Node* SimCluster::node(std::size_t i) const {
  const auto& life = machines_[i].life;
  return life ? life->node.get() : nullptr;
}

std::string SimCluster::start_error(std::size_t i) const {
  const auto& life = machines_[i].life;
  return life ? life->start_error : std::string();
}

std::string SimCluster::disk_shown(std::size_t i) const {
  if (!ready(i)) return {};
  auto view = node(i)->catalogue().snapshot();
  if (!view) return {};
  const auto record = view->node(machines_[i].id.value());
  return record && *record ? (*record)->record.disk : std::string();
}

std::optional<std::size_t> SimCluster::place_of(std::string_view id) const {
  const auto machine = std::ranges::find(machines_, id, [](const Machine& one) { return one.id.value(); });
  if (machine == machines_.end()) return std::nullopt;
  return static_cast<std::size_t>(machine - machines_.begin());
}

std::string SimCluster::file_of(const oci::Digest& digest) {
  return blob::disk::Layout(std::string(root)).file(digest);
}

bool SimCluster::has_file(std::size_t i, const oci::Digest& digest) {
  return disk(i).has(file_of(digest));
}

std::size_t SimCluster::copies_of(const oci::Digest& digest) {
  std::size_t copies = 0;
  for (std::size_t i = 0; i < size(); ++i) copies += has_file(i, digest) ? 1 : 0;
  return copies;
}

bool SimCluster::all_ready() const {
  return std::ranges::all_of(machines_, [](const Machine& machine) { return machine.life && machine.life->node; });
}

bool SimCluster::sees_all(const Machine& machine) const {
  auto& node = *machine.life->node;
  if (node.status().members_alive != size()) return false;
  auto view = node.catalogue().snapshot();
  if (!view) return false;
  const auto layout = view->layout();
  return layout && *layout && (*layout)->record.members.size() == size();
}

bool SimCluster::wait_until_ready(io::Duration limit) {
  return world_.run_until([this] { return all_ready(); }, limit);
}

bool SimCluster::wait_until_joined(io::Duration limit) {
  // Looking costs more than an event.
  constexpr io::Duration look_again = std::chrono::milliseconds(50);
  const io::Duration end = world_.now() + limit;
  while (world_.now() < end) {
    if (all_ready() && std::ranges::all_of(machines_, [this](const Machine& one) { return sees_all(one); }))
      return true;
    world_.run_for(look_again);
  }
  return false;
}

// ---- the wires --------------------------------------------------------------------------------------------------

void SimCluster::cut_from_etcd(std::size_t i, std::optional<std::size_t> which) {
  Machine& machine = machines_[i];
  machine.cut_from.push_back(which ? endpoint(*which) : std::string());
  etcd_.cut(machine.client(), machine.cut_from.back());
}

void SimCluster::heal() {
  for (auto& machine : machines_) machine.cut_from.clear();
  network_.heal();
  etcd_.heal();
}

}  // namespace hansa::sim
