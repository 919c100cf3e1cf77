// The planner of voters in drawn worlds: machines go, come back, lose their disks. Every step it takes is judged
// against what raft needs, and once the world rests all must be well again.
#include "voters/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "sim/ports/random.h"

namespace hansa::voters {
namespace {

using Kind = VoterStep::Kind;

struct Machine {
  bool up = true;
  bool wiped = false;        // its etcd's data is gone
  std::uint64_t member = 0;  // as which its etcd runs; 0: it does not
  int down_for = 0;
};

// A cluster as its parts see it, moved by steps of the planner and by accidents.
class World {
 public:
  World(std::uint64_t seed, std::size_t machines, std::size_t wanted) : random_(seed) {
    picture_.wanted = wanted;
    for (std::size_t i = 0; i < machines; ++i) machines_["n" + std::to_string(i)] = {};
    Voter first{.id = ++last_, .name = "n0", .peer_url = url("n0"), .answers = true};
    picture_.voters.push_back(first);
    machines_["n0"].member = first.id;
    picture_.seats.push_back({.node = "n0", .record = seat("taken", "n0", first.id)});
  }

  void accident() {
    auto& [name, machine] = *std::next(machines_.begin(), static_cast<long>(random_.below(machines_.size())));
    switch (random_.below(4)) {
      case 0: machine.up = false; break;
      case 1: machine.up = true; break;
      case 2:
        machine.up = true;
        if (machine.member != 0) dead_ids_.insert(machine.member);
        machine.member = 0;
        machine.wiped = true;
        break;
      default: break;
    }
  }
  void all_return() {
    for (auto& [name, machine] : machines_) machine.up = true;
  }

  // What every node does by itself: asks for a seat, starts etcd when it was granted, says so.
  void nodes_act() {
    for (auto& [name, machine] : machines_) {
      machine.down_for = machine.up ? 0 : machine.down_for + 1;
      if (!machine.up) continue;
      auto found = std::ranges::find(picture_.seats, name, &Seat::node);
      if (found == picture_.seats.end()) {
        picture_.seats.push_back({.node = name, .record = seat("asked", name, 0)});
        continue;
      }
      const bool known =
          std::ranges::any_of(picture_.voters, [&](const Voter& v) { return v.id != 0 && v.id == machine.member; });
      if (machine.wiped || (found->record.state == "taken" && !known)) {
        found->record = seat("asked", name, 0);
        machine.wiped = false;
        machine.member = 0;
      } else if (found->record.state == "granted") {
        machine.member = number(found->record.member);
        found->record.state = "taken";
      }
    }
    for (auto& voter : picture_.voters) {
      const auto& machine = machines_[owner(voter)];
      voter.answers = machine.up && machine.member == voter.id;
      if (voter.answers) voter.name = owner(voter);
      voter.applied = voter.answers ? 1'000'000 : 0;
    }
    picture_.leader_applied = 1'000'000;
    picture_.nodes.clear();
    for (const auto& [name, machine] : machines_) {
      picture_.nodes.push_back(
          {.id = name, .active = true, .alive = machine.up, .gone = false, .dead_long = machine.down_for > 5});
    }
  }

  std::size_t voters() const {
    return count([](const Voter& v) { return !v.learner; });
  }
  std::size_t answering() const {
    return count([](const Voter& v) { return !v.learner && v.answers; });
  }
  bool has_quorum() const { return answering() >= voters() / 2 + 1; }

  // Takes the next step where etcd could carry it out; checks it. False: there is none.
  bool step() {
    const VoterStep next = next_step(picture_);
    if (next.kind == Kind::none || !has_quorum()) return false;
    const auto found = std::ranges::find(picture_.voters, next.member, &Voter::id);
    if (next.kind == Kind::add) {
      const auto learners = count([](const Voter& v) { return v.learner; });
      EXPECT_EQ(learners, 0U) << "one change at a time";
      const auto same = [&](const Voter& v) { return v.peer_url == url(next.node); };
      EXPECT_TRUE(std::ranges::none_of(picture_.voters, same)) << "the old member of a URL goes first";
      picture_.voters.push_back({.id = ++last_, .name = {}, .peer_url = url(next.node), .learner = true});
      std::ranges::find(picture_.seats, next.node, &Seat::node)->record = seat("granted", next.node, last_);
      owners_[last_] = next.node;
    } else if (found == picture_.voters.end()) {
      ADD_FAILURE() << "a step names a member that is not there";
      return false;
    } else if (next.kind == Kind::promote) {
      EXPECT_TRUE(found->learner && found->answers) << "only a learner that answers is promoted";
      EXPECT_FALSE(dead_ids_.contains(found->id)) << "a wiped member never votes again";
      found->learner = false;
    } else {
      const bool voted = !found->learner;
      picture_.voters.erase(found);
      if (voted) {
        EXPECT_TRUE(has_quorum()) << "a removal lost the quorum";
        EXPECT_GE(answering(), std::min<std::size_t>(2, voters())) << "fewer than two healthy voters are left";
      }
    }
    return true;
  }

