// Growth: a blob that is being fetched, as those see it who are served from it meanwhile (DESIGN.md 6.3, 6.4): so a
// member that lacks a blob gets it from one that is still receiving it, and many are filled in about one transfer.
//
// The bytes are unchecked: whoever gets them checks the whole. `distance` is the number of members between this one and
// a whole blob; fetches go only to a smaller one, so no two wait for each other (trap T9).
//
// Thread-safe; a waiter resumes on its own executor.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "blob/store.h"
#include "cluster/slots.h"
#include "io/byte_source.h"
#include "io/wait.h"

namespace hansa::cluster {

inline constexpr std::uint64_t max_distance = 16;

// What a member that fetches a blob will take.
struct GetTerms {
  bool background = false;     // nobody waits: from a free slot, or not at all
  std::uint64_t distance = 0;  // from a whole blob, at most, for one that still grows
};

class Growth {
 public:
  Growth(std::string file, std::uint64_t size, std::uint64_t distance)
      : file_(std::move(file)), size_(size), distance_(distance) {}

  const std::string& file() const { return file_; }  // the staged blob's id
  std::uint64_t size() const { return size_; }
  std::uint64_t distance() const { return distance_; }

  void grew(std::uint64_t have);
  // No more comes: the fetch ended. What is there may still be read.
  void end();

  // How many bytes are there: more than `at`, or no more will come.
  io::Task<Result<std::uint64_t>> beyond(std::uint64_t at);

 private:
  const std::string file_;
  const std::uint64_t size_;
  const std::uint64_t distance_;
  std::mutex mutex_;
  std::uint64_t have_ = 0;
  bool ended_ = false;
  std::vector<io::Completion<bool>> waiting_;
};

// What grows, from `offset` on. disconnected: it stopped growing before its size. Keeps a slot for as long as it lives.
class GrowthSource final : public io::ByteSource {
 public:
  GrowthSource(std::shared_ptr<Growth> growth, std::shared_ptr<blob::StagedReader> reader, std::uint64_t offset,
               Slots::Held slot)
      : growth_(std::move(growth)), reader_(std::move(reader)), at_(offset), slot_(std::move(slot)) {}
  io::Task<Result<std::size_t>> read(Bytes out) override;

 private:
  std::shared_ptr<Growth> growth_;
  std::shared_ptr<blob::StagedReader> reader_;
  std::uint64_t at_;
  Slots::Held slot_;
};

}  // namespace hansa::cluster
