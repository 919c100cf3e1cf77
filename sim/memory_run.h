// MemoryRun: a client asks the members of a cluster for everything that takes memory, over and over, each time for
// something else: images, indexes, attachments and tags that it deletes again, uploads that it leaves alone, breaks off
// or repeats, names and digests that nobody has, pushes that are refused; wires are cut meanwhile. After each epoch it
// takes back what is there, and waits until nothing is left to collect and no peer waits any more for what was broken
// off. What the process then has in use must not grow with the number of epochs (P11), nor may etcd.
//
// What is measured is the heap in use (mallinfo2) without what the simulated disks hold. No member crashes, which would
// empty its memory. A sanitizer has a heap of its own: nothing is measured there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/answer.h"
#include "sim/image.h"
#include "sim/sim_cluster.h"

namespace hansa::sim {

struct MemoryOptions {
  std::size_t epochs = 7;
  std::size_t rounds = 200;  // of an epoch
  bool cuts = true;
};

class MemoryRun {
 public:
  // `cluster` is not started yet; `grace` is its grace time, and sessions of uploads end after it too.
  MemoryRun(World& world, SimCluster& cluster, io::Duration grace, MemoryOptions options = {});

  // Starts the cluster, runs all epochs and looks at what they left.
  void run_all();

  const std::vector<std::string>& violations() const { return violations_; }
  std::uint64_t acknowledged() const { return acknowledged_; }  // pushes
  static std::uint64_t crashes() { return 0; }
  static bool measures();  // false: a sanitizer is at work

 private:
  template <class T>
  using Use = std::function<io::Task<Result<T>>(registry::Registry&)>;
  template <class T>
  io::Task<Answer<T>> ask(Use<T> use);

  io::Task<void> rounds();
  io::Task<void> push(Image image, oci::RepositoryName repository);
  io::Task<void> leave_uploads(oci::RepositoryName repository);
  io::Task<void> ask_for_nothing();
  io::Task<void> take_back();
  void disturb();
  std::size_t heap_in_use();
  void check();
  void violation(const std::string& what);

  World& world_;
  SimCluster& cluster_;
  const io::Duration grace_;
  const MemoryOptions options_;
  SimExecutor executor_;
  SimRandom random_;
  SimRandom faults_;
  std::uint64_t fresh_ = 0;  // names that were never used
  std::vector<oci::RepositoryName> repositories_;
  std::vector<std::size_t> in_use_;  // bytes after each epoch
  std::vector<std::size_t> keys_;    // of etcd after each epoch
  std::vector<std::string> violations_;
  std::uint64_t acknowledged_ = 0;
};

}  // namespace hansa::sim