  void expect_well(std::uint64_t seed) {
    const std::size_t reachable = std::min(picture_.wanted, machines_.size());
    EXPECT_EQ(voters(), reachable) << "seed " << seed;
    EXPECT_EQ(answering(), reachable) << "seed " << seed;
    EXPECT_EQ(picture_.voters.size(), reachable) << "seed " << seed;
    for (const auto& voter : picture_.voters) EXPECT_FALSE(dead_ids_.contains(voter.id)) << "seed " << seed;
  }
  const VoterPicture& picture() const { return picture_; }
  Machine& machine(const std::string& name) { return machines_[name]; }
  void wipe(const std::string& name) {
    dead_ids_.insert(machines_[name].member);
    machines_[name].member = 0;
    machines_[name].wiped = true;
  }
  void settle(int rounds = 100) {
    for (int i = 0; i < rounds; ++i) {
      nodes_act();
      step();
    }
  }

 private:
  static std::string url(const std::string& node) { return "https://" + node + ":5380"; }
  static SeatRecord seat(std::string state, const std::string& node, std::uint64_t member) {
    SeatRecord out;
    out.state = std::move(state);
    out.peer_url = url(node);
    out.member = member_text(member);
    return out;
  }
  static std::uint64_t number(const std::string& text) { return std::stoull(text, nullptr, 16); }
  std::string owner(const Voter& voter) const { return voter.peer_url.substr(8, voter.peer_url.find(':', 8) - 8); }
  template <class Is>
  std::size_t count(Is is) const {
    return static_cast<std::size_t>(std::ranges::count_if(picture_.voters, is));
  }

  sim::SimRandom random_;
  VoterPicture picture_;
  std::map<std::string, Machine> machines_;
  std::map<std::uint64_t, std::string> owners_;
  std::set<std::uint64_t> dead_ids_;
  std::uint64_t last_ = 0x10;
};

TEST(VoterPlan, NoStepLosesTheQuorumAndARestingWorldBecomesWhole) {
  std::size_t judged = 0;
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    World world(seed, 1 + seed % 5, seed % 7 == 0 ? 5 : 3);
    world.settle();
    for (int round = 0; round < 60; ++round) {
      if (round % 3 == 0) world.accident();
      world.nodes_act();
      world.step();
      if (testing::Test::HasFailure()) FAIL() << "seed " << seed << ", round " << round;
    }
    world.all_return();
    world.settle();
    if (!world.has_quorum()) continue;  // too many disks were lost: for `hansa cluster recover`
    ++judged;
    world.expect_well(seed);
    if (testing::Test::HasFailure()) FAIL() << "seed " << seed;
  }
  EXPECT_GT(judged, 500U);
}

TEST(VoterPlan, AVoterWipedWhileAnotherIsAwayWaitsForItAndIsWholeAgainAfterwards) {
  World world(1, 3, 3);
  world.settle();
  world.expect_well(1);
  world.machine("n1").up = false;
  world.wipe("n2");
  world.settle();
  EXPECT_EQ(world.answering(), 1U) << "nobody took the wiped one's place";
  EXPECT_EQ(next_step(world.picture()).kind, Kind::none);
  world.machine("n1").up = true;
  world.settle();
  world.expect_well(1);
}

TEST(VoterPlan, ADeadVoterIsReplacedByAMachineWithoutASeatAndNotBeforeItsReplacementVotes) {
  World world(1, 4, 3);
  world.settle();
  ASSERT_EQ(world.voters(), 3U);
  world.machine("n2").up = false;
  world.settle();
  EXPECT_EQ(world.voters(), 3U);
  EXPECT_EQ(world.answering(), 3U);
}

// A destroyed machine's successor has its address, and the seat of the node that is gone stays.
TEST(VoterPlan, ANewVoterAtTheAddressOfANodeThatIsGoneIsNotTakenForIts) {
  const auto seat = [](std::string state, std::uint64_t member) {
    SeatRecord record;
    record.state = std::move(state);
    record.peer_url = "https://m:5380";
    record.member = member_text(member);
    return record;
  };
  VoterPicture picture;
  for (const char* name : {"x", "y"}) {
    picture.voters.push_back({.id = picture.voters.size() + 1, .name = name, .peer_url = name, .answers = true});
    picture.nodes.push_back({.id = name, .active = true, .alive = true});
  }
  picture.nodes.push_back({.id = "a", .gone = true});
  picture.nodes.push_back({.id = "b", .active = true, .alive = true});
  picture.seats.push_back({.node = "a", .record = seat("taken", 7)});
  picture.seats.push_back({.node = "b", .record = seat("asked", 0)});
  EXPECT_EQ(next_step(picture).kind, Kind::add);
  EXPECT_EQ(next_step(picture).node, "b");
  // Added, and granted; it has not started yet, so that nobody knows its name.
  picture.voters.push_back({.id = 8, .name = {}, .peer_url = "https://m:5380", .learner = true});
  EXPECT_EQ(next_step(picture).kind, Kind::remove) << "the commit of the grant was lost: it is added anew";
  picture.seats.back().record = seat("granted", 8);
  EXPECT_EQ(next_step(picture).kind, Kind::none);
  picture.voters.back().answers = true;
  picture.seats.back().record = seat("taken", 8);
  EXPECT_EQ(next_step(picture).kind, Kind::promote);
}

// Two that vote, and a third machine.
class VoterPictureTest : public ::testing::Test {
 protected:
  VoterPictureTest() {
    for (const char* name : {"a", "b", "c", "d"}) {
      picture.nodes.push_back({.id = name, .active = true, .alive = true});
    }
    add_voter("a").leader = true;
    add_voter("b");
    picture.quota = 1000;
  }
  Voter& add_voter(const std::string& name, bool learner = false) {
    const std::uint64_t id = picture.voters.size() + 1;
    picture.voters.push_back({.id = id, .name = name, .learner = learner, .answers = true});
    seat(name, learner ? "granted" : "taken", id);
    return picture.voters.back();
  }
  void seat(const std::string& node, std::string state, std::uint64_t member = 0) {
    SeatRecord record;
    record.state = std::move(state);
    record.member = member_text(member);
    picture.seats.push_back({.node = node, .record = record, .mod = ++mod});
  }
  VoterStep step() const { return next_step(picture); }

