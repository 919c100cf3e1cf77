// Pipe: bytes from one task to another that reads them as a ByteSource, a bounded number at a time.
//
// Single-threaded: both tasks run on one executor. One writer, one reader.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "io/byte_source.h"
#include "io/wait.h"

namespace hansa::cluster {

class Pipe final : public io::ByteSource {
 public:
  // At most `capacity` bytes, and one piece more, wait to be read.
  explicit Pipe(std::size_t capacity) : capacity_(capacity) {}

  // Copies `bytes`; waits while the pipe is full. False: nobody reads any more, or the wait was cancelled.
  io::Task<bool> write(ConstBytes bytes);
  // No more bytes come; what waits is still read.
  void end();
  // Nobody reads any more: a writer that waits goes on.
  void close();

  io::Task<Result<std::size_t>> read(Bytes out) override;

  std::uint64_t taken() const { return taken_; }
  bool starved() const { return held_ == 0 && !ended_; }  // the reader waits for the writer

 private:
  using Waiter = std::optional<io::Completion<bool>>;
  static io::Task<bool> wait(Waiter* waiter);
  static void wake(Waiter& waiter);

  const std::size_t capacity_;
  std::deque<std::vector<std::byte>> pieces_;
  std::size_t at_ = 0;  // in the first piece
  std::size_t held_ = 0;
  std::uint64_t taken_ = 0;
  bool ended_ = false;
  bool closed_ = false;
  Waiter reader_;
  Waiter writer_;
};

}  // namespace hansa::cluster
