// A file of the real disk; posix_disk.cc opens it.
#pragma once

#include <string>
#include <utility>

#include "io/disk.h"

namespace hansa::io::asio {

// Owns a descriptor; -1: none.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// The error of the call that just failed: reads errno. "what path: reason".
Error path_error(const char* what, const std::string& path);

class PosixFile final : public File {
 public:
  PosixFile(std::string path, Descriptor fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  Result<std::size_t> read(std::uint64_t offset, Bytes out) override;
  Result<void> write(std::uint64_t offset, ConstBytes data) override;
  Result<void> sync() override;
  void start_writeback(std::uint64_t offset, std::uint64_t length) override;
  Result<void> truncate(std::uint64_t length) override;
  Result<std::uint64_t> size() override;
  int descriptor() const override { return fd_.get(); }

 private:
  const std::string path_;
  const Descriptor fd_;
};

}  // namespace hansa::io::asio
