#include "http/range.h"

#include <algorithm>
#include <optional>

#include "http/text.h"

namespace hansa::http {
namespace {

struct Spec {
  bool valid = false;
  std::optional<ByteRange> range;  // absent: outside of the representation
};

// "a-b", "a-" or "-n".
Spec parse_spec(std::string_view text, std::uint64_t size) {
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return {};
  const std::string_view first_text = text.substr(0, dash);
  const std::string_view last_text = text.substr(dash + 1);
  if (first_text.empty()) {
    const auto suffix = parse_decimal(last_text);
    if (!suffix) return {};
    const std::uint64_t length = std::min(*suffix, size);
    if (length == 0) return {.valid = true, .range = std::nullopt};
    return {.valid = true, .range = ByteRange{size - length, length}};
  }
  const auto first = parse_decimal(first_text);
  if (!first) return {};
  std::uint64_t last = UINT64_MAX;
  if (!last_text.empty()) {
    const auto parsed = parse_decimal(last_text);
    if (!parsed || *parsed < *first) return {};
    last = *parsed;
  }
  if (*first >= size) return {.valid = true, .range = std::nullopt};
  last = std::min(last, size - 1);
  return {.valid = true, .range = ByteRange{*first, last - *first + 1}};
}

// Adds a range; whatever it overlaps or touches becomes one with it, at the place of the earliest of them.
void merge(std::vector<ByteRange>& list, ByteRange added) {
  std::optional<std::size_t> place;
  for (std::size_t i = 0; i < list.size();) {
    const ByteRange other = list[i];
    if (added.offset > other.offset + other.length || other.offset > added.offset + added.length) {
      ++i;
      continue;
    }
    const std::uint64_t end = std::max(added.offset + added.length, other.offset + other.length);
    added.offset = std::min(added.offset, other.offset);
    added.length = end - added.offset;
    place = std::min(place.value_or(i), i);
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
    i = 0;  // the grown range may now touch an earlier one
  }
  list.insert(list.begin() + static_cast<std::ptrdiff_t>(place.value_or(list.size())), added);
}

}  // namespace

Ranges parse_ranges(std::string_view field, std::uint64_t size) {
  constexpr std::string_view unit = "bytes=";
  field = trimmed(field);
  if (field.size() < unit.size() || !same_name(field.substr(0, unit.size()), unit)) return {};
  field.remove_prefix(unit.size());
  Ranges ranges;
  std::size_t count = 0;
  while (!field.empty()) {
    const std::string_view element = field.substr(0, field.find(','));
    field.remove_prefix(std::min(field.size(), element.size() + 1));
    const std::string_view text = trimmed(element);
    if (text.empty()) continue;  // empty list elements are allowed (RFC 9110, 5.6.1)
    if (++count > max_ranges) return {};
    const Spec spec = parse_spec(text, size);
    if (!spec.valid) return {};
    if (spec.range) merge(ranges.list, *spec.range);
  }
  if (count == 0) return {};
  ranges.outcome = ranges.list.empty() ? RangeOutcome::unsatisfiable : RangeOutcome::ranges;
  return ranges;
}

}  // namespace hansa::http
