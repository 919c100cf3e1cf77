#include "sim/history.h"

#include <gtest/gtest.h>

namespace hansa::sim {
namespace {

using namespace std::chrono_literals;
using Kind = Operation::Kind;

Operation op(Kind kind, std::string value, io::Duration began, io::Duration ended) {
  return {.kind = kind, .value = std::move(value), .began = began, .ended = ended, .known = true, .who = "test"};
}
Operation maybe(Kind kind, std::string value, io::Duration began) {
  return {.kind = kind, .value = std::move(value), .began = began, .ended = {}, .known = false, .who = "test"};
}
Operation swap(std::string expected, std::string value, io::Duration began, io::Duration ended) {
  Operation one = op(Kind::swap, std::move(value), began, ended);
  one.expected = std::move(expected);
  return one;
}
Operation maybe_swap(std::string expected, std::string value, io::Duration began) {
  Operation one = maybe(Kind::swap, std::move(value), began);
  one.expected = std::move(expected);
  return one;
}
Operation differs(std::string expected, io::Duration began, io::Duration ended) {
  Operation one = op(Kind::differs, "", began, ended);
  one.expected = std::move(expected);
  return one;
}
bool linearizable(std::vector<Operation> operations, bool vanishes = false) {
  History history(vanishes);
  for (auto& one : operations) history.add(std::move(one));
  return history.check().empty();
}

TEST(History, OfOneClientShowsWhatWasWrittenLast) {
  EXPECT_TRUE(linearizable({}));
  EXPECT_TRUE(linearizable({op(Kind::read, "", 0s, 1s), op(Kind::write, "a", 2s, 3s), op(Kind::read, "a", 4s, 5s)}));
  EXPECT_FALSE(linearizable({op(Kind::write, "a", 0s, 1s), op(Kind::read, "", 2s, 3s)}));
  EXPECT_FALSE(linearizable({op(Kind::write, "a", 0s, 1s), op(Kind::write, "b", 2s, 3s), op(Kind::read, "a", 4s, 5s)}));
  EXPECT_FALSE(linearizable({op(Kind::read, "a", 0s, 1s)})) << "nobody wrote it";
}

TEST(History, ConcurrentOperationsMayTakeEffectInAnyOrderButInOne) {
  EXPECT_TRUE(linearizable({op(Kind::write, "a", 0s, 9s), op(Kind::write, "b", 0s, 9s), op(Kind::read, "b", 1s, 2s),
                            op(Kind::read, "a", 3s, 4s)}));
  EXPECT_FALSE(linearizable({op(Kind::write, "a", 0s, 9s), op(Kind::write, "b", 0s, 9s), op(Kind::read, "b", 1s, 2s),
                             op(Kind::read, "a", 3s, 4s), op(Kind::read, "b", 5s, 6s)}));
  EXPECT_FALSE(linearizable({op(Kind::write, "a", 0s, 9s), op(Kind::read, "a", 1s, 2s), op(Kind::read, "", 3s, 4s)}));
}

TEST(History, AnUnknownWriteHappensLateOrNeverButNotTwice) {
  EXPECT_TRUE(linearizable({maybe(Kind::write, "a", 0s), op(Kind::read, "", 1s, 2s)}));
  EXPECT_TRUE(linearizable({maybe(Kind::write, "a", 0s), op(Kind::write, "b", 1s, 2s), op(Kind::read, "a", 3s, 4s)}));
  EXPECT_FALSE(linearizable({maybe(Kind::write, "a", 0s), op(Kind::read, "a", 1s, 2s), op(Kind::write, "b", 3s, 4s),
                             op(Kind::read, "a", 5s, 6s)}));
  EXPECT_FALSE(linearizable({op(Kind::read, "a", 0s, 1s), maybe(Kind::write, "a", 2s)})) << "not before its call";
}

TEST(History, RemovalsAndErasures) {
  EXPECT_FALSE(linearizable({op(Kind::remove, "", 0s, 1s)})) << "there was nothing";
  EXPECT_TRUE(linearizable({op(Kind::write, "a", 0s, 1s), op(Kind::remove, "", 2s, 3s), op(Kind::read, "", 4s, 5s)}));
  EXPECT_TRUE(linearizable({op(Kind::write, "a", 0s, 1s), op(Kind::erase, "b", 2s, 3s), op(Kind::read, "a", 4s, 5s)}));
  EXPECT_FALSE(linearizable({op(Kind::write, "a", 0s, 1s), op(Kind::erase, "a", 2s, 3s), op(Kind::read, "a", 4s, 5s)}));
  EXPECT_TRUE(linearizable({op(Kind::write, "a", 0s, 1s), maybe(Kind::erase, "a", 2s), op(Kind::read, "", 4s, 5s)}));
  EXPECT_TRUE(linearizable({maybe(Kind::write, "a", 0s), op(Kind::remove, "", 2s, 3s)}));
  EXPECT_TRUE(linearizable({op(Kind::write, "a", 0s, 1s), maybe(Kind::write, "b", 0s), maybe(Kind::erase, "b", 0s),
                            op(Kind::read, "", 4s, 5s)}))
      << "two unknown ones";
  EXPECT_TRUE(linearizable({op(Kind::write, "a", 0s, 1s), maybe(Kind::write, "b", 0s), op(Kind::erase, "b", 2s, 3s),
                            op(Kind::read, "", 4s, 5s)}))
      << "an unknown write just before an erasure";
}

TEST(History, AWriteWithAPreconditionHappensWhereItHoldsAndIsRefusedWhereItDoesNot) {
  EXPECT_TRUE(linearizable({swap("", "a", 0s, 1s), swap("a", "b", 2s, 3s), op(Kind::read, "b", 4s, 5s)}));
  EXPECT_FALSE(linearizable({op(Kind::write, "a", 0s, 1s), swap("", "b", 2s, 3s)})) << "a lost update";
  EXPECT_FALSE(linearizable({op(Kind::write, "a", 0s, 1s), swap("a", "b", 2s, 3s), swap("a", "c", 4s, 5s)}));
  EXPECT_FALSE(linearizable({op(Kind::write, "a", 0s, 1s), swap("a", "b", 2s, 9s), swap("a", "c", 2s, 9s)}))
      << "one of two";
  EXPECT_TRUE(linearizable({op(Kind::write, "a", 0s, 1s), swap("a", "b", 2s, 9s), differs("a", 2s, 9s)}));
  EXPECT_FALSE(linearizable({op(Kind::write, "a", 0s, 1s), differs("a", 2s, 3s)}));
  EXPECT_TRUE(linearizable({op(Kind::write, "a", 0s, 1s), differs("", 2s, 3s), differs("b", 2s, 3s)}));
  EXPECT_TRUE(linearizable({maybe(Kind::write, "a", 0s), maybe_swap("a", "b", 0s), maybe(Kind::remove, "", 0s),
                            op(Kind::write, "c", 0s, 1s), differs("c", 2s, 3s), op(Kind::read, "", 4s, 5s)}))
      << "three unknown ones";
  EXPECT_TRUE(linearizable({maybe(Kind::write, "a", 0s), maybe_swap("a", "b", 0s), op(Kind::erase, "b", 2s, 3s),
                            maybe_swap("", "d", 0s), op(Kind::read, "d", 4s, 5s)}));
  EXPECT_FALSE(linearizable({op(Kind::write, "c", 0s, 1s), maybe_swap("a", "b", 2s), op(Kind::read, "b", 4s, 5s)}));
}

TEST(History, WhatMayVanishIsGoneForGood) {
  EXPECT_TRUE(linearizable({op(Kind::write, "a", 0s, 1s), op(Kind::read, "", 2s, 3s)}, true));
  EXPECT_FALSE(
      linearizable({op(Kind::write, "a", 0s, 1s), op(Kind::read, "", 2s, 3s), op(Kind::read, "a", 4s, 5s)}, true));
}

TEST(History, AViolationShowsTheHistory) {
  History history;
  history.add(op(Kind::read, "a", 0s, 1s));
  EXPECT_NE(history.check().find("test: read a"), std::string::npos);
}

}  // namespace
}  // namespace hansa::sim
