// Throttle: so many bytes a second for all who share it, and a source that keeps to it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "io/byte_source.h"
#include "io/time.h"
#include "io/wait.h"

namespace hansa::cluster {

// Thread-safe. Without I/O and without a clock of its own.
class Throttle {
 public:
  explicit Throttle(std::uint64_t bytes_per_second) : rate_(bytes_per_second) {}  // 0: no limit

  // `bytes` have come: how long to wait before the next ones are asked for. What was not used lately is given later,
  // for at most a tenth of a second.
  io::Duration take(std::uint64_t bytes, io::MonotonicTime now);

 private:
  const std::uint64_t rate_;
  std::mutex mutex_;
  io::MonotonicTime free_at_;
};

// Asks `held` after each read how long to wait before the next one.
class ThrottledSource final : public io::ByteSource {
 public:
  using Held = std::function<io::Duration(std::size_t bytes)>;
  ThrottledSource(std::shared_ptr<io::ByteSource> source, Held held)
      : source_(std::move(source)), held_(std::move(held)) {}
  io::Task<Result<std::size_t>> read(Bytes out) override;

 private:
  std::shared_ptr<io::ByteSource> source_;
  Held held_;
  io::Duration wait_{};
};

}  // namespace hansa::cluster
