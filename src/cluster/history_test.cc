// History: what members moved, step by step, from what they say of themselves.
#include "cluster/history.h"

#include <gtest/gtest.h>

namespace hansa::cluster {
namespace {

constexpr std::uint64_t kilo = 1000;
constexpr io::Duration origin = std::chrono::hours(50);  // a multiple of the step

io::MonotonicTime at(double seconds) {
  return {origin + std::chrono::duration_cast<io::Duration>(std::chrono::duration<double>(seconds))};
}

History::Said said(std::uint64_t sent, std::uint64_t received = 0, const std::string& boot = "1") {
  return {.id = "n1", .boot = boot, .sent = sent, .received = received};
}

// Bytes of all known steps.
std::uint64_t total(const History::Rates& rates) {
  const auto step = std::chrono::duration_cast<std::chrono::seconds>(history_step).count();
  std::uint64_t sum = 0;
  for (const auto& rate : rates) sum += rate.value_or(0) * static_cast<std::uint64_t>(step);
  return sum;
}

History::Member only(const History& history, double seconds) {
  const auto members = history.show(at(seconds));
  EXPECT_EQ(members.size(), 1U);
  return members.empty() ? History::Member{} : members.front();
}

TEST(History, ASteadyFlowIsItsRateInEveryStep) {
  History history;
  for (int second = 0; second <= 60; ++second) {
    const auto moved = static_cast<std::uint64_t>(second);
    history.look({said(moved * 40 * kilo, moved * 10 * kilo)}, at(second));
  }
  const auto member = only(history, 63);
  ASSERT_EQ(member.sent.size(), 12U);
  ASSERT_EQ(member.received.size(), 12U);
  for (std::size_t i = 0; i < 12; ++i) {
    EXPECT_NEAR(static_cast<double>(member.sent[i].value()), 40.0 * kilo, 2) << i;
    EXPECT_NEAR(static_cast<double>(member.received[i].value()), 10.0 * kilo, 2) << i;
  }
}

TEST(History, WhatAMemberMovedBeforeItWasSeenIsInNoStep) {
  History history;
  history.look({said(900 * kilo * kilo)}, at(0));
  history.look({said(900 * kilo * kilo)}, at(5));
  EXPECT_EQ(total(only(history, 8).sent), 0U);
}

TEST(History, ABurstAfterALongQuietIsNotLaidOverTheQuiet) {
  History history;
  for (int second = 0; second <= 300; ++second) history.look({said(0)}, at(second));
  history.look({said(500 * kilo)}, at(301));
  const auto member = only(history, 310);
  ASSERT_EQ(member.sent.size(), 61U);
  EXPECT_EQ(member.sent[58], 0U);
  EXPECT_NEAR(static_cast<double>(total(member.sent)), 500.0 * kilo, 10);
}

TEST(History, WhatCameWhileNobodyLookedIsLaidOverAllOfThatTime) {
  History history;
  history.look({said(0)}, at(0));
  history.look({said(100 * kilo)}, at(20));
  const auto member = only(history, 24);
  ASSERT_EQ(member.sent.size(), 4U);
  for (const auto& rate : member.sent) EXPECT_NEAR(static_cast<double>(rate.value()), 5.0 * kilo, 2);
}

TEST(History, ARestartedMemberCountsFromZeroAgain) {
  History history;
  history.look({said(800 * kilo, 0, "1")}, at(1));
  history.look({said(100 * kilo, 0, "2")}, at(2));
  history.look({said(300 * kilo, 0, "2")}, at(3));
  history.look({said(50 * kilo, 0, "2")}, at(4));  // the same boot, yet it went back: it began anew all the same
  EXPECT_NEAR(static_cast<double>(total(only(history, 8).sent)), 350.0 * kilo, 10);
  History other;  // another boot that has moved more already
  other.look({said(800 * kilo, 0, "1")}, at(1));
  other.look({said(900 * kilo, 0, "2")}, at(3));
  EXPECT_NEAR(static_cast<double>(total(only(other, 8).sent)), 900.0 * kilo, 10);
}

TEST(History, StepsInWhichAMemberWasDeadAreUnknown) {
  History history;
  const auto other = [](std::uint64_t sent) {
    return History::Said{.id = "n2", .boot = "1", .sent = sent, .received = 0};
  };
  for (int second = 0; second < 40; ++second) {
    std::vector<History::Said> all{other(0)};
    if (second < 10 || second >= 30) all.push_back(said(0, 0, second < 10 ? "1" : "2"));
    history.look(all, at(second));
  }
  const auto members = history.show(at(43));
  ASSERT_EQ(members.size(), 2U);
  EXPECT_EQ(members[0].id, "n1");
  std::string known;
  for (const auto& rate : members[0].sent) known += rate ? '+' : '-';
  EXPECT_EQ(known, "++----++");
  EXPECT_EQ(members[1].sent, History::Rates(8, 0U));
}

TEST(History, HoldsTenMinutesAndForgetsWhoIsGone) {
  History history;
  for (int second = 0; second <= 2000; ++second) {
    std::vector<History::Said> all{said(static_cast<std::uint64_t>(second) * kilo)};
    if (second < 100) all.push_back({.id = "n0", .boot = "1", .sent = 0, .received = 0});
    history.look(all, at(second));
  }
  const auto member = only(history, 2003);
  ASSERT_EQ(member.sent.size(), history_steps);
  for (const auto& rate : member.sent) EXPECT_NEAR(static_cast<double>(rate.value()), 1.0 * kilo, 2);
}

TEST(History, KeepsNoMoreMembersThanItsLimit) {
  History history;
  std::vector<History::Said> all;
  for (std::size_t i = 0; i < history_members + 5; ++i) {
    all.push_back({.id = "n" + std::to_string(i), .boot = "1", .sent = 0, .received = 0});
  }
  history.look(all, at(0));
  EXPECT_EQ(history.show(at(10)).size(), history_members);
  all.front().id = "new";  // those that are gone for the whole time leave their places
  history.look({all.front()}, at(1000));
  EXPECT_EQ(only(history, 1010).id, "new");
}

TEST(History, AStepIsShownOnceWhatMovedInItHasBeenTold) {
  History history;
  EXPECT_TRUE(history.show(at(0)).empty());
  history.look({said(0)}, at(0));
  EXPECT_TRUE(history.show(at(4)).empty());
  EXPECT_TRUE(history.show(at(7.9)).empty());
  history.look({said(0)}, at(3));
  history.look({said(50 * kilo)}, at(6));
  const auto member = only(history, 8);
  ASSERT_EQ(member.sent.size(), 1U);
  EXPECT_NEAR(static_cast<double>(member.sent[0].value()), 7.5 * kilo, 2);  // three of the four seconds before
}

}  // namespace
}  // namespace hansa::cluster
