#include "sim/seed_run.h"

#include <algorithm>

#include "sim/cluster_push_pull.h"
#include "sim/oracle_run.h"
#include "sim/push_pull.h"

namespace hansa::sim {
namespace {

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

// Three members, at times one to seven, at times with an etcd of old. `work_on(cluster)` makes the workload.
template <class WorkOn>
Outcome run_on_cluster(World& world, SimRandom& draw, io::Duration grace, bool loud, WorkOn work_on) {
  constexpr int cycles_in_grace = 8;
  SimClusterOptions options;
  options.nodes = draw.one_in(3) ? draw.between(1, 7) : 3;
  options.loud = loud;
  options.node.gc_delay = grace;
  options.node.gc_interval = grace / cycles_in_grace;
  Outcome outcome;
  {
    SimCluster cluster(world, options);
    if (draw.one_in(4)) cluster.etcd().version = "3.4.23";
    auto workload = work_on(cluster);
    workload.run_all();
    note_workload(outcome, workload);
  }
  note_world(outcome, world);
  return outcome;
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
  return run_on_cluster(world, draw, grace, loud,
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
  return run_on_cluster(world, draw, std::chrono::hours(24), loud,
                        [&](SimCluster& cluster) { return OracleRun(world, cluster, work); });
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
  }
  return "";
}

Outcome run_seed(const SeedRun& run, bool loud) {
  switch (run.workload) {
    case Workload::node: return run_node(run, loud);
    case Workload::cluster: return run_cluster(run, loud);
    case Workload::oracle: return run_oracle(run, loud);
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
  std::size_t operations = OracleOptions{}.operations;
  if (run.workload != Workload::oracle) {
    const bool cluster = run.workload == Workload::cluster;
    clients = cluster ? ClusterPushPullOptions{}.clients : PushPullOptions{}.clients;
    operations = cluster ? ClusterPushPullOptions{}.operations : PushPullOptions{}.operations;
  }
  shrink(run, &SeedRun::operations, run.operations != 0 ? run.operations : operations);
  shrink(run, &SeedRun::clients, run.clients != 0 ? run.clients : clients);
  return run;
}

}  // namespace hansa::sim
