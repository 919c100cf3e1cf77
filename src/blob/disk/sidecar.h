// The sidecar of a blob: a CRC32C per 64 KiB chunk. It carries a checksum of its own, over the blob's digest too. One
// that is missing, torn, of another size or of another blob is made anew after the blob was hashed whole (P4): bytes
// are never believed without it. A blob of one chunk has none: it is hashed whenever it is opened, which costs no more
// than to open a second file.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "blob/store.h"
#include "io/disk.h"
#include "oci/digest.h"

namespace hansa::blob::disk {

using ChunkSums = std::vector<std::uint32_t>;

inline std::uint64_t chunk_count(std::uint64_t size) {
  return (size + chunk_size - 1) / chunk_size;
}

inline bool has_sidecar(std::uint64_t blob_size) {
  return blob_size > chunk_size;
}

std::size_t sidecar_size(std::uint64_t blob_size);  // bytes
std::string encode_sidecar(const oci::Digest& digest, std::uint64_t size, const ChunkSums& sums);
// Empty when it is not a sound sidecar of that blob with `size` bytes.
std::optional<ChunkSums> decode_sidecar(ConstBytes file, const oci::Digest& digest, std::uint64_t size);

// Hands the first `length` bytes of a file to `use` in order; fewer if the file is shorter. Blocks.
Result<void> read_all(io::File& file, std::uint64_t length, const std::function<void(ConstBytes)>& use);
// The same, of those from `from` up to `end`.
Result<void> read_part(io::File& file, std::uint64_t from, std::uint64_t end,
                       const std::function<void(ConstBytes)>& use);

// Sums of bytes that arrive in pieces.
class ChunkSummer {
 public:
  void update(ConstBytes data);
  // The sums of everything so far; the last chunk may be short.
  ChunkSums sums() const;

 private:
  ChunkSums full_;
  std::uint32_t current_ = 0;
  std::size_t filled_ = 0;  // bytes in the current chunk
};

}  // namespace hansa::blob::disk
