// SHA-256 of bytes that come in pieces (snapshots with a checksum at their end). One thread.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"

namespace hansa::pki {

inline constexpr std::size_t sha256_bytes = 32;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(ConstBytes bytes);
  std::string finish();  // the 32 bytes; nothing may be added afterwards

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hansa::pki
