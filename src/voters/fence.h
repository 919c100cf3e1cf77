// Fence: whether this machine's etcd may start on the data that lies there (H3, H4).
//
// A folder that was restored from an old copy, or cloned with its machine, looks like its own. Its etcd would vote
// under a member id for which it has forgotten what it acknowledged, or that another uses. The other voters know: their
// node/<id> shows a later start than disk.json, holds/<id> a later mark, or alive/<id> that somebody lives. They are
// read as they stand, without a quorum: one that answers is enough. Where none does (all start from cold) the data is
// believed.
//
// Thread rule: ask_others() on an executor; judge() is pure.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/task.h"
#include "meta/etcd/channel.h"

namespace hansa::voters {

inline constexpr io::Duration fence_deadline = std::chrono::seconds(1);   // of one question
inline constexpr io::Duration fence_patience = std::chrono::seconds(12);  // for the sign of life of the life before

// What disk.json says of the starts of this disk (node/identity.h).
struct OwnStart {
  std::string node;
  std::string disk;
  std::string boot;
  std::string next;
  meta::Revision at = 0;    // of node/<id> as `boot` had put it, or before
  std::uint64_t marks = 0;  // number of the newest mark
};

// What one voter shows of this node.
struct Sighting {
  std::optional<meta::KeyValue> node;
  std::optional<meta::KeyValue> mark;
  bool alive = false;
};

enum class Claim : std::uint8_t {
  good,
  old_copy,  // this disk was in use later than its files know
  lives,     // another process is alive as this node
};
// A voter that lags behind shows a start before this disk's last one: it says nothing.
Result<Claim> judge(const OwnStart& own, const Sighting& seen);

// Waits for the sign of life of a life before to run out; `lives`: it did not, though there is a quorum.
io::Task<Result<Claim>> ask_others(std::vector<std::shared_ptr<meta::etcd::Channel>> others, std::string prefix,
                                   OwnStart own);

}  // namespace hansa::voters
