// A staged blob: a file in staging/ with the hash and the chunk sums of what was appended so far. Private to the store.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "blob/disk/sidecar.h"
#include "blob/store.h"
#include "io/disk.h"

namespace hansa::blob::disk {

class DiskStaged final : public StagedBlob {
 public:
  DiskStaged(std::string id, std::string path, std::unique_ptr<io::File> file, oci::Algorithm algorithm)
      : id_(std::move(id)), path_(std::move(path)), file_(std::move(file)), hasher_(algorithm) {}

  std::uint64_t size() const override { return size_; }
  io::Task<Result<void>> append(ConstBytes data) override;
  oci::Algorithm algorithm() const override { return hasher_.algorithm(); }

  const std::string& id() const { return id_; }
  const std::string& path() const { return path_; }
  // REQUIRES: usable().
  io::File& file() { return *file_; }
  // After finish(), or given up after a failed fsync, it takes no bytes and gives no blob any more.
  bool usable() const { return file_ != nullptr; }
  std::unique_ptr<io::File> take_file() { return std::move(file_); }
  oci::Digest digest() const { return hasher_.digest(); }
  ChunkSums sums() const { return summer_.sums(); }

  // Blocking halves, for the pools.
  Result<void> append_now(ConstBytes data);
  // The file ends where the appended bytes end, also after an append that failed. An error if it is not usable.
  Result<void> settle();
  // Hashes what the file holds, from its start (H12).
  Result<void> rehash();
  // The digest of the file by another algorithm than the running one.
  Result<oci::Digest> digest_by(oci::Algorithm algorithm);

 private:
  std::string id_;
  std::string path_;
  std::unique_ptr<io::File> file_;
  oci::Hasher hasher_;
  ChunkSummer summer_;
  std::uint64_t size_ = 0;
  std::uint64_t flushed_ = 0;  // write-back was started up to here
  bool has_tail_ = false;      // a failed append left bytes behind the end
};

class DiskStagedReader final : public StagedReader {
 public:
  explicit DiskStagedReader(std::unique_ptr<io::File> file) : file_(std::move(file)) {}
  io::Task<Result<std::size_t>> read(std::uint64_t offset, Bytes out) override;
  int descriptor() const override { return file_->descriptor(); }
  io::Task<Result<std::uint64_t>> size() override;

 private:
  const std::unique_ptr<io::File> file_;
};

}  // namespace hansa::blob::disk
