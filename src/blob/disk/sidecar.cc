#include "blob/disk/sidecar.h"

#include <algorithm>
#include <cstring>

#include "blob/crc32c.h"

namespace hansa::blob::disk {
namespace {

constexpr std::size_t read_step = MiB;

// Little-endian, as every machine we run on. Changing it needs a new magic.
struct Header {
  char magic[4] = {'H', 'C', 'R', '2'};
  std::uint32_t chunk = chunk_size;
  std::uint64_t size = 0;
};
static_assert(sizeof(Header) == 16);

template <class T>
void append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// So that a file of another blob, sidecar and all, is not taken for this one.
std::uint32_t own_sum(const oci::Digest& digest, ConstBytes body) {
  return crc32c(body, crc32c(digest.hash()));
}

}  // namespace

std::size_t sidecar_size(std::uint64_t blob_size) {
  return sizeof(Header) + (chunk_count(blob_size) + 1) * sizeof(std::uint32_t);
}

std::string encode_sidecar(const oci::Digest& digest, std::uint64_t size, const ChunkSums& sums) {
  std::string out;
  Header header;
  header.size = size;
  append(out, header);
  out.append(reinterpret_cast<const char*>(sums.data()), sums.size() * sizeof(std::uint32_t));
  append(out, own_sum(digest, as_bytes(out)));
  return out;
}

std::optional<ChunkSums> decode_sidecar(ConstBytes file, const oci::Digest& digest, std::uint64_t size) {
  const std::size_t count = chunk_count(size);
  const std::size_t body = sizeof(Header) + count * sizeof(std::uint32_t);
  if (file.size() != sidecar_size(size)) return std::nullopt;
  std::uint32_t own = 0;
  std::memcpy(&own, file.data() + body, sizeof own);
  if (own != own_sum(digest, file.first(body))) return std::nullopt;
  Header header;
  std::memcpy(&header, file.data(), sizeof header);
  const Header expected;
  if (std::memcmp(header.magic, expected.magic, sizeof header.magic) != 0 || header.chunk != chunk_size ||
      header.size != size) {
    return std::nullopt;
  }
  ChunkSums sums(count);
  if (count > 0) std::memcpy(sums.data(), file.data() + sizeof header, count * sizeof(std::uint32_t));
  return sums;
}

Result<void> read_all(io::File& file, std::uint64_t length, const std::function<void(ConstBytes)>& use) {
  return read_part(file, 0, length, use);
}

Result<void> read_part(io::File& file, std::uint64_t from, std::uint64_t end,
                       const std::function<void(ConstBytes)>& use) {
  if (from >= end) return {};
  std::vector<std::byte> buffer(std::min<std::uint64_t>(end - from, read_step));
  for (std::uint64_t at = from; at < end;) {
    const std::size_t part = std::min<std::uint64_t>(buffer.size(), end - at);
    HANSA_TRY(const auto got, file.read(at, Bytes(buffer).first(part)));
    if (got == 0) break;
    use(Bytes(buffer).first(got));
    at += got;
  }
  return {};
}

void ChunkSummer::update(ConstBytes data) {
  while (!data.empty()) {
    const std::size_t part = std::min(data.size(), chunk_size - filled_);
    current_ = crc32c(data.first(part), current_);
    filled_ += part;
    data = data.subspan(part);
    if (filled_ == chunk_size) {
      full_.push_back(current_);
      current_ = 0;
      filled_ = 0;
    }
  }
}

ChunkSums ChunkSummer::sums() const {
  ChunkSums result = full_;
  if (filled_ > 0) result.push_back(current_);
  return result;
}

}  // namespace hansa::blob::disk
