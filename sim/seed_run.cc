#include "sim/seed_run.h"

#include <algorithm>

#include "sim/cluster_push_pull.h"
#include "sim/memory_run.h"
#include "sim/oracle_run.h"
#include "sim/push_pull.h"

namespace hansa::sim {
namespace {

constexpr int cycles_in_grace = 8;
constexpr std::uint64_t most_events_of_memory = 1'000'000'000;

template <class Work>
void note_workload(Outcome& outcome, const Work& workload) {
  outcome.acknowledged = workload.acknowledged();
  outcome.crashes = workload.crashes();
  outcome.violations = workload.violations();
}

// The whole of a run, its end included.
void note_world(Outcome& outcome, const World& world) {
  outcome.trace = world.trace();
  outcome.events = world.events();
  outcome.time = world.now();
}

// `work_on(cluster)` makes the workload.
template <class WorkOn>
Outcome run_with(World& world, const SimClusterOptions& options, WorkOn work_on) {
  Outcome outcome;
  {
    SimCluster cluster(world, options);
    auto workload = work_on(cluster);
    workload.run_all();
    note_workload(outcome, workload);
    for (const auto& key : cluster.versions().forgotten()) {
      outcome.violations.push_back("an older member dropped a newer one's field from " + key);
    }
  }
  note_world(outcome, world);
  return outcome;
}

void set_grace(node::Options& options, io::Duration grace) {
  options.gc_delay = grace;
  options.gc_interval = grace / cycles_in_grace;
}

// Three members, at times one to seven, at times with an etcd of old, at times of two versions.
template <class WorkOn>
Outcome run_on_cluster(World& world, SimRandom& draw, io::Duration grace, bool mixed, bool loud, WorkOn work_on) {
  SimClusterOptions options;
  options.nodes = draw.one_in(3) ? draw.between(1, 7) : 3;
  options.loud = loud;
  options.mixed_versions = mixed && world.random("versions of members").one_in(4);
  set_grace(options.node, grace);
  const bool old = draw.one_in(4);
  return run_with(world, options, [&](SimCluster& cluster) {
    if (old) cluster.etcd().version = "3.4.23";
    return work_on(cluster);
  });
}

Outcome run_cluster(const SeedRun& run, bool loud) {
  World world({.seed = run.seed, .order = Order::between_executors});
  auto draw = world.random("cluster");
  // With the smallest grace time a tick is half a second, so that pauses and slow commits last for several.
  const io::Duration grace = draw.one_in(2) ? std::chrono::seconds(4) : std::chrono::seconds(40);
  ClusterPushPullOptions work;
  if (run.clients != 0) work.clients = run.clients;
  if (run.operations != 0) work.operations = run.operations;
  work.crashes = !run.without.contains("crashes");
  work.disk_faults = !run.without.contains("disks");
  work.rot = !run.without.contains("rot");
  work.churn = !run.without.contains("churn");
  work.cuts = !run.without.contains("wires");
  work.warts = !run.without.contains("etcd");
  const bool mixed = !run.without.contains("versions");
  return run_on_cluster(world, draw, grace, mixed, loud,
                        [&](SimCluster& cluster) { return ClusterPushPull(world, cluster, grace, work); });
}

// Nothing is collected while it runs.
Outcome run_oracle(const SeedRun& run, bool loud) {
  World world({.seed = run.seed, .order = Order::between_executors});
  auto draw = world.random("cluster");
  OracleOptions work;
  if (run.operations != 0) work.operations = run.operations;
  work.crashes = !run.without.contains("crashes");
  work.cuts = !run.without.contains("wires");
  work.warts = !run.without.contains("etcd");
  const bool mixed = !run.without.contains("versions");
  return run_on_cluster(world, draw, std::chrono::hours(24), mixed, loud,
                        [&](SimCluster& cluster) { return OracleRun(world, cluster, work); });
}

// Every cache is small, so that it is full long before the end.
Outcome run_memory(const SeedRun& run, bool loud) {
  constexpr std::size_t small = 64UL * 1024;
  constexpr io::Duration grace = std::chrono::seconds(4);
  World world({.seed = run.seed, .order = Order::between_executors, .max_events = most_events_of_memory});
  SimClusterOptions options;
  options.loud = loud;
  set_grace(options.node, grace);
  options.node.manifest_cache = small;
  options.node.history_bytes = small;
  MemoryOptions work;
  if (run.operations != 0) work.rounds = run.operations;
  work.cuts = !run.without.contains("wires");
  return run_with(world, options, [&](SimCluster& cluster) { return MemoryRun(world, cluster, grace, work); });
}

Outcome run_node(const SeedRun& run, bool loud) {
  World world({.seed = run.seed, .order = Order::between_executors});
  auto draw = world.random("node");
  node::Options options;
  options.root = "/data";
  options.gc_delay = std::chrono::seconds(4);
  options.gc_interval = std::chrono::seconds(2);
  if (draw.one_in(3)) options.verify_every = {};
  PushPullOptions work{.grace = options.gc_delay};
  if (run.clients != 0) work.clients = run.clients;
  if (run.operations != 0) work.operations = run.operations;
  work.crashes = !run.without.contains("crashes");
  work.disk_faults = !run.without.contains("disks");
  work.rot = !run.without.contains("rot");
  SimNode node(world, "node-1", options, loud);
  Outcome outcome;
  auto started = node.start();
  if (!started) {
    outcome.violations.push_back(describe(started.error()));
    return outcome;
  }
  PushPull workload(world, node, work);
  workload.run_all();
  if (node.running()) node.stop();
  note_workload(outcome, workload);
  note_world(outcome, world);
  return outcome;
}

bool fails(const SeedRun& run) {
  return !run_seed(run, false).violations.empty();
}

// The smallest number from 1 on with which it still fails, if it is smaller than `most`.
void shrink(SeedRun& run, std::size_t SeedRun::* number, std::size_t most) {
  SeedRun smaller = run;
  for (std::size_t n = 1; n < most; ++n) {
    smaller.*number = n;
    if (!fails(smaller)) continue;
    run = std::move(smaller);
    return;
  }
}

}  // namespace

std::string_view to_string(Workload workload) {
  switch (workload) {
    case Workload::node: return "node";
    case Workload::cluster: return "cluster";
    case Workload::oracle: return "oracle";
    case Workload::memory: return "memory";
  }
  return "";
}

Outcome run_seed(const SeedRun& run, bool loud) {
  switch (run.workload) {
    case Workload::node: return run_node(run, loud);
    case Workload::cluster: return run_cluster(run, loud);
    case Workload::oracle: return run_oracle(run, loud);
    case Workload::memory: return run_memory(run, loud);
  }
  return {};
}

std::string command_of(const SeedRun& run) {
  std::string command = "./dev sim ";
  if (run.workload != Workload::node) command += "--" + std::string(to_string(run.workload)) + " ";
  command += "--seeds 1 --from " + std::to_string(run.seed);
  if (run.clients != 0) command += " --clients " + std::to_string(run.clients);
  if (run.operations != 0) command += " --operations " + std::to_string(run.operations);
  for (const auto& kind : run.without) command += " --without " + kind;
  return command + " --trace";
}

SeedRun minimise(SeedRun run) {
  for (const auto kind : fault_kinds) {
    SeedRun smaller = run;
    if (smaller.without.insert(std::string(kind)).second && fails(smaller)) run = std::move(smaller);
  }
  std::size_t clients = 1;
  std::size_t operations = 0;
  switch (run.workload) {
    case Workload::node:
      clients = PushPullOptions{}.clients;
      operations = PushPullOptions{}.operations;
      break;
    case Workload::cluster:
      clients = ClusterPushPullOptions{}.clients;
      operations = ClusterPushPullOptions{}.operations;
      break;
    case Workload::oracle: operations = OracleOptions{}.operations; break;
    case Workload::memory: operations = MemoryOptions{}.rounds; break;
  }
  shrink(run, &SeedRun::operations, run.operations != 0 ? run.operations : operations);
  shrink(run, &SeedRun::clients, run.clients != 0 ? run.clients : clients);
  return run;
}

}  // namespace hansa::sim
