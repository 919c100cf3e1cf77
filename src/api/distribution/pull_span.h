// The part of a blob that a request is about, before its size is known: what the registry goes by to choose who sends,
// and whether bytes may go out while they still come.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

namespace hansa::api::distribution {

struct PullSpan {
  std::uint64_t offset = 0;
  std::uint64_t length = std::numeric_limits<std::uint64_t>::max();  // to the end
  bool operator==(const PullSpan&) const = default;
};

// Of the value of a Range field. One that reaches the end only if the answer's last bytes are the blob's: bytes that
// come before a blob was checked must be followed by those that are held back until it was (P4).
PullSpan span_of(std::string_view range);

}  // namespace hansa::api::distribution
