// History: how many bytes each member has moved per second over the last ten minutes, so that whoever opens the cluster
// page sees them at once. For people; nothing is decided by it.
//
// Pure: a value that is fed with what the members say (their leases' counters) and with the time at which they were
// looked at. Time is cut into steps; what came between two looks is spread over the steps that it lies in. A counter
// that goes back, or another boot, is a member that began anew. A step in which a member was not looked at, since it
// was dead or this node did not run, is unknown.
//
// Bounded: history_members series of history_steps steps. Thread rule: none; its owner guards it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/time.h"

namespace hansa::cluster {

inline constexpr io::Duration history_step = std::chrono::seconds(5);
inline constexpr std::size_t history_steps = 120;   // that are shown
inline constexpr std::size_t history_members = 64;  // further members have no history
// Members speak every few seconds at most, and only of what is worth it: bytes that a sign of life brings moved within
// this time before it, not since the one before, which may be long ago.
inline constexpr io::Duration history_spread = std::chrono::seconds(4);
// What moved within this time may not have been told yet: a step is shown once it has passed.
inline constexpr io::Duration history_settle = std::chrono::seconds(3);

class History {
 public:
  // What one living member says.
  struct Said {
    std::string id;
    std::string boot;            // nonce of the start since which it counts
    std::uint64_t sent = 0;      // bytes
    std::uint64_t received = 0;  // bytes
  };
  // A look at all members that live. `now` never goes back.
  void look(const std::vector<Said>& members, io::MonotonicTime now);

  using Rates = std::vector<std::optional<std::uint64_t>>;  // bytes per second, oldest first; empty: unknown
  struct Member {
    std::string id;
    Rates sent;
    Rates received;
  };
  // Of every member with a known step, in the order of their ids; all have the same steps, at most history_steps, of
  // which the last is the newest complete one.
  std::vector<Member> show(io::MonotonicTime now) const;

 private:
  static constexpr std::size_t kept_steps = history_steps + 4;  // those that are not shown yet are filled meanwhile
  using Step = std::uint64_t;                                   // number of the step since the clock's origin
  struct Cell {
    Step step = 0;
    bool known = false;
    double sent = 0;  // bytes
    double received = 0;
  };
  struct Series {
    std::string boot;
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    io::MonotonicTime looked;   // last
    io::MonotonicTime changed;  // when the counters were last seen to move
    std::array<Cell, kept_steps> cells;
  };
  static void note(Series& series, const Said& said, io::MonotonicTime now);
  static void spread(Series& series, double sent, double received, io::MonotonicTime from, io::MonotonicTime to);
  static Cell& cell(Series& series, Step step);

  std::map<std::string, Series> series_;
  std::optional<io::MonotonicTime> first_;  // look
};

}  // namespace hansa::cluster
