#include "blob/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace hansa::blob {
namespace {

constexpr std::uint32_t polynomial = 0x82F63B78;  // Castagnoli, bits reversed

constexpr std::array<std::array<std::uint32_t, 256>, 8> make_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? polynomial : 0);
    tables[0][i] = value;
  }
  for (std::size_t i = 0; i < 256; ++i) {
    for (std::size_t t = 1; t < 8; ++t) {
      tables[t][i] = (tables[t - 1][i] >> 8) ^ tables[0][tables[t - 1][i] & 0xff];
    }
  }
  return tables;
}
constexpr auto tables = make_tables();

// The effect of `length` zero bytes on a checksum is linear over GF(2): four tables, one per byte of the checksum.
// It joins checksums of blocks that were computed side by side.
using ShiftTable = std::array<std::array<std::uint32_t, 256>, 4>;

constexpr std::uint32_t shift_by_zeros(std::uint32_t crc, std::size_t length) {
  for (std::size_t i = 0; i < length; ++i) crc = (crc >> 8) ^ tables[0][crc & 0xff];
  return crc;
}

ShiftTable make_shift(std::size_t length) {
  ShiftTable shift{};
  for (std::size_t byte = 0; byte < 4; ++byte) {
    std::array<std::uint32_t, 8> bits{};
    for (std::size_t bit = 0; bit < 8; ++bit) {
      bits[bit] = shift_by_zeros(std::uint32_t{1} << (8 * byte + bit), length);
    }
    for (std::size_t value = 0; value < 256; ++value) {
      for (std::size_t bit = 0; bit < 8; ++bit) {
        if ((value >> bit & 1) != 0) shift[byte][value] ^= bits[bit];
      }
    }
  }
  return shift;
}

#if defined(__x86_64__)
constexpr std::size_t block = 1024;  // bytes of each of the three streams

std::uint32_t apply(const ShiftTable& shift, std::uint32_t crc) {
  return shift[0][crc & 0xff] ^ shift[1][crc >> 8 & 0xff] ^ shift[2][crc >> 16 & 0xff] ^ shift[3][crc >> 24];
}

std::uint64_t word_at(const std::byte* from) {
  std::uint64_t word = 0;
  std::memcpy(&word, from, 8);
  return word;
}

// Three streams side by side hide the instruction's latency of three cycles.
__attribute__((target("sse4.2"))) std::uint32_t crc32c_sse42(ConstBytes data, std::uint32_t so_far) {
  static const ShiftTable one_block = make_shift(block);
  static const ShiftTable two_blocks = make_shift(2 * block);
  std::uint64_t crc = ~so_far;
  const std::byte* at = data.data();
  std::size_t left = data.size();
  while (left >= 3 * block) {
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (std::size_t i = 0; i < block; i += 8) {
      crc = _mm_crc32_u64(crc, word_at(at + i));
      second = _mm_crc32_u64(second, word_at(at + block + i));
      third = _mm_crc32_u64(third, word_at(at + 2 * block + i));
    }
    crc = apply(two_blocks, static_cast<std::uint32_t>(crc)) ^ apply(one_block, static_cast<std::uint32_t>(second)) ^
          static_cast<std::uint32_t>(third);
    at += 3 * block;
    left -= 3 * block;
  }
  for (; left >= 8; at += 8, left -= 8) crc = _mm_crc32_u64(crc, word_at(at));
  for (; left > 0; ++at, --left) {
    crc = _mm_crc32_u8(static_cast<std::uint32_t>(crc), std::to_integer<unsigned char>(*at));
  }
  return ~static_cast<std::uint32_t>(crc);
}
#endif

}  // namespace

std::uint32_t crc32c_portable(ConstBytes data, std::uint32_t so_far) {
  std::uint32_t crc = ~so_far;
  const std::byte* at = data.data();
  std::size_t left = data.size();
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    word ^= crc;
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= tables[7 - i][word >> (8 * i) & 0xff];
  }
  for (; left > 0; ++at, --left) crc = (crc >> 8) ^ tables[0][(crc ^ std::to_integer<std::uint32_t>(*at)) & 0xff];
  return ~crc;
}

std::uint32_t crc32c(ConstBytes data, std::uint32_t so_far) {
#if defined(__x86_64__)
  static const bool fast = __builtin_cpu_supports("sse4.2") != 0;
  if (fast) return crc32c_sse42(data, so_far);
#endif
  return crc32c_portable(data, so_far);
}

}  // namespace hansa::blob
