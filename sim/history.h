// History: what clients asked of one register (a tag, a manifest) and were told, and whether that is linearizable: each
// operation took effect at one moment between its call and its answer, all in one order. An operation whose outcome its
// client never learned took effect at any moment after its call, or never.
//
// The search is Wing and Gong's, with a memory of the states it has seen.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/time.h"

namespace hansa::sim {

struct Operation {
  enum class Kind : std::uint8_t {
    write,    // the register shows `value` after it
    remove,   // shows nothing after it, and showed something before
    erase,    // shows nothing after it if it showed `value`, else what it showed
    read,     // shows `value`; empty: nothing
    swap,     // as write, and it showed `expected` before; empty: nothing
    differs,  // a swap that was refused: it showed something other than `expected`
  };
  Kind kind = Kind::read;
  std::string value;
  io::Duration began{};
  io::Duration ended{};  // of a known one
  bool known = true;     // false: its client was not told; never of a read
  std::string who;       // for the reader of a violation
  std::string expected = {};
};

class History {
 public:
  // `vanishes`: what it shows may be taken away by others at any time (an untagged manifest, by collection).
  explicit History(bool vanishes = false) : vanishes_(vanishes) {}

  void add(Operation operation) { operations_.push_back(std::move(operation)); }
  const std::vector<Operation>& operations() const { return operations_; }

  // Empty: linearizable, from a register that shows nothing. Else why not, and the history.
  std::string check() const;

 private:
  const bool vanishes_;
  std::vector<Operation> operations_;
};

}  // namespace hansa::sim
