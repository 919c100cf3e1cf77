// Texts of configuration files that stand for durations.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "io/time.h"

namespace hansa::server::config {

// As Go writes them: "1h30m", "1.5s", "300ms", "-2m"; units ns, us, µs, ms, s, m, h. A bare number means nanoseconds.
// nullopt: not of that form, or out of range.
std::optional<io::Duration> parse_duration(std::string_view text);

// "1h30m0s"-like, without the parts that are zero.
std::string format_duration(io::Duration duration);

// strconv.ParseBool: 1, t, true, 0, f, false in lower, upper or title case.
std::optional<bool> parse_bool(std::string_view text);

// A whole number with an optional sign; "8080.0" counts as one.
std::optional<std::int64_t> parse_integer(std::string_view text);

// Number of single-character changes (insert, delete, replace, swap of neighbours) from a to b, without regard to case.
std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace hansa::server::config
