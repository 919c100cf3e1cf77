// ReplayGuard: lets every call of this boot through once. The boot nonce is random and new with each start and with
// each epoch: when the set of seen nonces is full, a new epoch begins, and calls made for the old one are refused with
// the new nonce, so the set never grows and nothing old is ever let in. Thread-safe.
#pragma once

#include <mutex>
#include <string>
#include <unordered_set>

#include "io/random.h"

namespace hansa::peer {

class ReplayGuard {
 public:
  ReplayGuard(io::Random& random, std::size_t capacity);
  enum class Verdict : std::uint8_t { fresh, repeated, other_boot };
  // Only for calls whose MAC holds.
  Verdict admit(const std::string& boot, const std::string& nonce);
  std::string boot();

 private:
  io::Random& random_;
  const std::size_t capacity_;
  std::mutex lock_;
  std::string boot_;                      // under lock_
  std::unordered_set<std::string> seen_;  // under lock_; never iterated
};

}  // namespace hansa::peer
