// storage.retention of a configuration.
#pragma once

#include <string>

#include "io/time.h"
#include "server/config/reader.h"
#include "upkeep/retention.h"

namespace hansa::server::config {

inline constexpr std::size_t max_policies = 1000;
inline constexpr std::size_t max_keep_tags = 100;  // of a policy
inline constexpr std::size_t max_patterns = 100;   // of a policy's repositories, and of an entry of keepTags

struct RetentionSection {
  io::Duration delay{};  // grace time of untagged manifests
  upkeep::Retention rules;
  std::string canonical;  // the same text for the same rules: shows what changed, and what differs between members
};

// What is wrong goes to `problems`. `gc_delay` is the default of the delay.
RetentionSection read_retention(const Reader& in, io::Duration gc_delay, Problems& problems);

}  // namespace hansa::server::config
