// IdentityFile: writes <root>/disk.json (identity.h) in the order in which it was asked, whoever asks.
//
// Thread rule: write() on the node's executor. The disk outlives it.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "io/wait.h"
#include "node/identity.h"

namespace hansa::node {

class IdentityFile {
 public:
  IdentityFile(io::Disk& disk, std::string root) : disk_(disk), root_(std::move(root)) {}

  // Durable on return: this identity, or one that was written later.
  io::Task<Result<void>> write(Identity identity);

 private:
  io::Disk& disk_;
  const std::string root_;
  std::uint64_t asked_ = 0;  // writes so far
  std::mutex mutex_;         // one write at a time
  std::uint64_t written_ = 0;
};

}  // namespace hansa::node
