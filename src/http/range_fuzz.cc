// Ranges lie within the representation and do not overlap.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/assert.h"
#include "http/range.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hansa::http;
  if (size < 8) return 0;
  std::uint64_t total = 0;
  std::memcpy(&total, data, sizeof total);
  auto ranges = parse_ranges({reinterpret_cast<const char*>(data) + 8, size - 8}, total);
  HANSA_ASSERT(ranges.list.size() <= max_ranges, "a bounded number of ranges");
  HANSA_ASSERT((ranges.outcome == RangeOutcome::ranges) == !ranges.list.empty(), "206 has something to send");
  std::ranges::sort(ranges.list, {}, &ByteRange::offset);
  std::uint64_t end = 0;
  for (const auto& range : ranges.list) {
    HANSA_ASSERT(range.length > 0 && range.offset >= end, "ranges are apart");
    HANSA_ASSERT(range.offset < total && range.length <= total - range.offset, "ranges lie within the size");
    end = range.offset + range.length;
  }
  return 0;
}