  VoterPicture picture;
  catalog::Revision mod = 0;
};

// It would hold up every other change for ever.
TEST_F(VoterPictureTest, ALearnerThatIsSilentForLongGoesAndAnotherMachineIsNext) {
  Voter& learner = add_voter("c", true);
  learner.answers = false;
  seat("d", "asked");
  EXPECT_EQ(step().kind, Kind::none);
  learner.silent_long = true;
  ASSERT_EQ(step().kind, Kind::remove);
  EXPECT_EQ(step().member, learner.id);
  picture.voters.pop_back();
  EXPECT_EQ(step().kind, Kind::add);
  EXPECT_EQ(step().node, "d");
}

TEST_F(VoterPictureTest, WhoHasWaitedLongestForASeatIsNext) {
  seat("c", "asked");
  seat("d", "asked");
  picture.seats[2].mod = ++mod;  // it asked anew
  EXPECT_EQ(step().node, "d");
}

// etcd goes by the size of the file, which no removal and no compaction makes smaller.
TEST_F(VoterPictureTest, WhatADatabaseDoesNotUseIsGivenBackByOneAfterTheOtherTheLeaderLast) {
  for (auto& voter : picture.voters) {
    voter.db_size = 700;
    voter.db_in_use = 100;
  }
  ASSERT_EQ(step().kind, Kind::defragment);
  EXPECT_EQ(step().member, picture.voters.back().id) << "not the leader";
  picture.no_space = true;
  picture.voters.back().db_size = 100;
  ASSERT_EQ(step().kind, Kind::defragment);
  EXPECT_EQ(step().member, picture.voters.front().id);
  picture.voters.front().db_size = 100;
  EXPECT_EQ(step().kind, Kind::disarm);
  picture.no_space = false;
  EXPECT_EQ(step().kind, Kind::none);
}

TEST_F(VoterPictureTest, NothingIsGivenBackWhileAVoterIsAwayOrTheSpaceIsInUse) {
  for (auto& voter : picture.voters) {
    voter.db_size = 700;
    voter.db_in_use = 600;
  }
  EXPECT_EQ(step().kind, Kind::none);
  for (auto& voter : picture.voters) voter.db_in_use = 100;
  picture.voters.back().answers = false;
  EXPECT_EQ(step().kind, Kind::none);
}

TEST(VoterPlan, TwoMachinesRestAtTwoVotersAndAreCalledDegraded) {
  World world(1, 2, 3);
  world.settle();
  EXPECT_EQ(world.answering(), 2U);
  EXPECT_EQ(next_step(world.picture()).kind, Kind::none);
  EXPECT_FALSE(degraded(world.picture()).empty());
  EXPECT_FALSE(may_stop(world.picture(), "n0"));
}

}  // namespace
}  // namespace hansa::voters
