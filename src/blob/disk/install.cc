// How a name appears and disappears under blobs/.
#include "blob/disk/store_impl.h"

namespace hansa::blob::disk {

Result<void> Store::make_folder(const oci::Digest& digest) {
  const std::string folder = layout_.folder(digest);
  {
    const std::lock_guard guard(mutex_);
    if (folders_.contains(folder)) return {};
  }
  HANSA_CHECK(disk_.make_directories(folder));
  const std::lock_guard guard(mutex_);
  folders_.insert(folder);
  return {};
}

// Not fsynced: a sidecar that a crash takes or tears is made anew (sidecar.h).
Result<void> Store::write_sidecar(const std::string& path, std::uint64_t size, const ChunkSums& sums) {
  HANSA_TRY(auto file, disk_.open(path, io::OpenMode::create));
  HANSA_CHECK(file->truncate(0));
  return file->write(0, as_bytes(encode_sidecar(size, sums)));
}

// A file whose fsync failed holds anything from now on, whatever a later fsync says (P1).
void Store::give_up_staged(DiskStaged& staged, const oci::Digest& digest) {
  const std::string to = layout_.quarantined(digest, "unsynced-" + random_.hex(4));
  auto moved = disk_.rename(staged.path(), to);
  log_.error("an fsync failed; the file is quarantined",
             {{"digest", digest.text()}, {"path", moved ? to : staged.path()}});
  if (!moved) {
    auto removed = disk_.remove(staged.path());
    if (!removed) log_.warn("cannot remove it either", {{"error", removed.error().message}});
  }
}

Result<Receipt> Store::install(DiskStaged& staged, const oci::Digest& digest) {
  HANSA_CHECK(make_folder(digest));
  const std::string sidecar = staged.path() + ".crc";
  const ChunkSums sums = staged.sums();
  HANSA_CHECK(write_sidecar(sidecar, staged.size(), sums));
  if (auto synced = staged.file().sync(); !synced) {
    give_up_staged(staged, digest);
    return std::move(synced).error().with_context("the blob could not be made durable");
  }
  const std::lock_guard guard(lock_of(digest));
  // The sidecar first: at no time does a name stand beside the sums of other bytes, since the bytes are those of the
  // digest either way. What lay there before may be rotten; it is replaced, never kept.
  HANSA_CHECK(disk_.rename(sidecar, layout_.sidecar(digest)));
  HANSA_CHECK(disk_.rename(staged.path(), layout_.file(digest)));
  if (auto synced = disk_.sync_directory(layout_.folder(digest)); !synced) {
    open_blobs_.drop(digest);
    return std::move(synced).error().with_context("the blob's name could not be made durable");
  }
  const std::uint64_t size = staged.size();
  auto blob = std::make_shared<OpenBlob>(digest, staged.take_file(), size, sums);
  blob->mark_verified(clock_.monotonic());
  open_blobs_.insert(std::move(blob));
  return receipt_for(digest);
}

Receipt Store::receipt_for(const oci::Digest& digest) {
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

void Store::quarantine(const oci::Digest& digest) {
  {
    const std::lock_guard guard(lock_of(digest));
    quarantine_with_lock(digest);
  }
  if (options_.on_corrupt) options_.on_corrupt(digest);
}

void Store::quarantine_with_lock(const oci::Digest& digest) {
  open_blobs_.drop(digest);
  const std::string to = layout_.quarantined(digest, random_.hex(4));
  auto moved = disk_.rename(layout_.file(digest), to);
  log_.error("damaged blob moved to the quarantine",
             {{"digest", digest.text()}, {"path", to}, {"moved", moved.has_value()}});
  auto removed = disk_.remove(layout_.sidecar(digest));
  auto synced = disk_.sync_directory(layout_.folder(digest));
  if (!synced) log_.warn("after a quarantine", {{"error", synced.error().message}, {"sidecar", removed.has_value()}});
}

Result<bool> Store::sweep_now(const oci::Digest& digest, const std::function<bool()>& unnamed) {
  const std::lock_guard guard(lock_of(digest));
  const TickNumber tick = options_.current_tick();
  {
    const std::lock_guard inner(mutex_);
    const auto receipt = receipts_.find(digest);
    if (receipt != receipts_.end() && receipt->second + 2 > tick) return false;
  }
  if (started_at_ + 2 > tick) return false;
  // Looks at a view that stands at `tick` or later, so that it shows every commit that a receipt could have led to (H1).
  if (!unnamed()) return false;
  HANSA_CHECK(disk_.rename(layout_.file(digest), layout_.trashed(digest, tick)));
  open_blobs_.drop(digest);
  auto removed = disk_.remove(layout_.sidecar(digest));
  if (!removed && removed.error().code != ErrorCode::not_found) return removed.error();
  HANSA_CHECK(disk_.sync_directory(layout_.trash()));
  HANSA_CHECK(disk_.sync_directory(layout_.folder(digest)));
  return true;
}

}  // namespace hansa::blob::disk
