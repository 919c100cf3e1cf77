// The implementation of DiskBlobStore; private to this folder. disk_store.cc has what requests use, maintenance.cc what
// upkeep uses, install.cc how a name appears and disappears.
#pragma once

#include <array>
#include <map>
#include <mutex>
#include <set>

#include "blob/disk/disk_store.h"
#include "blob/disk/layout.h"
#include "blob/disk/open_blob.h"
#include "blob/disk/staged.h"

namespace hansa::blob::disk {

class Store final : public DiskBlobStore {
 public:
  Store(io::Disk& disk, io::Clock& clock, io::Random& random, Logger& log, DiskStoreOptions options)
      : disk_(disk),
        clock_(clock),
        random_(random),
        log_(log),
        options_(std::move(options)),
        layout_(options_.root),
        open_blobs_(options_.open_blobs, options_.chunk_memory),
        started_at_(options_.current_tick()) {}
  Result<void> prepare();

  io::Task<Result<BlobInfo>> stat(oci::Digest digest) override;
  io::Task<Result<std::shared_ptr<BlobReader>>> open(oci::Digest digest) override;
  io::Task<Result<std::shared_ptr<StagedBlob>>> create_staged(std::string id, oci::Algorithm algorithm) override;
  io::Task<Result<std::shared_ptr<StagedBlob>>> reopen_staged(std::string id, oci::Algorithm algorithm) override;
  io::Task<Result<void>> discard_staged(std::string id) override;
  io::Task<Result<std::vector<std::string>>> list_staged() override;
  io::Task<Result<Receipt>> finish(std::shared_ptr<StagedBlob> staged, oci::Digest expected) override;
  io::Task<Result<Receipt>> put(oci::Digest digest, std::string content) override;
  io::Task<Result<Receipt>> renew_receipt(oci::Digest digest) override;

  io::Task<Result<std::vector<StoredBlob>>> list(std::optional<oci::Digest> after, std::size_t limit) override;
  io::Task<Result<bool>> sweep(oci::Digest digest, std::function<bool()> unnamed) override;
  io::Task<Result<std::size_t>> empty_trash() override;
  io::Task<Result<void>> scrub(oci::Digest digest) override;

  // For readers.
  Result<void> verify_now(const std::shared_ptr<OpenBlob>& blob, std::uint64_t offset, std::uint64_t length);
  bool is_verified(const OpenBlob& blob, std::uint64_t offset, std::uint64_t length) const {
    return blob.is_verified(offset, length, clock_.monotonic(), options_.verify_every);
  }

 private:
  std::mutex& lock_of(const oci::Digest& digest) { return locks_[std::hash<oci::Digest>{}(digest) % locks_.size()]; }

  // Blocking work, on a pool's thread.
  Result<std::shared_ptr<OpenBlob>> open_now(const oci::Digest& digest);
  Result<std::shared_ptr<OpenBlob>> rebuild_sidecar(const oci::Digest& digest, std::unique_ptr<io::File> file,
                                                    std::uint64_t size);
  Result<Receipt> finish_now(DiskStaged& staged, const oci::Digest& expected);
  Result<Receipt> put_now(const oci::Digest& digest, const std::string& content);
  Result<void> write_sidecar(const std::string& path, std::uint64_t size, const ChunkSums& sums);
  Result<void> make_folder(const oci::Digest& digest);
  Result<Receipt> install(DiskStaged& staged, const oci::Digest& digest);
  Receipt receipt_for(const oci::Digest& digest);  // with the digest's lock held
  void quarantine(const oci::Digest& digest);
  void quarantine_with_lock(const oci::Digest& digest);
  void give_up_staged(DiskStaged& staged, const oci::Digest& digest);
  Result<bool> sweep_now(const oci::Digest& digest, const std::function<bool()>& unnamed);
  Result<std::size_t> empty_trash_now();
  Result<std::vector<StoredBlob>> list_now(const std::optional<oci::Digest>& after, std::size_t limit);
  Result<void> list_folder(oci::Algorithm algorithm, const std::string& folder, const std::optional<oci::Digest>& after,
                           std::size_t limit, std::vector<StoredBlob>& out);
  Result<void> scrub_now(const oci::Digest& digest);

  io::Disk& disk_;
  io::Clock& clock_;
  io::Random& random_;
  Logger& log_;
  DiskStoreOptions options_;
  Layout layout_;
  OpenBlobs open_blobs_;
  TickNumber started_at_;

  // Per-digest locks, striped; only inside blocking work.
  std::array<std::mutex, 64> locks_;
  std::mutex mutex_;                            // of what follows
  std::set<std::string> folders_;               // that exist durably
  std::map<oci::Digest, TickNumber> receipts_;  // last receipt of each digest, of the last ticks only
  TickNumber pruned_at_ = 0;
};

}  // namespace hansa::blob::disk
