// Growth: a blob that is being fetched, as those see it who are served from it meanwhile (DESIGN.md 6.3, 6.4): so a
// member that lacks a blob gets it from one that is still receiving it, and many are filled in about one transfer.
//
// The bytes are unchecked: a member that gets them checks the whole; clients get all but the last held_back bytes, and
// those once the whole was right (H11). `distance` is the number of members between this one and a whole blob; fetches
// go only to a smaller one, so no two wait for each other (trap T9).
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
inline constexpr std::uint64_t held_back = 64 * 1024;  // bytes that no client gets before the whole is right

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
  // No more comes: the fetch ended. What is there may still be read. `whole`: all is there and has the right digest.
  void end(bool whole = false);
  bool is_whole() const;

  // How many bytes are there: more than `at`, or no more will come.
  io::Task<Result<std::uint64_t>> beyond(std::uint64_t at);
  // How many of them a client may have: more than `at`, or no more will come.
  io::Task<Result<std::uint64_t>> safe_beyond(std::uint64_t at);

 private:
  enum class For : std::uint8_t { member, client };
  struct Waiter {
    std::uint64_t at = 0;
    For whom = For::member;
    io::Completion<bool> completion;
  };
  std::uint64_t have_locked(For whom) const;
  std::vector<io::Completion<bool>> release_locked();
  io::Task<Result<std::uint64_t>> wait_beyond(std::uint64_t at, For whom);
  const std::string file_;
  const std::uint64_t size_;
  const std::uint64_t distance_;
  mutable std::mutex mutex_;
  std::uint64_t have_ = 0;
  bool ended_ = false;
  bool whole_ = false;
  std::vector<Waiter> waiting_;
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

// The same for clients: a blob that can be read while it comes. verify() and read() wait until the bytes may be given;
// disconnected once they never will.
class GrowthReader final : public blob::BlobReader {
 public:
  GrowthReader(std::shared_ptr<Growth> growth, std::shared_ptr<blob::StagedReader> reader)
      : growth_(std::move(growth)), reader_(std::move(reader)) {}
  std::uint64_t size() const override { return growth_->size(); }
  io::Task<Result<void>> verify(std::uint64_t offset, std::uint64_t length) override;
  bool is_verified(std::uint64_t, std::uint64_t) const override { return growth_->is_whole(); }
  io::Task<Result<std::size_t>> read(std::uint64_t offset, Bytes out) override;
  int descriptor() const override { return reader_->descriptor(); }
  bool is_growing() const override { return !growth_->is_whole(); }

 private:
  std::shared_ptr<Growth> growth_;
  std::shared_ptr<blob::StagedReader> reader_;
};

}  // namespace hansa::cluster
