#include "voters/plan.h"

#include <algorithm>

namespace hansa::voters {
namespace {

using Kind = VoterStep::Kind;

const VoterNode* node_of(const VoterPicture& picture, const std::string& id) {
  const auto found = std::ranges::find(picture.nodes, id, &VoterNode::id);
  return found == picture.nodes.end() ? nullptr : &*found;
}

const Seat* seat_of(const VoterPicture& picture, const std::string& node) {
  const auto found = std::ranges::find(picture.seats, node, &Seat::node);
  return found == picture.seats.end() ? nullptr : &*found;
}

// Whose member it is: by name once it started, else by the seat that was granted to it, and before that is written by
// its address, which may have been that of nodes that are gone.
std::string owner_of(const VoterPicture& picture, const Voter& voter) {
  if (!voter.name.empty()) return voter.name;
  const auto granted = [&](const Seat& seat) { return seat.record.member == member_text(voter.id); };
  const auto at_address = [&](const Seat& seat) {
    const VoterNode* node = node_of(picture, seat.node);
    return seat.record.peer_url == voter.peer_url && node != nullptr && !node->gone;
  };
  auto found = std::ranges::find_if(picture.seats, granted);
  if (found == picture.seats.end()) found = std::ranges::find_if(picture.seats, at_address);
  return found == picture.seats.end() ? std::string() : found->node;
}

std::size_t count_voters(const VoterPicture& picture) {
  return static_cast<std::size_t>(std::ranges::count(picture.voters, false, &Voter::learner));
}

// Those that answer, without this one.
std::size_t answering_without(const VoterPicture& picture, std::uint64_t id) {
  const auto counts = [id](const Voter& voter) { return !voter.learner && voter.answers && voter.id != id; };
  return static_cast<std::size_t>(std::ranges::count_if(picture.voters, counts));
}

bool may_remove(const VoterPicture& picture, const Voter& voter) {
  if (voter.learner) return true;
  const std::size_t all = count_voters(picture);
  const std::size_t others = answering_without(picture, voter.id);
  // The removal itself needs a quorum of all, and what is left must be one of its own with somebody to spare.
  return others >= all / 2 + 1 && others >= std::min<std::size_t>(2, all - 1);
}

// Its node asks for a seat anew: what this member knew is gone.
bool is_void(const VoterPicture& picture, const Voter& voter) {
  const Seat* seat = seat_of(picture, owner_of(picture, voter));
  if (seat == nullptr) return false;
  return seat->record.state == "asked" || seat->record.member != member_text(voter.id);
}

bool is_stray(const VoterPicture& picture, const Voter& voter) {
  const std::string owner = owner_of(picture, voter);
  const VoterNode* node = node_of(picture, owner);
  if (node != nullptr) return node->gone;
  return voter.learner;  // a learner of nobody holds up everything else
}

bool is_replaceable(const VoterPicture& picture, const Voter& voter) {
  const VoterNode* node = node_of(picture, owner_of(picture, voter));
  return node != nullptr && node->dead_long && !voter.answers;
}

VoterStep remove(const Voter& voter) {
  return {.kind = Kind::remove, .member = voter.id, .node = {}};
}

bool may_sit(const VoterPicture& picture, const Seat& seat) {
  const VoterNode* node = node_of(picture, seat.node);
  if (node == nullptr || !node->active || !node->alive || seat.record.state != "asked") return false;
  const auto own = [&](const Voter& voter) { return owner_of(picture, voter) == seat.node; };
  return std::ranges::none_of(picture.voters, own);
}

bool is_large(const VoterPicture& picture, const Voter& voter) {
  return static_cast<double>(voter.db_size) > defragment_from * static_cast<double>(picture.quota);
}

VoterStep space_step(const VoterPicture& picture) {
  const bool at_rest =
      std::ranges::all_of(picture.voters, [](const Voter& voter) { return voter.answers && !voter.learner; });
  if (!at_rest || picture.quota == 0) return {};
  const Voter* leader = nullptr;
  bool large = false;
  for (const auto& voter : picture.voters) {
    if (!is_large(picture, voter)) continue;
    large = true;
    if (voter.db_in_use >= voter.db_size / 2) continue;
    if (!voter.leader) return {.kind = Kind::defragment, .member = voter.id, .node = {}};
    leader = &voter;
  }
  if (leader != nullptr) return {.kind = Kind::defragment, .member = leader->id, .node = {}};
  if (picture.no_space && !large) return {.kind = Kind::disarm, .member = 0, .node = {}};
  return {};
}

VoterStep membership_step(const VoterPicture& picture) {
  for (const auto& voter : picture.voters) {
    const bool must_go = is_void(picture, voter) || is_stray(picture, voter);
    if (must_go && may_remove(picture, voter)) return remove(voter);
  }
  bool learning = false;
  for (const auto& voter : picture.voters) {
    if (!voter.learner) continue;
    learning = true;
    const Seat* seat = seat_of(picture, owner_of(picture, voter));
    const bool taken = seat != nullptr && seat->record.state == "taken";
    if (voter.silent_long) return remove(voter);
    const bool level = voter.answers && voter.applied + promote_lag >= picture.leader_applied;
    if (taken && level) return {.kind = Kind::promote, .member = voter.id, .node = {}};
  }
  if (learning) return {};
  const std::size_t voters = count_voters(picture);
  const auto replaceable = [&](const Voter& voter) { return is_replaceable(picture, voter); };
  const auto dead = static_cast<std::size_t>(std::ranges::count_if(picture.voters, replaceable));
  if (voters < picture.wanted + std::min<std::size_t>(dead, 1)) {
    const Seat* next = nullptr;
    for (const auto& seat : picture.seats) {
      if (may_sit(picture, seat) && (next == nullptr || seat.mod < next->mod)) next = &seat;
    }
    if (next != nullptr) return {.kind = Kind::add, .member = 0, .node = next->node};
  }
  if (voters <= picture.wanted) return {};
  for (const auto& voter : picture.voters) {
    if (replaceable(voter) && may_remove(picture, voter)) return remove(voter);
  }
  // The dead one came back once its replacement voted: an even number is more to lose and no more to stand on.
  const bool all_answer = std::ranges::all_of(picture.voters, &Voter::answers);
  if (all_answer && may_remove(picture, picture.voters.back())) return remove(picture.voters.back());
  return {};
}

}  // namespace

VoterStep next_step(const VoterPicture& picture) {
  const VoterStep step = membership_step(picture);
  return step.kind == Kind::none ? space_step(picture) : step;
}

std::vector<std::string> degraded(const VoterPicture& picture) {
  std::vector<std::string> out;
  const std::size_t voters = count_voters(picture);
  if (voters < picture.wanted) {
    out.push_back(std::to_string(voters) + " of " + std::to_string(picture.wanted) +
                  " voters hold the metadata: with fewer than three the loss of one stops writes");
  }
  for (const auto& voter : picture.voters) {
    const std::string owner = owner_of(picture, voter);
    if (voter.learner) {
      out.push_back("the voter of " + owner + " is catching up");
    } else if (!voter.answers) {
      out.push_back("the voter of " + owner + " does not answer");
    }
  }
  return out;
}

bool may_stop(const VoterPicture& picture, const std::string& node) {
  const auto own = [&](const Voter& voter) { return !voter.learner && owner_of(picture, voter) == node; };
  const auto found = std::ranges::find_if(picture.voters, own);
  if (found == picture.voters.end()) return true;
  return answering_without(picture, found->id) >= count_voters(picture) / 2 + 1;
}

}  // namespace hansa::voters
