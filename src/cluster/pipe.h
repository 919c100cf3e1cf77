// Feed: bytes from one task to another that reads them as a ByteSource. One writer, one reader, on one executor.
//
//   Pipe       from memory, a bounded number at a time
//   Follower   from a staged file that the writer appends to, from any byte of it on: for a reader that has to catch up
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "blob/store.h"
#include "cluster/growth.h"
#include "io/byte_source.h"
#include "io/wait.h"

namespace hansa::cluster {

class Feed : public io::ByteSource {
 public:
  // False: nobody reads any more, or the wait was cancelled.
  virtual io::Task<bool> write(ConstBytes bytes) = 0;
  // No more bytes come; what waits is still read.
  virtual void end() = 0;
  // Nobody reads any more: a writer that waits goes on.
  virtual void close() = 0;

  virtual std::uint64_t taken() const = 0;
  virtual bool starved() const = 0;  // the reader waits for the writer
};

class Pipe final : public Feed {
 public:
  // At most `capacity` bytes, and one piece more, wait to be read.
  explicit Pipe(std::size_t capacity) : capacity_(capacity) {}

  // Copies `bytes`; waits while the pipe is full.
  io::Task<bool> write(ConstBytes bytes) override;
  void end() override;
  void close() override;
  io::Task<Result<std::size_t>> read(Bytes out) override;
  std::uint64_t taken() const override { return taken_; }
  bool starved() const override { return held_ == 0 && !ended_; }

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

class Follower final : public Feed {
 public:
  // The staged blob `file`, which has `have` bytes now, from byte `from` on. `blobs` outlives it.
  Follower(blob::BlobStore& blobs, std::string file, std::uint64_t from, std::uint64_t have);

  // The bytes are in the file already.
  io::Task<bool> write(ConstBytes bytes) override;
  void end() override;
  void close() override;
  io::Task<Result<std::size_t>> read(Bytes out) override;
  std::uint64_t taken() const override { return at_ - from_; }
  bool starved() const override { return at_ == have_ && !ended_; }

 private:
  blob::BlobStore& blobs_;
  const std::string file_;
  const std::uint64_t from_;
  std::uint64_t at_;
  std::uint64_t have_;
  bool ended_ = false;
  bool closed_ = false;
  Growth growth_;
  std::shared_ptr<blob::StagedReader> reader_;  // once something was read
};

}  // namespace hansa::cluster
