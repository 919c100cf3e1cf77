// check(): a file's tree against the key table. Every mistake is collected, so that one run names all of them.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "server/config/key_table.h"
#include "server/config/value.h"

namespace hansa::server::config {

struct Problems {
  std::vector<std::string> errors;    // each names its key and says what to do
  std::vector<std::string> warnings;  // what is accepted without effect

  void error(std::string_view key, std::string_view what);
  void warn(std::string_view key, std::string_view what);
};

// The tree with the table's spelling of keys and plain scalars (booleans "true" or "false"). Keys of maps are in lower
// case. What is wrong is in `problems` and left out of the tree.
Value check(const Value& file, const Schema& schema, Problems& problems);

// The nearest of `known`, if one is near enough to be what was meant; else empty.
std::string nearest(std::string_view key, const std::vector<std::string>& known);

}  // namespace hansa::server::config
