// Pieces of Copies: what its verbs say in JSON, bodies, staged files. Private to this room.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "blob/store.h"
#include "catalog/records.h"
#include "cluster/growth.h"
#include "cluster/slots.h"
#include "io/byte_source.h"

namespace hansa::cluster {

inline constexpr std::size_t transfer_buffer = 256 * 1024;  // bytes
inline constexpr std::size_t first_piece = 16 * 1024;       // of a blob that is fetched: a client may wait for it
inline constexpr std::size_t staging_random_bytes = 16;

namespace wire {
std::string digest_arguments(const oci::Digest& digest);
std::string get_arguments(const oci::Digest& digest, std::uint64_t offset, const GetTerms& terms);
std::string put_arguments(const oci::Digest& digest, std::uint64_t size);
std::string receipt_text(const blob::Receipt& receipt);
std::string size_text(std::uint64_t size, std::uint64_t distance = 0);

struct BlobArguments {
  oci::Digest digest;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  GetTerms terms;
};
// invalid(request) for what is malformed.
Result<BlobArguments> read_arguments(std::string_view text);
Result<catalog::Receipt> read_receipt(std::string_view text);
Result<std::uint64_t> read_size(std::string_view text);
// Of an answer with a blob that may still grow; 0: it is whole.
std::uint64_t read_distance(std::string_view text);
}  // namespace wire

// Errors of this node and its disk, for which another member is no remedy.
bool is_local(ErrorCode code);
// A peer's error as one that is not taken for our own.
Error of_peer(const Error& error);

// A stored blob from `offset` on, checked chunk by chunk. Keeps a slot for as long as it lives.
class BlobSource final : public io::ByteSource {
 public:
  BlobSource(std::shared_ptr<blob::BlobReader> reader, std::uint64_t offset, std::optional<Slots::Held> slot)
      : reader_(std::move(reader)), at_(offset), slot_(std::move(slot)) {}
  io::Task<Result<std::size_t>> read(Bytes out) override;
  std::uint64_t given() const { return at_; }
  bool ended() const { return at_ >= reader_->size(); }

 private:
  std::shared_ptr<blob::BlobReader> reader_;
  std::uint64_t at_;
  bool begun_ = false;
  std::optional<Slots::Held> slot_;
};

// Appends `body` until the staged blob has `size` bytes; `grew` hears how many it has. timeout: no byte for `stall`;
// disconnected: the body ended before; invalid(digest): it has more.
io::Task<Result<void>> append_all(std::shared_ptr<io::ByteSource> body, std::shared_ptr<blob::StagedBlob> staged,
                                  std::uint64_t size, io::Duration stall,
                                  const std::function<void(std::uint64_t)>& grew = nullptr);

// Appends `body` to its end. timeout: no byte for `stall`.
io::Task<Result<void>> append_stream(std::shared_ptr<io::ByteSource> body, std::shared_ptr<blob::StagedBlob> staged,
                                     io::Duration stall);

// A staged file's id in a set for as long as this lives.
class Staging {
 public:
  Staging(std::mutex& mutex, std::set<std::string>& ids, std::string id);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  const std::string& id() const { return id_; }

 private:
  std::mutex& mutex_;
  std::set<std::string>& ids_;
  const std::string id_;
};

// One more for `key` for as long as this lives.
template <class Key>
class Counted {
 public:
  Counted(std::mutex& mutex, std::map<Key, std::size_t>& counts, Key key)
      : mutex_(mutex), counts_(counts), key_(std::move(key)) {
    const std::lock_guard guard(mutex_);
    ++counts_[key_];
  }
  ~Counted() {
    const std::lock_guard guard(mutex_);
    if (--counts_[key_] == 0) counts_.erase(key_);
  }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::mutex& mutex_;
  std::map<Key, std::size_t>& counts_;
  const Key key_;
};

}  // namespace hansa::cluster
