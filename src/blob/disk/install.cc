// How a name appears under blobs/ and how it goes when something is wrong.
#include "blob/disk/store_impl.h"

namespace hansa::blob::disk {
namespace {

// Sums of a smaller blob are not fsynced: after a power cut it is hashed again in less time than an fsync takes.
constexpr std::uint64_t synced_sidecar_from = MiB;

}  // namespace

// Once per process: of a folder that was there at the start only the names in it may be undurable (sync_folder).
Result<void> Store::make_folder(const oci::Digest& digest) {
  const std::string folder = layout_.folder(digest);
  {
    const std::lock_guard guard(mutex_);
    if (folders_.contains(folder)) return {};
  }
  HANSA_CHECK(disk_.make_directories(folder));
  HANSA_CHECK(disk_.sync_directory(layout_.algorithm_folder(digest.algorithm())));
  const std::lock_guard guard(mutex_);
  folders_.insert(folder);
  return {};
}

// A process that was killed may have made some and not synced them.
Result<void> Store::find_folders(oci::Algorithm algorithm) {
  const std::string above = layout_.algorithm_folder(algorithm);
  HANSA_TRY(const auto there, disk_.list(above));
  if (there.empty()) return {};
  HANSA_CHECK(disk_.sync_directory(above));
  const std::lock_guard guard(mutex_);
  for (const auto& entry : there) folders_.insert(above + "/" + entry.name);
  return {};
}

// Makes the names in the digest's folder durable, once per process: those that a killed process made as well.
Result<void> Store::sync_folder(const oci::Digest& digest) {
  const std::string folder = layout_.folder(digest);
  {
    const std::lock_guard guard(mutex_);
    if (synced_folders_.contains(folder)) return {};
  }
  HANSA_CHECK(disk_.sync_directory(folder));
  const std::lock_guard guard(mutex_);
  synced_folders_.insert(folder);
  return {};
}

// None for a blob of one chunk.
Result<void> Store::write_sidecar(const std::string& path, const oci::Digest& digest, std::uint64_t size,
                                  const ChunkSums& sums) {
  if (!has_sidecar(size)) return {};
  HANSA_TRY(auto file, disk_.open(path, io::OpenMode::create));
  HANSA_CHECK(file->truncate(0));
  HANSA_CHECK(file->write(0, as_bytes(encode_sidecar(digest, size, sums))));
  if (size < synced_sidecar_from) return {};
  return file->sync();
}

// A file whose fsync failed holds anything from now on, whatever a later fsync says (P1).
void Store::give_up_staged(DiskStaged& staged, const oci::Digest& digest) {
  const auto closed = staged.take_file();
  const std::string to = layout_.quarantined(digest, "unsynced-" + random_.hex(4));
  const auto moved = disk_.rename(staged.path(), to);
  log_.error("an fsync failed; the file is given up",
             {{"digest", digest.text()}, {"path", moved ? to : staged.path()}});
  if (moved) return;
  if (auto removed = disk_.remove(staged.path()); !removed) {
    log_.error("cannot remove it either", {{"path", staged.path()}, {"error", removed.error().message}});
  }
}

Result<void> Store::sync_staged(DiskStaged& staged, const oci::Digest& digest, const ChunkSums& sums) {
  HANSA_CHECK(write_sidecar(layout_.staged_sidecar(staged.id()), digest, staged.size(), sums));
  auto synced = staged.file().sync();
  if (synced) return {};
  give_up_staged(staged, digest);
  return std::move(synced).error().with_context("the blob could not be made durable");
}

Result<Receipt> Store::install(DiskStaged& staged, const oci::Digest& digest) {
  HANSA_CHECK(staged.settle());
  const ChunkSums sums = staged.sums();
  HANSA_CHECK(make_folder(digest));
  auto synced = sync_staged(staged, digest, sums);
  Result<Receipt> receipt = synced ? install_locked(staged, digest, sums) : Result<Receipt>(synced.error());
  if (!receipt) {
    // Gives its space back; the sums themselves are in memory.
    auto removed = disk_.remove(layout_.staged_sidecar(staged.id()));
    if (!removed && removed.error().code != ErrorCode::not_found) {
      log_.warn("cannot remove what a failed write left", {{"error", removed.error().message}});
    }
  }
  return receipt;
}

void Store::name_sidecar(const std::string& id, const oci::Digest& digest) {
  const auto named = disk_.rename(layout_.staged_sidecar(id), layout_.sidecar(digest));
  if (named) return;
  log_.warn("the checksums of a blob were not kept", {{"digest", digest.text()}, {"error", named.error().message}});
  const auto removed = disk_.remove(layout_.staged_sidecar(id));
  if (!removed) log_.debug("they stay until the next start", {{"error", removed.error().message}});
}

Result<Receipt> Store::install_locked(DiskStaged& staged, const oci::Digest& digest, const ChunkSums& sums) {
  const std::lock_guard guard(lock_of(digest));
  const bool named_before = disk_.info(layout_.file(digest)).has_value();
  // Over whatever was there: it may be rotten. Until here the upload is as it was and may be tried again.
  HANSA_CHECK(disk_.rename(staged.path(), layout_.file(digest)));
  const std::uint64_t size = staged.size();
  auto file = staged.take_file();
  open_blobs_.drop(digest);
  // Without them the next open() hashes the file; those that lie there already are of the same bytes.
  if (has_sidecar(size)) name_sidecar(staged.id(), digest);
  if (auto synced = disk_.sync_directory(layout_.folder(digest)); !synced) {
    give_up_name_locked(digest, named_before);
    return std::move(synced).error().with_context("the blob's name could not be made durable");
  }
  auto blob = std::make_shared<OpenBlob>(digest, std::move(file), size, sums);
  blob->mark_verified(clock_.boot());
  open_blobs_.insert(std::move(blob));
  {
    const std::lock_guard inner(mutex_);
    undurable_.erase(digest);
    synced_folders_.insert(layout_.folder(digest));
  }
  believe(digest);
  return receipt_locked(digest);
}

// The folder's fsync failed: the name may go at the next power cut, so nobody may count on it.
void Store::give_up_name_locked(const oci::Digest& digest, bool named_before) {
  {
    const std::lock_guard guard(mutex_);
    synced_folders_.erase(layout_.folder(digest));
  }
  // A blob that had a durable name keeps one: whichever file a power cut leaves, its bytes are fsynced.
  if (named_before) return;
  const std::string to = layout_.quarantined(digest, "unsynced-" + random_.hex(4));
  const auto moved = disk_.rename(layout_.file(digest), to);
  log_.error("the fsync of a folder failed; the new blob is given up",
             {{"digest", digest.text()}, {"path", moved ? to : layout_.file(digest)}});
  if (moved) return;
  const std::lock_guard guard(mutex_);
  undurable_.insert(digest);
}

Receipt Store::receipt_locked(const oci::Digest& digest) {
  const TickNumber tick = options_.current_tick();
  const std::lock_guard guard(mutex_);
  if (tick > pruned_at_) {
    // Only the last two ticks' receipts hold a sweep back.
    std::erase_if(receipts_, [tick](const auto& entry) { return entry.second + 2 < tick; });
    pruned_at_ = tick;
  }
  receipts_[digest] = tick;
  return Receipt{.node = options_.node, .disk = options_.disk, .tick = tick};
}

bool Store::quarantine_is_full() {
  if (options_.max_quarantined == 0) return false;
  const auto kept = disk_.list(layout_.quarantine());
  return kept && kept->size() >= options_.max_quarantined;
}

// Whether there was a file to move.
Result<bool> Store::quarantine_locked(const oci::Digest& digest) {
  open_blobs_.drop(digest);
  const std::string to = quarantine_is_full() ? "" : layout_.quarantined(digest, random_.hex(4));
  auto moved = to.empty() ? disk_.remove(layout_.file(digest)) : disk_.rename(layout_.file(digest), to);
  if (!moved && moved.error().code == ErrorCode::not_found) return false;
  if (!moved) return std::move(moved).error().with_context("a damaged blob could not be put away");
  if (to.empty()) {
    log_.error("a damaged blob was deleted: the quarantine is full", {{"digest", digest.text()}});
  } else {
    log_.error("a damaged blob was moved to the quarantine", {{"digest", digest.text()}, {"path", to}});
  }
  // Without a blob its sums are only litter, and a name that comes back after a power cut is found damaged again.
  const auto removed = disk_.remove(layout_.sidecar(digest));
  const auto synced = disk_.sync_directory(layout_.folder(digest));
  if (!removed || !synced) {
    log_.warn("after a quarantine", {{"sums removed", removed.has_value()}, {"folder synced", synced.has_value()}});
  }
  return true;
}

}  // namespace hansa::blob::disk
