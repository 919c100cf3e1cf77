#include "api/distribution/pull_span.h"

#include "http/range.h"

namespace hansa::api::distribution {

PullSpan span_of(std::string_view range) {
  constexpr std::uint64_t any_size = 1ULL << 60;
  const http::Ranges ranges = http::parse_ranges(range, any_size);
  if (ranges.outcome != http::RangeOutcome::ranges) return {};
  const auto& first = ranges.list.front();
  if (first.offset < any_size / 2) return {.offset = first.offset, .length = first.length};
  // Counted from the end, or behind it; of several the others need not reach it.
  if (ranges.list.size() > 1) return {.offset = 0, .length = 1};
  return {};
}

}  // namespace hansa::api::distribution
