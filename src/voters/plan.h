// The planner of voters, pure: what etcd's members, the seats and the cluster's members say, in; at most one next step,
// out. Rules (DESIGN.md section 2; H3):
//
//  - one change at a time: while a learner is there, nothing is added
//  - a seat that is asked for makes the old member of that node go first: its data is gone, so its vote must not count
//  - a voter is removed only while the others that answer are a quorum of all, and at least two (or all that remain)
//  - a learner is promoted only when it answers itself, at the leader's index, and its node said that it started it
//  - a member whose node is gone for ever is removed; one that is dead for long is replaced first, if somebody can
//  - a voter too many goes once all answer (a dead one came back after its replacement)
//  - a learner that has not answered for long goes, and whoever has waited longest for a seat is next
//  - two members rest at two voters, shown as degraded
//  - while all answer and nothing else is to do, one at a time gives back what its database does not use, the leader
//    last: etcd goes by the file's size, and refuses writes near its quota
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "voters/seats.h"

namespace hansa::voters {

inline constexpr std::uint64_t promote_lag = 1000;  // raft entries behind the leader
inline constexpr double defragment_from = 0.6;      // of the quota, where less than half of that is in use

struct Voter {  // a member of etcd
  std::uint64_t id = 0;
  std::string name;  // the node's id; empty: it never started
  std::string peer_url = {};
  std::string client_url = {};  // empty: it never started
  bool learner = false;
  bool answers = false;       // it gave its own status just now
  bool silent_long = false;   // it has not for longer than the repair delay
  bool leader = false;        // this and what follows by its own word
  std::uint64_t applied = 0;  // raft entries
  std::uint64_t db_size = 0;  // bytes
  std::uint64_t db_in_use = 0;
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
  std::uint64_t quota = 0;  // bytes of a voter's database
  bool no_space = false;    // the alarm of a full one stands
  std::uint64_t leader_applied = 0;
  std::vector<Voter> voters;
  std::vector<VoterNode> nodes;
  std::vector<Seat> seats;
};

struct VoterStep {
  enum class Kind : std::uint8_t { none, add, promote, remove, defragment, disarm };
  Kind kind = Kind::none;
  std::uint64_t member = 0;  // promote, remove, defragment
  std::string node;          // add: whose seat is granted
};

VoterStep next_step(const VoterPicture& picture);
// What is not as it should be, in words; empty: all is well.
std::vector<std::string> degraded(const VoterPicture& picture);
// Whether the others could go on without this node's voter.
bool may_stop(const VoterPicture& picture, const std::string& node);

}  // namespace hansa::voters
