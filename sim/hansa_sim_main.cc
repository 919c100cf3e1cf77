// hansa_sim: runs clients that push and pull over many seeds, on one node, on a cluster (--cluster), on a cluster
// beside a reference registry that must answer alike (--oracle), or on one that must not grow in memory (--memory). A
// failing seed prints the command that repeats it, and with --minimise the smallest one found that fails too. --list
// runs the seeds of a file (sim/regressions.txt) instead.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "sim/seed_run.h"

namespace {

using hansa::sim::Outcome;
using hansa::sim::SeedRun;
using hansa::sim::Workload;

constexpr std::uint64_t repeat_every = 10;  // every tenth seed runs twice, and must give the same trace

struct Options {
  std::uint64_t seeds = 100;
  std::uint64_t from = 1;
  SeedRun run;
  bool trace = false;
  bool minimise = false;
  const char* list = nullptr;
};

// A seed to run, and of a list what once failed there.
struct Job {
  SeedRun run;
  std::string about;
};

bool report(const Job& job, const Outcome& outcome, bool minimise) {
  for (const auto& text : outcome.violations) {
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(job.run.seed), text.c_str());
  }
  if (outcome.violations.empty()) return true;
  if (!job.about.empty()) std::printf("  what once failed there: %s\n", job.about.c_str());
  std::printf("  repeat with: %s\n", command_of(job.run).c_str());
  if (minimise) std::printf("  fails smaller: %s\n", command_of(hansa::sim::minimise(job.run)).c_str());
  return false;
}

bool read_number(const char* text, std::uint64_t& out) {
  return std::from_chars(text, text + std::strlen(text), out).ec == std::errc{};
}

bool read_workload(std::string_view name, hansa::sim::Workload& out) {
  for (const auto one : {Workload::node, Workload::cluster, Workload::oracle, Workload::memory}) {
    if (to_string(one) != name) continue;
    out = one;
    return true;
  }
  return false;
}

// "node|cluster|oracle|memory SEED WHAT WAS WRONG" a line; `#` begins a comment. False: a line is none of these.
bool read_list(const char* path, std::vector<Job>& jobs) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.empty() || line.starts_with('#')) continue;
    std::istringstream words(line);
    std::string kind;
    Job job;
    words >> kind >> job.run.seed >> std::ws;
    std::getline(words, job.about);
    if (!read_workload(kind, job.run.workload) || job.about.empty()) {
      std::fprintf(stderr, "hansa_sim: %s has a line that names no seed: %s\n", path, line.c_str());
      return false;
    }
    jobs.push_back(std::move(job));
  }
  if (jobs.empty()) std::fprintf(stderr, "hansa_sim: %s names no seed, or cannot be read\n", path);
  return !jobs.empty();
}

bool read_size(const char* text, std::size_t& out) {
  std::uint64_t number = 0;
  if (!read_number(text, number) || number == 0) return false;
  out = number;
  return true;
}

bool read_options(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--trace" || option == "--minimise") {
      options.trace = options.trace || option == "--trace";
      options.minimise = options.minimise || option == "--minimise";
      continue;
    }
    if (option.starts_with("--") && read_workload(option.substr(2), options.run.workload)) continue;
    if (++i == argc) return false;
    const char* value = argv[i];
    bool good = true;
    if (option == "--list") {
      options.list = value;
    } else if (option == "--seeds") {
      good = read_number(value, options.seeds);
    } else if (option == "--from") {
      good = read_number(value, options.from);
    } else if (option == "--clients") {
      good = read_size(value, options.run.clients);
    } else if (option == "--operations") {
      good = read_size(value, options.run.operations);
    } else if (option == "--without") {
      good = std::ranges::find(hansa::sim::fault_kinds, std::string_view(value)) != std::end(hansa::sim::fault_kinds);
      options.run.without.emplace(value);
    } else {
      good = false;
    }
    if (!good) return false;
  }
  return true;
}

constexpr const char* usage =
    "usage: hansa_sim [--cluster | --oracle | --memory] [--seeds N] [--from S] [--trace] [--minimise]\n"
    "                 [--clients N] [--operations N] [--without crashes|disks|rot|churn|wires|etcd|versions]...\n"
    "       hansa_sim --list FILE [--trace] [--minimise]\n";

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!read_options(argc, argv, options)) {
    std::fputs(usage, stderr);
    return 2;
  }
  std::vector<Job> jobs;
  if (options.list != nullptr) {
    if (!read_list(options.list, jobs)) return 2;
    options.from = jobs.front().run.seed;
    options.seeds = jobs.size();
  }
  // A line per failing seed must be there even if a later one stops the process.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::uint64_t failed = 0;
  Outcome total;
  for (std::uint64_t i = 0; i < options.seeds; ++i) {
    Job job{.run = options.run, .about = {}};
    job.run.seed = options.from + i;
    if (!jobs.empty()) job = jobs[i];
    Outcome outcome = run_seed(job.run, options.trace);
    if (job.run.seed % repeat_every == 0 && run_seed(job.run, false).trace != outcome.trace) {
      outcome.violations.emplace_back("the same seed gave another trace");
    }
    if (!report(job, outcome, options.minimise)) ++failed;
    if (options.trace)
      std::printf("seed %llu: trace %016llx\n", static_cast<unsigned long long>(job.run.seed),
                  static_cast<unsigned long long>(outcome.trace));
    total.events += outcome.events;
    total.acknowledged += outcome.acknowledged;
    total.crashes += outcome.crashes;
    total.time += outcome.time;
  }
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(total.time).count();
  std::printf(
      "%llu seeds from %llu: %llu failed; %lld virtual minutes, %llu events, %llu acknowledged %s, %llu crashes\n",
      static_cast<unsigned long long>(options.seeds), static_cast<unsigned long long>(options.from),
      static_cast<unsigned long long>(failed), static_cast<long long>(minutes),
      static_cast<unsigned long long>(total.events), static_cast<unsigned long long>(total.acknowledged),
      options.run.workload == Workload::oracle ? "requests" : "pushes", static_cast<unsigned long long>(total.crashes));
  return failed == 0 ? 0 : 1;
}
