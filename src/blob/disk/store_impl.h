// The implementation of DiskBlobStore; private to this folder. disk_store.cc has what requests use, maintenance.cc what
// upkeep uses, install.cc how a name appears and disappears.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "blob/disk/disk_store.h"
#include "blob/disk/layout.h"
#include "blob/disk/open_blob.h"
#include "blob/disk/staged.h"
#include "io/executor.h"

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
        started_at_(options_.current_tick()),
        unchecked_(options_.unchecked) {}
  Result<void> prepare();

  io::Task<Result<BlobInfo>> stat(oci::Digest digest) override;
  io::Task<Result<std::shared_ptr<BlobReader>>> open(oci::Digest digest) override;
  io::Task<Result<std::shared_ptr<StagedReader>>> read_staged(std::string id) override;
  io::Task<Result<std::shared_ptr<StagedBlob>>> create_staged(std::string id, oci::Algorithm algorithm) override;
  io::Task<Result<std::shared_ptr<StagedBlob>>> reopen_staged(std::string id, oci::Algorithm algorithm) override;
  io::Task<Result<std::shared_ptr<StagedBlob>>> adopt_staged(std::string id, std::string file,
                                                             oci::Algorithm algorithm) override;
  io::Task<Result<void>> discard_staged(std::string id) override;
  io::Task<Result<std::vector<std::string>>> list_staged() override;
  io::Task<Result<Receipt>> finish(std::shared_ptr<StagedBlob> staged, oci::Digest expected) override;
  io::Task<Result<Receipt>> put(oci::Digest digest, std::string content) override;
  io::Task<Result<Receipt>> renew_receipt(oci::Digest digest) override;

  io::Task<Result<std::vector<StoredBlob>>> list(std::optional<oci::Digest> after, std::size_t limit) override;
  io::Task<Result<std::size_t>> sweep(std::vector<oci::Digest> digests,
                                      std::function<bool(const oci::Digest&)> unnamed) override;
  io::Task<Result<std::size_t>> empty_trash() override;
  io::Task<Result<std::size_t>> restore_trash() override;
  io::Task<Result<void>> scrub(oci::Digest digest) override;
  void believe_all() override;

  // For readers.
  Result<void> verify_now(OpenBlob& blob, std::uint64_t offset, std::uint64_t length);
  Result<std::size_t> read_now(OpenBlob& blob, std::uint64_t offset, Bytes out);
  bool is_verified(const OpenBlob& blob, std::uint64_t offset, std::uint64_t length) const {
    return blob.is_verified(offset, length, clock_.boot(), options_.verify_every);
  }

 private:
  // What hashing a whole file tells.
  struct Hashed {
    bool sound = false;
    std::uint64_t size = 0;
    ChunkSums sums;
  };

  std::mutex& lock_of(const oci::Digest& digest) { return locks_[std::hash<oci::Digest>{}(digest) % locks_.size()]; }

  // All of these are blocking work, on a pool's thread. "_locked": with the digest's lock held.
  Result<std::shared_ptr<OpenBlob>> open_now(const oci::Digest& digest);
  Result<std::shared_ptr<OpenBlob>> open_locked(const oci::Digest& digest);
  std::optional<ChunkSums> read_sidecar(const oci::Digest& digest, std::uint64_t size);
  Result<std::shared_ptr<OpenBlob>> rebuild_locked(const oci::Digest& digest, std::unique_ptr<io::File> file);
  Result<oci::Digest> digest_of(DiskStaged& staged, oci::Algorithm algorithm);
  Result<Receipt> put_now(const oci::Digest& digest, const std::string& content);
  bool is_believed(const oci::Digest& digest);
  void believe(const oci::Digest& digest);
  Result<Receipt> renew_now(const oci::Digest& digest);
  Result<void> discard_now(const std::string& id);
  Result<void> write_sidecar(const std::string& path, const oci::Digest& digest, std::uint64_t size,
                             const ChunkSums& sums);

  // install.cc
  Result<void> make_folder(const oci::Digest& digest);
  Result<void> find_folders(oci::Algorithm algorithm);
  Result<void> sync_folder(const oci::Digest& digest);
  Result<Receipt> install(DiskStaged& staged, const oci::Digest& digest);
  Result<void> sync_staged(DiskStaged& staged, const oci::Digest& digest, const ChunkSums& sums);
  Result<Receipt> install_locked(DiskStaged& staged, const oci::Digest& digest, const ChunkSums& sums);
  void name_sidecar(const std::string& id, const oci::Digest& digest);
  void give_up_staged(DiskStaged& staged, const oci::Digest& digest);
  void give_up_name_locked(const oci::Digest& digest, bool named_before);
  Receipt receipt_locked(const oci::Digest& digest);
  Result<bool> quarantine_locked(const oci::Digest& digest);
  bool quarantine_is_full();

  // maintenance.cc
  Result<Hashed> hash_file(io::File& file, const oci::Digest& digest);
  void look_into_damage(const oci::Digest& digest);
  Result<bool> put_away_if_damaged_locked(const oci::Digest& digest);
  Result<void> mend_sidecar_locked(const oci::Digest& digest, const Hashed& hashed);
  struct Scrubbing;
  io::Task<Result<void>> scrub_on(io::Pool pool, oci::Digest digest);
  Result<bool> scrub_step(Scrubbing& now);
  Result<void> take_hashed(const oci::Digest& digest, const Hashed& hashed);
  Result<std::size_t> sweep_now(const std::vector<oci::Digest>& digests,
                                const std::function<bool(const oci::Digest&)>& unnamed);
  Result<bool> move_to_trash(const oci::Digest& digest, const std::function<bool(const oci::Digest&)>& unnamed);
  Result<std::size_t> empty_trash_now();
  Result<std::size_t> restore_trash_now();
  Result<bool> restore_one(const std::string& name, const oci::Digest& digest);
  Result<std::vector<StoredBlob>> list_now(const std::optional<oci::Digest>& after, std::size_t limit);
  void remove_stray_sidecars(oci::Algorithm algorithm, const std::string& path,
                             const std::vector<io::DirectoryEntry>& entries);
  Result<void> list_folder(oci::Algorithm algorithm, const std::string& folder, const std::optional<oci::Digest>& after,
                           std::size_t limit, std::vector<StoredBlob>& out);

  io::Disk& disk_;
  io::Clock& clock_;
  io::Random& random_;
  Logger& log_;
  DiskStoreOptions options_;
  Layout layout_;
  OpenBlobs open_blobs_;
  TickNumber started_at_;
  std::atomic<bool> unchecked_;

  // Per-digest locks, striped; only inside blocking work.
  std::array<std::mutex, 64> locks_;
  std::mutex mutex_;                      // of what follows; taken after a digest's lock
  std::set<std::string> folders_;         // that are there, durably
  std::set<std::string> synced_folders_;  // all names in them are durable, also those of earlier processes
  std::set<oci::Digest> believed_;        // hashed or written by this process, while others are unchecked
  // Names whose fsync failed and that could not be taken back: they give no receipts.
  std::set<oci::Digest> undurable_;
  std::map<oci::Digest, TickNumber> receipts_;  // last receipt of each digest, of the last ticks only
  TickNumber pruned_at_ = 0;
};

}  // namespace hansa::blob::disk
