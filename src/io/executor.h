// Executor: one thread of execution that runs coroutines (in the server one event loop per core; in the simulator
// the whole world), its timers, and the way to blocking work.
//
// Thread rule: post() and run_blocking() may be called from any thread; timers only from the executor's own.
// Work handed in must not throw. An Executor outlives every task that runs on it.
#pragma once

#include <cstdint>
#include <functional>

#include "io/time.h"

namespace hansa::io {

// Pools of blocking work: one per kind, bounded, none waiting for another's.
enum class Pool : std::uint8_t {
  disk,      // reads, writes, hashing of bodies
  sync,      // fsync and renames: few at a time
  metadata,  // reads of the store that may touch the disk for long
  auth,      // password hashes
  upkeep,    // scrub, sweeps
  names,     // lookups of host names, which may hang for long
};

using Work = std::move_only_function<void()>;
using TimerId = std::uint64_t;

class Executor {
 public:
  virtual ~Executor() = default;
  // Runs `work` on this executor's thread, later, in the order of the calls.
  virtual void post(Work work) = 0;
  // Fires once after `delay`, on this thread.
  virtual TimerId start_timer(Duration delay, Work fire) = 0;
  // The timer will not fire, if it has not fired yet; an id that is gone is ignored.
  virtual void cancel_timer(TimerId id) = 0;
  // Runs `work` on a thread of `pool` (the simulator: inline, after a drawn delay). A full queue makes the work wait.
  virtual void run_blocking(Pool pool, Work work) = 0;
  virtual bool on_this_thread() const = 0;
};

}  // namespace hansa::io
