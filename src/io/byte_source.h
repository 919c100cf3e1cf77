// ByteSource: bytes that arrive in order: a request body, a peer's answer, a file being imported.
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "io/task.h"

namespace hansa::io {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Waits for at least one byte and fills at most out.size(); 0 means the end. An implementation fills as much as it
  // can get without long waits. After an error or the end it is not read again.
  // Errors: disconnected, timeout, too_large, cancelled. `out` stays valid until the task ends.
  virtual Task<Result<std::size_t>> read(Bytes out) = 0;
};

// A source over bytes in memory, for tests and small bodies. Does not own them.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(ConstBytes bytes) : rest_(bytes) {}
  Task<Result<std::size_t>> read(Bytes out) override;

 private:
  ConstBytes rest_;
};

}  // namespace hansa::io
