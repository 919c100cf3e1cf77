// SimMetaStore: a MetadataStore in memory that a whole simulated cluster shares, with the warts of a distributed one.
// The truth is an ordered map with all its past; it lives in an executor of its own, so every call takes time and the
// calls of two nodes interleave as the seed says.
//
//   SimMetaStore store(world, "etcd");
//   store.next_commit(Fate::unknown_applied);        // the next commit, whoever sends it
//   store.set_faults({.unknown_lost = 50});          // or by chance, in thousandths, drawn from the seed
//   store.set_available(false);                      // every call fails with unavailable
//   store.compact(revision);                         // follow() from before it is a range error
//   store.expire(lease);                             // its keys go, though its holder lives
//
// Durable for ever: a node that crashes loses what it holds of it, not the store. Use from the world's thread; the
// store outlives snapshots, leases and subscriptions.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "io/scope.h"
#include "meta/store.h"
#include "sim/ports/world.h"

namespace hansa::sim {

// What becomes of a commit.
enum class Fate : std::uint8_t {
  normal,
  unavailable,      // refused, an error, nothing happened
  unknown_lost,     // unknown; it never happens
  unknown_applied,  // unknown; it happened, if its compares held
  unknown_late,     // unknown; it is tried again later, with whatever holds then
};

struct MetaFaults {
  // Chances in thousandths, for each commit or, of the feed, for each change set and follower.
  unsigned unavailable = 0;
  unsigned unknown_lost = 0;
  unsigned unknown_applied = 0;
  unsigned unknown_late = 0;
  unsigned lost_change = 0;      // a follower never hears of it: the next `head` it sees shows a jump
  unsigned repeated_change = 0;  // a follower hears of it twice
  io::Duration least_delay = std::chrono::microseconds(100);  // of a call, and again of its answer
  io::Duration most_delay = std::chrono::milliseconds(3);
  io::Duration most_late = std::chrono::seconds(30);  // of unknown_late
};

class SimMetaStore final : public meta::MetadataStore {
 public:
  SimMetaStore(World& world, std::string_view name);
  ~SimMetaStore() override;

  void set_faults(MetaFaults faults) { faults_ = faults; }
  void next_commit(Fate fate) { fates_.push_back(fate); }
  void set_available(bool available) { available_ = available; }
  void compact(meta::Revision revision);
  void expire(meta::LeaseId lease);
  meta::Revision revision() const { return revision_; }

  Result<std::unique_ptr<meta::Snapshot>> snapshot() override;
  io::Task<Result<meta::Fence>> barrier() override;
  io::Task<Result<meta::CommitOutcome>> commit(meta::Commit commit) override;
  Result<std::unique_ptr<meta::Subscription>> follow(meta::Revision from,
                                                     std::function<void(const meta::ChangeSet&)> listener) override;
  io::Task<Result<std::unique_ptr<meta::Lease>>> lease(io::Duration ttl) override;

 private:
  class View;
  class HeldLease;
  class Following;
  struct Entry {  // a key from revision `mod` on
    meta::KeyValue record;
    bool deleted = false;
    meta::LeaseId lease = 0;
  };
  using Past = std::vector<Entry>;
  struct Follower {
    std::function<void(const meta::ChangeSet&)> listener;
    io::Duration last_due{};  // change sets keep their order
  };

  io::Duration delay();
  Fate draw_fate();
  const Entry* newest(const std::string& key) const;
  bool holds(const meta::Compare& compare) const;
  Result<meta::CommitOutcome> apply(const meta::Commit& commit);
  meta::CommitOutcome write(const meta::Commit& commit);
  meta::Change put(const meta::Put& put, meta::Revision at);
  void publish(meta::ChangeSet changes);
  void deliver(std::uint64_t id, const meta::ChangeSet& changes);
  void send(std::uint64_t id, const meta::ChangeSet& changes);
  Result<meta::CommitOutcome> meet(Fate fate, const meta::Commit& commit);
  void end_lease_after(meta::LeaseId lease, io::Duration ttl);

  World& world_;
  SimExecutor executor_;
  SimRandom random_;
  MetaFaults faults_;
  std::deque<Fate> fates_;
  bool available_ = true;
  std::map<std::string, Past, std::less<>> keys_;
  meta::Revision revision_ = 0;
  std::deque<meta::ChangeSet> history_;
  meta::Revision compacted_ = 0;
  std::map<std::uint64_t, Follower> followers_;
  std::uint64_t last_follower_ = 0;
  std::set<meta::LeaseId> leases_;
  meta::LeaseId last_lease_ = 0;
};

}  // namespace hansa::sim
