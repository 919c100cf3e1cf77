// One seed of the simulator: which workload it is, how it is made smaller, and what came of it.
//
//   SeedRun run{.workload = Workload::cluster, .seed = 42};
//   Outcome outcome = run_seed(run, false);
//   if (!outcome.violations.empty()) std::puts(command_of(minimise(run)).c_str());
//
// The same run gives the same trace. Single-threaded.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "io/time.h"

namespace hansa::sim {

// Kinds of faults that a run can do without.
inline constexpr std::string_view fault_kinds[] = {"crashes", "disks", "rot", "churn", "wires", "etcd", "versions"};

enum class Workload : std::uint8_t {
  node,     // clients on one node (push_pull.h)
  cluster,  // clients on a cluster (cluster_push_pull.h)
  oracle,   // one client, whose answers are those of a reference registry (oracle_run.h)
  memory,   // one client of a cluster that leaves nothing behind, nor may its members (memory_run.h)
};
// Its name on a command line; of one node it may be left out.
std::string_view to_string(Workload workload);

struct SeedRun {
  Workload workload = Workload::node;
  std::uint64_t seed = 0;
  std::size_t clients = 0;        // 0: as many as the workload has
  std::size_t operations = 0;     // of each client; 0: the same
  std::set<std::string> without;  // of fault_kinds
};

struct Outcome {
  std::uint64_t trace = 0;
  std::uint64_t events = 0;
  std::uint64_t acknowledged = 0;  // pushes; of an oracle's run requests
  std::uint64_t crashes = 0;
  io::Duration time{};
  std::vector<std::string> violations;
};

// `loud`: logs go to standard error.
Outcome run_seed(const SeedRun& run, bool loud);

// The command that repeats it.
std::string command_of(const SeedRun& run);

// A run with fewer faults, operations and clients that a checker still objects to; not always to the same thing.
// REQUIRES: one does to this.
SeedRun minimise(SeedRun run);

}  // namespace hansa::sim
