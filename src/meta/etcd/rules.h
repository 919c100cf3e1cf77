// The decisions of etcd::Store, as pure functions: what a commit becomes, what a version of etcd can be trusted with,
// and whether a change set follows what the view has.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "meta/etcd/channel.h"
#include "meta/store.h"

namespace hansa::meta::etcd {

struct ServerVersion {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned patch = 0;
  auto operator<=>(const ServerVersion&) const = default;
};
// "3.4.23", "3.6.9-rc.1"; zeros where it is not understood.
ServerVersion parse_version(std::string_view text);
// etcd's linearizable reads can be stale before 3.4.42, 3.5.28 and 3.6.9 (H2): a barrier then goes through the log.
bool reads_are_linearizable(const ServerVersion& version);
// Older ones lack what Hansa needs (learners).
inline constexpr ServerVersion oldest_version{3, 4, 0};

// First key after all keys with `prefix`.
std::string prefix_end(std::string_view prefix);

// Keys that leases take away, in revisions without a head.
bool is_leased_key(std::string_view key);

// A commit as a transaction. `mod_of` gives the view's mod of a key (0: absent) for deletes that no compare covers.
TxnRequest to_transaction(const Commit& commit, std::string_view prefix,
                          const std::function<Revision(const std::string& key)>& mod_of);

// Whether a commit makes the store larger: it creates more keys than it deletes. Signs of life, leaderships and marks
// do not count. Such commits are refused near the quota, while removals go on (H15).
bool grows(const Commit& commit);

struct HeadPosition {  // of the view
  std::uint64_t version = 0;
  std::string operation;
};
enum class Sequence : std::uint8_t {
  follows,  // apply it
  gap,      // events are missing: load anew
  foreign,  // somebody else writes below the prefix: apply it, and raise the alarm
};
// `changes` comes after everything at `head`; moves `head` on.
Sequence check_sequence(HeadPosition& head, const ChangeSet& changes);

// Whether what a linearizable read shows proves that the store went back in time (H2).
bool went_back(const HeadPosition& view, Revision applied, std::uint64_t version, std::string_view operation,
               Revision revision);

}  // namespace hansa::meta::etcd
