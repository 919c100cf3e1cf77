// MetadataStore: ordered keys with revisions and compare-and-commit: the metadata plane's one truth (DESIGN.md 5.1).
//
// Every commit is one revision. A key has a *create* revision (when it last came into being), a *mod* revision (its
// last change) and a *version* (changes since it was created). The store itself puts the key `head` in every commit:
// {"op": operation id, "n": number of other keys changed}; callers never write it.
//
// Thread rule: every method may be called from any executor's thread; results come back on the caller's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/task.h"
#include "io/time.h"

namespace hansa::meta {

using Revision = std::uint64_t;  // 0: before everything; as a compare: "absent"

inline constexpr std::string_view head_key = "head";

// Limits of one commit (etcd's, kept everywhere so that one node and a cluster run the same plans).
inline constexpr std::size_t max_compares = 120;
inline constexpr std::size_t max_writes = 120;
inline constexpr std::size_t max_commit_bytes = 512 * 1024;
inline constexpr std::size_t max_key_bytes = 1024;

struct KeyValue {
  std::string key;
  std::string value;
  Revision create = 0;
  Revision mod = 0;
  std::uint64_t version = 0;
};

struct Compare {
  enum class Field : std::uint8_t { mod, create };
  std::string key;
  Revision equals = 0;  // 0: the key is absent
  Field field = Field::mod;
};

using LeaseId = std::uint64_t;  // 0: none

struct Put {
  std::string key;
  std::string value;
  LeaseId lease = 0;
};

// All compares hold and everything is written at one revision, or nothing happens. A key is written once.
struct Commit {
  std::string operation;  // unique id; stands in `head` and, by the caller's hand, in the values
  std::vector<Compare> compares;
  std::vector<Put> puts;
  std::vector<std::string> deletes;  // an absent key is no change
};

enum class CommitStatus : std::uint8_t {
  committed,  // durable and visible
  conflict,   // a compare did not hold; nothing happened
  unknown,    // it happened or not, or still may: submit the identical commit again to learn (design review, H8)
};

struct CommitOutcome {
  CommitStatus status = CommitStatus::unknown;
  Revision revision = 0;  // of the commit, when committed
};

struct Change {
  KeyValue now;  // value empty and version 0 for a delete
  bool deleted = false;
};

// What one revision changed, in key order, `head` included.
struct ChangeSet {
  Revision revision = 0;
  std::vector<Change> changes;
};

// For implementations. Refuses commits over the limits, keys written twice, and writes of `head`.
Result<void> check_limits(const Commit& commit);
// The value of `head`.
std::string head_value(std::string_view operation, std::size_t changes);
// And what it says.
std::string head_operation(std::string_view value);
std::size_t head_changes(std::string_view value);

// A consistent picture at one revision. Short-lived: it pins resources of the store. Use from one thread, do not hold
// across a suspension.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  virtual Revision revision() const = 0;
  virtual Result<std::unique_ptr<KeyValue>> get(std::string_view key) = 0;  // null: absent
  // Keys that start with `prefix` and are greater than `after` (all when empty), in byte order, at most `limit`.
  virtual Result<std::vector<KeyValue>> range(std::string_view prefix, std::string_view after, std::size_t limit) = 0;
};

// Keeps a lease alive until dropped; its keys vanish a TTL after the last sign of life. Liveness and leadership only,
// never safety.
class Lease {
 public:
  virtual ~Lease() = default;
  virtual LeaseId id() const = 0;
  virtual bool alive() const = 0;
};

// Ends the subscription when destroyed; no call of the listener is under way after that.
class Subscription {
 public:
  virtual ~Subscription() = default;
};

// What a barrier vouches for.
struct Fence {
  Revision revision = 0;
  // All that were answered at once have the same number: what one of them then reads in a snapshot serves the others as
  // well as a look of their own. 0: this answer was for one alone.
  std::uint64_t round = 0;
};

class MetadataStore {
 public:
  virtual ~MetadataStore() = default;
  virtual Result<std::unique_ptr<Snapshot>> snapshot() = 0;
  // Linearizable fence: a snapshot taken after it completes shows every commit that was acknowledged before it began.
  virtual io::Task<Result<Fence>> barrier() = 0;
  // Errors (nothing happened): invalid for a commit over the limits, unavailable, too_many waiting; and out_of_space,
  // after which a barrier must tell: etcd has carried some of those out that it answers so.
  virtual io::Task<Result<CommitOutcome>> commit(Commit commit) = 0;
  // Calls `listener` with every ChangeSet after `from`, in order, on a thread of the store: it must be quick and must
  // not call the store. range error when `from` is older than the history that is kept: read everything anew.
  virtual Result<std::unique_ptr<Subscription>> follow(Revision from,
                                                       std::function<void(const ChangeSet&)> listener) = 0;
  virtual io::Task<Result<std::unique_ptr<Lease>>> lease(io::Duration ttl) = 0;
};

}  // namespace hansa::meta
