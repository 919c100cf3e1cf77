// The Range header field of a request (RFC 9110, 14.1.2): a pure decision on text and size.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace hansa::http {

// More specifications in one field, and the field is ignored (the whole is sent): a client that asks for many small
// pieces costs more than one that takes all.
inline constexpr std::size_t max_ranges = 16;

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  // never 0
  bool operator==(const ByteRange&) const = default;
};

enum class RangeOutcome : std::uint8_t {
  none,           // no, unknown or malformed field: answer 200 with everything
  unsatisfiable,  // well-formed but nothing of it exists: answer 416 with "Content-Range: bytes */SIZE"
  ranges,         // answer 206
};

struct Ranges {
  RangeOutcome outcome = RangeOutcome::none;
  // In the order asked for; overlapping and touching ones are merged into the first of them. Specifications that lie
  // outside are left out, ends are cut to the size.
  std::vector<ByteRange> list;
};

// `field`: the value of Range, e.g. "bytes=0-99,-1"; empty: no field. `size`: of the whole representation.
Ranges parse_ranges(std::string_view field, std::uint64_t size);

}  // namespace hansa::http
