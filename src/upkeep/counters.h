// Counters: counts pulls in memory, puts them as batches every flush_interval if there was any, and, as leader of the
// task "pulls", folds all nodes' batches into stats/<name> (catalog/counter_plan.h). Whatever becomes of a commit, a
// batch is counted once; a crash loses at most what was not put yet.
//
// Thread rule: count_pull() from any thread; the rest on one executor. What is given outlives it; close the scope
// first, then flush() once more.
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/log.h"
#include "catalog/catalog.h"
#include "catalog/counter_plan.h"
#include "catalog/pull_counter.h"
#include "io/clock.h"
#include "io/scope.h"
#include "upkeep/task_leader.h"

namespace hansa::upkeep {

inline constexpr io::Duration flush_interval = std::chrono::seconds(5);
inline constexpr io::Duration fold_interval = std::chrono::seconds(10);
inline constexpr std::size_t max_flush_batches = 16;  // at a time; the rest follows
inline constexpr int max_folds = 50;                  // commits at a time
inline constexpr std::size_t max_counted = 3000;      // references in memory per shard; further ones are not counted
inline constexpr io::Duration last_flush_limit = std::chrono::seconds(2);  // of a clean stop

class Counters final : public catalog::PullCounter {
 public:
  struct Ports {
    meta::MetadataStore& store;
    catalog::Catalog& catalog;
    io::Clock& clock;
    Logger& log;
    std::string node;
    std::string boot;  // nonce of this start: ids of batches are never used again
  };
  explicit Counters(Ports ports);

  void count_pull(const oci::RepositoryName& repository, const oci::Digest& digest, const oci::Tag* tag) override;

  void run(io::TaskScope& scope);
  // Puts what was counted. On an error it is kept, and put by a later call.
  io::Task<Result<void>> flush();
  // Folds what lies there, if this node leads.
  io::Task<Result<void>> fold();
  std::uint64_t not_counted() const { return not_counted_; }  // pulls over max_counted, since the start

 private:
  struct Pulled {
    std::string repository;
    oci::Digest digest;
    std::string tag;
  };
  struct PulledRef {
    std::string_view repository;
    const oci::Digest& digest;
    std::string_view tag;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const PulledRef& key) const noexcept;
    std::size_t operator()(const Pulled& key) const noexcept {
      return (*this)(PulledRef{key.repository, key.digest, key.tag});
    }
  };
  struct Equal {
    using is_transparent = void;
    template <class A, class B>
    bool operator()(const A& a, const B& b) const noexcept {
      return a.digest == b.digest && a.repository == b.repository && a.tag == b.tag;
    }
  };
  struct alignas(64) Shard {
    std::mutex mutex;
    std::unordered_map<Pulled, catalog::PullCount, Hash, Equal> counts;  // zero: known, not pulled since the last flush
  };
  struct Batch {
    std::string id;
    catalog::PullBatchRecord record;
  };

  void gather();
  void next_batch();
  io::Task<void> flush_loop();
  io::Task<void> fold_loop();

  Ports ports_;
  TaskLeader leader_;
  std::array<Shard, 16> shards_;
  std::atomic<std::uint64_t> not_counted_ = 0;
  catalog::PullsOf pending_;        // gathered, in no batch yet
  std::optional<Batch> under_way_;  // not known to be put
  std::uint64_t last_batch_ = 0;
};

}  // namespace hansa::upkeep
