// Runs a small tool of etcd (snapshot restore) to its end. Blocks.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace hansa::voters {

// not_found: no such program. io: it failed; the message ends with what it printed (bounded).
Result<void> run_program(std::vector<std::string> words);

}  // namespace hansa::voters
