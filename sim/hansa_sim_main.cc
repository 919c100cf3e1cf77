// hansa_sim: runs clients that push and pull over many seeds, on one node or on a cluster (--cluster). A failing seed
// prints the command that repeats it.
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string>

#include "sim/cluster_push_pull.h"
#include "sim/push_pull.h"

namespace {

using hansa::sim::ClusterPushPull;
using hansa::sim::PushPull;
using hansa::sim::PushPullOptions;
using hansa::sim::SimCluster;
using hansa::sim::SimNode;
using hansa::sim::World;

constexpr std::uint64_t repeat_every = 10;  // every tenth seed runs twice, and must give the same trace

struct Outcome {
  std::uint64_t trace = 0;
  std::uint64_t events = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t crashes = 0;
  hansa::io::Duration time{};
  std::vector<std::string> violations;
};

struct Options {
  std::uint64_t seeds = 100;
  std::uint64_t from = 1;
  bool cluster = false;
  bool trace = false;
};

// Three members, at times one to five.
template <class Workload>
void note_workload(Outcome& outcome, const Workload& workload) {
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

Outcome run_cluster_seed(std::uint64_t seed, bool loud) {
  World world({.seed = seed, .order = hansa::sim::Order::between_executors});
  auto draw = world.random("cluster");
  // With the smallest grace time a tick is half a second, so that pauses and slow commits last for several.
  const hansa::io::Duration grace = draw.one_in(2) ? std::chrono::seconds(4) : std::chrono::seconds(40);
  hansa::sim::SimClusterOptions options;
  options.nodes = draw.one_in(3) ? draw.between(1, 5) : 3;
  options.loud = loud;
  options.node.gc_delay = grace;
  options.node.gc_interval = grace / 8;
  Outcome outcome;
  {
    SimCluster cluster(world, options);
    if (draw.one_in(4)) cluster.etcd().version = "3.4.23";
    ClusterPushPull workload(world, cluster, grace);
    workload.run_all();
    note_workload(outcome, workload);
  }
  note_world(outcome, world);
  return outcome;
}

Outcome run_seed(std::uint64_t seed, bool loud) {
  World world({.seed = seed, .order = hansa::sim::Order::between_executors});
  auto draw = world.random("node");
  hansa::node::Options options;
  options.root = "/data";
  options.gc_delay = std::chrono::seconds(4);
  options.gc_interval = std::chrono::seconds(2);
  if (draw.one_in(3)) options.verify_every = {};
  SimNode node(world, "node-1", options, loud);
  Outcome outcome;
  auto started = node.start();
  if (!started) {
    outcome.violations.push_back(hansa::describe(started.error()));
    return outcome;
  }
  PushPull workload(world, node, PushPullOptions{.grace = options.gc_delay});
  workload.run_all();
  if (node.running()) node.stop();
  note_workload(outcome, workload);
  note_world(outcome, world);
  return outcome;
}

Outcome run(const Options& options, std::uint64_t seed, bool loud) {
  return options.cluster ? run_cluster_seed(seed, loud) : run_seed(seed, loud);
}

bool report(const Options& options, std::uint64_t seed, const Outcome& outcome) {
  for (const auto& text : outcome.violations) {
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), text.c_str());
  }
  if (outcome.violations.empty()) return true;
  std::printf("  repeat with: ./dev sim %s--seeds 1 --from %llu --trace\n", options.cluster ? "--cluster " : "",
              static_cast<unsigned long long>(seed));
  return false;
}

bool read_number(const char* text, std::uint64_t& out) {
  return std::from_chars(text, text + std::strlen(text), out).ec == std::errc{};
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const bool takes_number = option == "--seeds" || option == "--from";
    auto& number = option == "--seeds" ? options.seeds : options.from;
    if (option == "--trace") {
      options.trace = true;
    } else if (option == "--cluster") {
      options.cluster = true;
    } else if (!takes_number || i + 1 == argc || !read_number(argv[++i], number)) {
      std::fprintf(stderr, "usage: hansa_sim [--cluster] [--seeds N] [--from S] [--trace]\n");
      return 2;
    }
  }
  // A line per failing seed must be there even if a later one stops the process.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::uint64_t failed = 0;
  Outcome total;
  for (std::uint64_t seed = options.from; seed < options.from + options.seeds; ++seed) {
    Outcome outcome = run(options, seed, options.trace);
    if (seed % repeat_every == 0 && run(options, seed, false).trace != outcome.trace) {
      outcome.violations.emplace_back("the same seed gave another trace");
    }
    if (!report(options, seed, outcome)) ++failed;
    if (options.trace)
      std::printf("seed %llu: trace %016llx\n", static_cast<unsigned long long>(seed),
                  static_cast<unsigned long long>(outcome.trace));
    total.events += outcome.events;
    total.acknowledged += outcome.acknowledged;
    total.crashes += outcome.crashes;
    total.time += outcome.time;
  }
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(total.time).count();
  std::printf(
      "%llu seeds from %llu: %llu failed; %lld virtual minutes, %llu events, %llu acknowledged pushes, %llu crashes\n",
      static_cast<unsigned long long>(options.seeds), static_cast<unsigned long long>(options.from),
      static_cast<unsigned long long>(failed), static_cast<long long>(minutes),
      static_cast<unsigned long long>(total.events), static_cast<unsigned long long>(total.acknowledged),
      static_cast<unsigned long long>(total.crashes));
  return failed == 0 ? 0 : 1;
}
