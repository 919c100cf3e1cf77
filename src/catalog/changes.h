// Changes: which repositories have changed since a snapshot, for those who keep what a snapshot said. A repository is
// marked before the transaction that changes it can be seen, so that nobody is shown the old state by what is kept
// after somebody else has seen the new one.
//
// Holds where revisions only grow and every change is applied (one node: truth and view in one file). A copy that is
// loaded anew or replaced does neither.
//
// Thread rule: mark on the store's writer, unchanged_since from any thread.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <string_view>

#include "meta/store.h"

namespace hansa::catalog {

class Changes {
 public:
  void mark(std::string_view repository, meta::Revision revision) {
    // A transaction that fails has marked in vain: what is read until the next one is not kept, nothing worse.
    place(repository).store(revision, std::memory_order_seq_cst);
  }
  // Whether a snapshot of `revision` still says what the newest one would; true also means that nothing is on its way.
  bool unchanged_since(std::string_view repository, meta::Revision revision) const {
    return places_[index(repository)].load(std::memory_order_seq_cst) <= revision;
  }

 private:
  static constexpr std::size_t count = 4096;  // by hash: those that share a place seem to change together
  static std::size_t index(std::string_view repository) { return std::hash<std::string_view>{}(repository) % count; }
  std::atomic<meta::Revision>& place(std::string_view repository) { return places_[index(repository)]; }

  std::array<std::atomic<meta::Revision>, count> places_{};
};

}  // namespace hansa::catalog
