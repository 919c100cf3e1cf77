// SimCluster: the members of a cluster in one world, as the server runs them: each a whole node::Node with its own
// machine (executor, clocks, disk), all on one network and one etcd.
//
//   SimCluster cluster(world, {.nodes = 3});
//   for (std::size_t i = 0; i < cluster.size(); ++i) cluster.start(i);
//   cluster.wait_until_ready(1min);
//   cluster.kill(1, Loss::unsynced); cluster.cut(0, 2); cluster.cut_from_etcd(0); cluster.heal();
//   auto got = co_await cluster.ask<Result<...>>(0, [](registry::Registry& r) { return r.get_manifest(...); });
//
// A process that does not start is started again a second later, as a service manager does. start(), stop() and kill()
// run the world themselves, so they are not called from its events; the other members go on meanwhile.
// Single-threaded, like its world.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/wait.h"
#include "node/node.h"
#include "oci/digest.h"
#include "sim/mixed_versions.h"
#include "sim/ports/clock.h"
#include "sim/ports/disk.h"
#include "sim/ports/etcd_model.h"
#include "sim/ports/network.h"
#include "sim/ports/world.h"
#include "sim/sim_log.h"

namespace hansa::sim {

struct SimClusterOptions {
  std::size_t nodes = 3;
  node::Options node = {};  // of each; root and cluster are set here
  bool loud = false;        // logs go to standard error
  // An upgrade, and back: each life of a member is of this version or of a newer one (sim/mixed_versions.h).
  bool mixed_versions = false;
};

class SimCluster {
 public:
  SimCluster(World& world, SimClusterOptions options);
  ~SimCluster();
  SimCluster(const SimCluster&) = delete;
  SimCluster& operator=(const SimCluster&) = delete;

  std::size_t size() const { return machines_.size(); }
  EtcdModel& etcd() { return etcd_; }
  SimNetwork& network() { return network_; }
  const MixedVersions& versions() const { return versions_; }
  SimDisk& disk(std::size_t i) { return machines_[i].disk; }
  SimClock& clock(std::size_t i) { return machines_[i].clock; }
  SimExecutor& executor(std::size_t i) { return machines_[i].executor; }
  Logger& log(std::size_t i) { return machines_[i].log; }

  // Begins a life; it is ready once its node has started. REQUIRES: not running.
  void start(std::size_t i);
  void start_all();  // that do not run
  // A clean stop. What clients wait for is cut off.
  void stop(std::size_t i);
  // The process ends at once: a power cut loses or tears unsynced data (Loss::unsynced), kill -9 leaves to the kernel
  // what was written (Loss::nothing). What it had sent to etcd may still be carried out; nothing else of it counts.
  void kill(std::size_t i, Loss loss);

  // The machine is lost with its disk, and a new one takes its place: another id, nothing on it. Not started.
  // REQUIRES: not running.
  void replace(std::size_t i);
  // The disk is set back to a copy of it (SimDisk::image()). REQUIRES: not running.
  void set_back(std::size_t i, std::unique_ptr<SimTree> image);
  const io::NodeId& id(std::size_t i) const { return machines_[i].id; }

  bool running(std::size_t i) const { return machines_[i].life != nullptr; }
  bool ready(std::size_t i) const { return node(i) != nullptr; }
  // Null until it is ready.
  node::Node* node(std::size_t i) const;
  // Why the last start of this life failed; empty: it did not.
  std::string start_error(std::size_t i) const;
  // What the catalogue shows as this member's disk, by its own view; empty: it is not ready.
  std::string disk_shown(std::size_t i) const;
  // The nonce that this disk got when it was new.
  const std::string& first_disk(std::size_t i) const { return machines_[i].first_disk; }
  // Which member has this id; empty: none.
  std::optional<std::size_t> place_of(std::string_view id) const;
  // Where a blob's file is on a member's disk, and whether it is there.
  static std::string file_of(const oci::Digest& digest);
  bool has_file(std::size_t i, const oci::Digest& digest);
  std::size_t copies_of(const oci::Digest& digest);  // on how many members' disks
  bool wait_until_ready(io::Duration limit);         // all of them
  // And every view shows all of them alive and in the layout: a push has two copies whoever takes it.
  bool wait_until_joined(io::Duration limit);

