// The planner of voters, pure: what etcd's members, the seats and the cluster's members say, in; at most one next step,
// out. Rules (DESIGN.md section 2; H3):
//
//  - one change at a time: while a learner is there, nothing is added
//  - a seat that is asked for makes the old member of that node go first: its data is gone, so its vote must not count
//  - a voter is removed only while the others that answer are a quorum of all, and at least two (or all that remain)
//  - a learner is promoted only when it answers itself, at the leader's index, and its node said that it started it
//  - a member whose node is gone for ever is removed; one that is dead for long is replaced first, if somebody can
//  - a voter too many goes once all answer (a dead one came back after its replacement)
//  - two members rest at two voters, shown as degraded
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "voters/seats.h"

namespace hansa::voters {

inline constexpr std::uint64_t promote_lag = 1000;  // raft entries behind the leader

struct Voter {  // a member of etcd
  std::uint64_t id = 0;
  std::string name;  // the node's id; empty: it never started
  std::string peer_url;
  bool learner = false;
  bool answers = false;       // it gave its own status just now
  std::uint64_t applied = 0;  // by its own word
};

struct VoterNode {  // a member of the cluster
  std::string id;
  bool active = false;
  bool alive = false;
  bool gone = false;
  bool dead_long = false;  // not alive for longer than the repair delay
};

struct VoterPicture {
  std::size_t wanted = 3;
  std::uint64_t leader_applied = 0;
  std::vector<Voter> voters;
  std::vector<VoterNode> nodes;
  std::vector<Seat> seats;
};

struct VoterStep {
  enum class Kind : std::uint8_t { none, add, promote, remove };
  Kind kind = Kind::none;
  std::uint64_t member = 0;  // promote, remove
  std::string node;          // add: whose seat is granted
};

VoterStep next_step(const VoterPicture& picture);
// What is not as it should be, in words; empty: all is well.
std::vector<std::string> degraded(const VoterPicture& picture);
// Whether the others could go on without this node's voter.
bool may_stop(const VoterPicture& picture, const std::string& node);

}  // namespace hansa::voters
