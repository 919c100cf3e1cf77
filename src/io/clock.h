// Clock: the only source of time. Thread-safe, never fails. Timers belong to the Executor.
#pragma once

#include "io/time.h"

namespace hansa::io {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime wall() const = 0;
  virtual MonotonicTime monotonic() const = 0;
  virtual BootTime boot() const = 0;
};

}  // namespace hansa::io
