// hansa_sim: runs clients that push and pull over many seeds, on one node or on a cluster (--cluster). A failing seed
// prints the command that repeats it. --list runs the seeds of a file (sim/regressions.txt) instead.
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

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
  const char* list = nullptr;
};

// A seed to run, and of a list what once failed there.
struct Job {
  bool cluster = false;
  std::uint64_t seed = 0;
  std::string about;
};

// Three members, at times one to seven.
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
  options.nodes = draw.one_in(3) ? draw.between(1, 7) : 3;
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

Outcome run(const Job& job, bool loud) {
  return job.cluster ? run_cluster_seed(job.seed, loud) : run_seed(job.seed, loud);
}

bool report(const Job& job, const Outcome& outcome) {
  for (const auto& text : outcome.violations) {
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(job.seed), text.c_str());
  }
  if (outcome.violations.empty()) return true;
  if (!job.about.empty()) std::printf("  what once failed there: %s\n", job.about.c_str());
  std::printf("  repeat with: ./dev sim %s--seeds 1 --from %llu --trace\n", job.cluster ? "--cluster " : "",
              static_cast<unsigned long long>(job.seed));
  return false;
}

bool read_number(const char* text, std::uint64_t& out) {
  return std::from_chars(text, text + std::strlen(text), out).ec == std::errc{};
}

// "node|cluster SEED WHAT WAS WRONG" a line; `#` begins a comment. False: a line is none of these.
bool read_list(const char* path, std::vector<Job>& jobs) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.empty() || line.starts_with('#')) continue;
    std::istringstream words(line);
    std::string kind;
    Job job;
    words >> kind >> job.seed >> std::ws;
    std::getline(words, job.about);
    job.cluster = kind == "cluster";
    if ((kind != "node" && !job.cluster) || job.about.empty()) {
      std::fprintf(stderr, "hansa_sim: %s has a line that names no seed: %s\n", path, line.c_str());
      return false;
    }
    jobs.push_back(std::move(job));
  }
  if (jobs.empty()) std::fprintf(stderr, "hansa_sim: %s names no seed, or cannot be read\n", path);
  return !jobs.empty();
}

bool read_options(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const bool last = i + 1 == argc;
    if (option == "--trace") {
      options.trace = true;
    } else if (option == "--cluster") {
      options.cluster = true;
    } else if (option == "--list" && !last) {
      options.list = argv[++i];
    } else if (option == "--seeds" && !last) {
      if (!read_number(argv[++i], options.seeds)) return false;
    } else if (option == "--from" && !last) {
      if (!read_number(argv[++i], options.from)) return false;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!read_options(argc, argv, options)) {
    std::fprintf(stderr, "usage: hansa_sim [--cluster] [--seeds N] [--from S] [--trace] | --list FILE [--trace]\n");
    return 2;
  }
  std::vector<Job> jobs;
  if (options.list != nullptr) {
    if (!read_list(options.list, jobs)) return 2;
    options.from = jobs.front().seed;
    options.seeds = jobs.size();
  }
  // A line per failing seed must be there even if a later one stops the process.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::uint64_t failed = 0;
  Outcome total;
  for (std::uint64_t i = 0; i < options.seeds; ++i) {
    const Job job = jobs.empty() ? Job{options.cluster, options.from + i, {}} : jobs[i];
    Outcome outcome = run(job, options.trace);
    if (job.seed % repeat_every == 0 && run(job, false).trace != outcome.trace) {
      outcome.violations.emplace_back("the same seed gave another trace");
    }
    if (!report(job, outcome)) ++failed;
    if (options.trace)
      std::printf("seed %llu: trace %016llx\n", static_cast<unsigned long long>(job.seed),
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
