// The accepting of connections on one loop.
#pragma once

#include "http/loop_state.h"

namespace hansa::http {

// Accepts on `descriptor`, which it takes over, until cancelled; then once more what has arrived. A connection goes to
// the loop that has the fewest.
io::Task<void> accept_loop(LoopState& loop, int descriptor);

}  // namespace hansa::http
