// An open blob file with what this process knows of its chunks, and the bounded cache of them. Private to the store.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "base/result.h"
#include "blob/disk/sidecar.h"
#include "io/clock.h"
#include "io/disk.h"
#include "oci/digest.h"

namespace hansa::blob::disk {

// Thread-safe; shared by the readers of one blob.
class OpenBlob {
 public:
  OpenBlob(oci::Digest digest, std::unique_ptr<io::File> file, std::uint64_t size, ChunkSums sums);

  const oci::Digest& digest() const { return digest_; }
  io::File& file() { return *file_; }
  std::uint64_t size() const { return size_; }
  std::size_t memory() const { return sums_.size() * (sizeof(std::uint32_t) + sizeof(std::atomic<std::uint32_t>)); }

  // Ranges are cut at the blob's end. Whether every chunk of the range was checked within `every` before `now`.
  bool is_verified(std::uint64_t offset, std::uint64_t length, io::BootTime now, io::Duration every) const;
  // Reads and checks the chunks of the range that are not. corrupt(blob) for a sum that differs. Blocks.
  Result<void> verify(std::uint64_t offset, std::uint64_t length, io::BootTime now, io::Duration every);
  // Fills `out` from chunks that were checked within `every`, or checks the very bytes that it hands out. Fewer than
  // out.size() only at the end; after an error `out` holds anything. corrupt(blob). Blocks.
  Result<std::size_t> read(std::uint64_t offset, Bytes out, io::BootTime now, io::Duration every);
  // This process hashed the whole file just now.
  void mark_verified(io::BootTime now);

 private:
  struct Chunks {
    std::size_t first = 0;
    std::size_t end = 0;
  };
  Chunks chunks_of(std::uint64_t offset, std::uint64_t length) const;
  std::size_t length_of(std::size_t chunk) const;
  bool fresh(std::size_t chunk, std::uint32_t now, io::Duration every) const;
  // Reads a whole chunk to the start of `buffer` and checks it.
  Result<void> check(std::size_t chunk, Bytes buffer, std::uint32_t now);
  Error damage() const;

  oci::Digest digest_;
  std::unique_ptr<io::File> file_;
  std::uint64_t size_;
  ChunkSums sums_;
  // Second of the last check, counted from 1; 0: never.
  std::unique_ptr<std::atomic<std::uint32_t>[]> checked_;
};

// The blobs used last. Thread-safe. An entry that is dropped stays open while readers hold it.
class OpenBlobs {
 public:
  OpenBlobs(std::size_t max_blobs, std::size_t max_memory) : max_blobs_(max_blobs), max_memory_(max_memory) {}
  std::shared_ptr<OpenBlob> find(const oci::Digest& digest);
  void insert(std::shared_ptr<OpenBlob> blob);  // replaces
  void drop(const oci::Digest& digest);

 private:
  using List = std::list<std::shared_ptr<OpenBlob>>;
  void drop_at(List::iterator at);

  std::size_t max_blobs_;
  std::size_t max_memory_;
  std::mutex mutex_;
  List newest_first_;
  std::unordered_map<oci::Digest, List::iterator> index_;
  std::size_t memory_ = 0;
};

}  // namespace hansa::blob::disk
