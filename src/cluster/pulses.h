// Pulses: which members answer now, and how much they send, by a ping of each a few times a second. A lease says that a
// member lived some seconds ago; clients are sent to it only if its connection answered within the last second.
//
// Thread rule: run() on the executor; the rest from any thread. What is given outlives it; close the scope first.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "cluster/membership.h"
#include "cluster/peer_dispatch.h"
#include "io/clock.h"
#include "io/scope.h"

namespace hansa::cluster {

inline constexpr io::Duration pulse_interval = std::chrono::milliseconds(300);
inline constexpr io::Duration pulse_limit = std::chrono::milliseconds(800);  // of one ping
inline constexpr io::Duration pulse_life = std::chrono::seconds(1);          // of an answer

class Pulses {
 public:
  Pulses(io::PeerNetwork& peers, const Membership& members, io::Clock& clock)
      : peers_(peers), members_(members), clock_(clock) {}

  // Answers the verb "ping": {"node", "boot", "sending", "leaving"}.
  void serve(PeerDispatch& dispatch, std::string boot);
  void run(io::TaskScope& scope);

  // What the member said that it was sending to clients, in bytes; nullopt: no answer within pulse_life. Of this node
  // itself: as the others last heard it, so that all are compared at the same age.
  std::optional<std::uint64_t> fresh(const io::NodeId& id) const;

  // This node stops soon: the others are told, and send nobody here any more.
  void stand_aside() { leaving_ = true; }
  // Whether the member said that it stops soon; also once it has stopped, until it answers anew.
  bool leaving(const io::NodeId& id) const;

  // Bytes of bodies that this node sends now: one more for as long as the handle lives.
  std::shared_ptr<const void> sending(std::uint64_t bytes);

 private:
  struct Pulse {
    io::MonotonicTime at;
    std::uint64_t sending = 0;
    bool leaving = false;
    bool gone = false;  // the last ping was refused
  };
  io::Task<void> loop(io::TaskScope& scope);
  io::Task<void> ping(io::NodeId id);
  void note(const io::NodeId& id, Pulse heard);

  io::PeerNetwork& peers_;
  const Membership& members_;
  io::Clock& clock_;
  const std::shared_ptr<std::atomic<std::uint64_t>> sending_ = std::make_shared<std::atomic<std::uint64_t>>(0);
  std::atomic<bool> leaving_ = false;
  mutable std::mutex mutex_;
  std::map<io::NodeId, Pulse> pulses_;
  std::set<io::NodeId> asked_;  // pings under way
};

}  // namespace hansa::cluster