  // ---- the wires --------------------------------------------------------------------------------------------------

  // Messages of one way only; the sender hears nothing.
  void lose(std::size_t from, std::size_t to) { network_.lose(machines_[from].id, machines_[to].id); }
  void cut(std::size_t i, std::size_t j) { network_.cut(machines_[i].id, machines_[j].id); }
  // From all of etcd, or from one endpoint (0 to 2); also for lives to come.
  void cut_from_etcd(std::size_t i, std::optional<std::size_t> endpoint = std::nullopt);
  static std::string endpoint(std::size_t n) { return "etcd-" + std::to_string(n); }
  static constexpr std::size_t endpoints = 3;
  // All wires, and etcd's own outages.
  void heal();

  // ---- for clients ------------------------------------------------------------------------------------------------

  // Runs a request on a member and gives its answer, on the caller's executor. Empty: the member was not there, or
  // ended before the answer came: the request may have been carried out, or may yet be.
  template <class T>
  io::Task<std::optional<T>> ask(std::size_t i, std::function<io::Task<T>(registry::Registry&)> use) {
    return ask_node<T>(i, [use = std::move(use)](node::Node& node) { return use(node.registry()); });
  }
  // As an operator, at the node itself.
  template <class T>
  io::Task<std::optional<T>> ask_node(std::size_t i, std::function<io::Task<T>(node::Node&)> use) {
    auto wait = io::wait_for<std::optional<T>>([&](io::Completion<std::optional<T>> done) -> io::Work {
      const auto life = machines_[i].life;
      if (!life || life->ended || !life->node) {
        done.complete(std::nullopt);
      } else {
        life->requests.spawn("client", serve<T>(life, std::move(use), done));
      }
      return nullptr;  // the request's own limits end it
    });
    co_return co_await wait;
  }

 private:
  struct Life {
    Life(SimNetwork& network, const io::NodeId& id, SimExecutor& executor)
        : peer(network, id, executor), starting(executor), requests(executor) {}
    SimPeer peer;
    io::TaskScope starting;
    io::TaskScope requests;
    std::unique_ptr<node::Node> node;
    std::string start_error;
    bool ended = false;
  };
  struct Machine {
    Machine(World& world, const std::string& name, bool loud);
    void set_up();  // of a disk that is empty
    const std::string name;
    SimExecutor executor;
    SimClock clock;
    SimDisk disk;
    SimRandom random;
    SimLog log;
    io::NodeId id;
    std::string first_disk;
    std::uint64_t lives = 0;
    bool newer = false;  // this life's version
    std::shared_ptr<Life> life;
    std::vector<std::string> cut_from;  // endpoints of etcd; "": all
    std::string client() const { return name + "/" + std::to_string(lives); }
  };

  template <class T>
  static io::Task<void> serve(std::shared_ptr<Life> life, std::function<io::Task<T>(node::Node&)> use,
                              io::Completion<std::optional<T>> done) {
    auto answer = co_await use(*life->node);
    done.complete(life->ended ? std::nullopt : std::optional<T>(std::move(answer)));
  }
  io::Task<void> begin(Machine* machine, std::shared_ptr<Life> life);
  node::Options options_of(const Machine& machine) const;
  void end(Machine& machine);
  bool all_ready() const;
  bool sees_all(const Machine& machine) const;

  World& world_;
  const SimClusterOptions options_;
  EtcdModel etcd_;
  MixedVersions versions_;
  SimRandom draw_version_;
  SimNetwork network_;
  std::deque<Machine> machines_;
};

}  // namespace hansa::sim
