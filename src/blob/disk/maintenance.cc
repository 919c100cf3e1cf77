// What upkeep does with the store: lists, sweeps, the trash, scrubbing.
#include <algorithm>
#include <set>

#include "blob/disk/store_impl.h"
#include "io/wait.h"

namespace hansa::blob::disk {
namespace {

constexpr std::uint64_t scrub_piece = 64 * MiB;  // hashed at a time

}  // namespace

io::Task<Result<std::vector<StoredBlob>>> Store::list(std::optional<oci::Digest> after, std::size_t limit) {
  auto work = [this, &after, limit] { return list_now(after, limit); };
  co_return co_await io::blocking(io::Pool::upkeep, std::move(work));
}

Result<std::vector<StoredBlob>> Store::list_now(const std::optional<oci::Digest>& after, std::size_t limit) {
  std::vector<StoredBlob> found;
  for (const auto algorithm : all_algorithms) {
    if (after && algorithm < after->algorithm()) continue;
    HANSA_TRY(const auto folders, disk_.list(layout_.algorithm_folder(algorithm)));
    const bool inside = after && after->algorithm() == algorithm;
    const std::string first = inside ? after->hex().substr(0, 2) : "";
    for (const auto& folder : folders) {
      if (!folder.directory || folder.name < first) continue;
      HANSA_CHECK(list_folder(algorithm, folder.name, after, limit, found));
      if (found.size() >= limit) return found;
    }
  }
  return found;
}

// Checksums whose blob is gone (a crash or an error came between the two) are of no use and would stay for ever.
void Store::remove_stray_sidecars(oci::Algorithm algorithm, const std::string& path,
                                  const std::vector<io::DirectoryEntry>& entries) {
  constexpr std::string_view suffix = ".crc";
  for (const auto& entry : entries) {
    if (!entry.name.ends_with(suffix)) continue;
    const std::string blob = entry.name.substr(0, entry.name.size() - suffix.size());
    if (std::ranges::binary_search(entries, blob, {}, &io::DirectoryEntry::name)) continue;
    const auto digest = oci::Digest::parse(std::string(oci::to_string(algorithm)) + ":" + blob);
    if (!digest) continue;
    const std::lock_guard guard(lock_of(*digest));
    if (disk_.info(path + "/" + blob)) continue;  // it came meanwhile
    auto removed = disk_.remove(path + "/" + entry.name);
    if (!removed) log_.debug("a stray checksum file stays", {{"error", removed.error().message}});
  }
}

Result<void> Store::list_folder(oci::Algorithm algorithm, const std::string& folder,
                                const std::optional<oci::Digest>& after, std::size_t limit,
                                std::vector<StoredBlob>& out) {
  const std::string path = layout_.algorithm_folder(algorithm) + "/" + folder;
  HANSA_TRY(const auto entries, disk_.list(path));
  remove_stray_sidecars(algorithm, path, entries);
  for (const auto& entry : entries) {
    if (out.size() >= limit) return {};
    auto digest = oci::Digest::parse(std::string(oci::to_string(algorithm)) + ":" + entry.name);
    if (!digest || !entry.name.starts_with(folder) || (after && *digest <= *after)) continue;  // sidecars do not parse
    auto info = disk_.info(path + "/" + entry.name);
    if (!info && info.error().code != ErrorCode::not_found) return info.error();
    if (info) out.push_back({.digest = *digest, .size = info->size});
  }
  return {};
}

io::Task<Result<std::size_t>> Store::sweep(std::vector<oci::Digest> digests,
                                           std::function<bool(const oci::Digest&)> unnamed) {
  auto work = [this, &digests, &unnamed] { return sweep_now(digests, unnamed); };
  co_return co_await io::blocking(io::Pool::upkeep, std::move(work));
}

io::Task<Result<std::size_t>> Store::empty_trash() {
  auto work = [this] { return empty_trash_now(); };
  co_return co_await io::blocking(io::Pool::upkeep, std::move(work));
}

Result<std::size_t> Store::empty_trash_now() {
  const TickNumber now = options_.current_tick();
  HANSA_TRY(const auto entries, disk_.list(layout_.trash()));
  std::size_t count = 0;
  for (const auto& entry : entries) {
    const auto tick = tick_of_trash(entry.name);
    if (!tick || *tick + 1 >= now) continue;
    HANSA_CHECK(disk_.remove(layout_.trash() + "/" + entry.name));
    ++count;
  }
  return count;
}

io::Task<Result<std::size_t>> Store::restore_trash() {
  auto work = [this] { return restore_trash_now(); };
  co_return co_await io::blocking(io::Pool::upkeep, std::move(work));
}

Result<std::size_t> Store::restore_trash_now() {
  HANSA_TRY(const auto entries, disk_.list(layout_.trash()));
  std::set<std::string> folders;
  std::size_t count = 0;
  for (const auto& entry : entries) {
    const auto digest = digest_of_trash(entry.name);
    if (!digest) continue;
    HANSA_TRY(const bool moved, restore_one(entry.name, *digest));
    if (!moved) continue;
    ++count;
    folders.insert(layout_.folder(*digest));
  }
  for (const std::string& folder : folders) HANSA_CHECK(disk_.sync_directory(folder));
  if (count > 0) HANSA_CHECK(disk_.sync_directory(layout_.trash()));
  return count;
}

Result<bool> Store::restore_one(const std::string& name, const oci::Digest& digest) {
  const std::lock_guard guard(lock_of(digest));
  const auto there = disk_.info(layout_.file(digest));
  if (there) return false;
  if (there.error().code != ErrorCode::not_found) return there.error();
  const auto moved = disk_.rename(layout_.trash() + "/" + name, layout_.file(digest));
  if (!moved && moved.error().code == ErrorCode::not_found) return false;  // unlinked meanwhile
  if (!moved) return moved.error();
  {
    // The name is durable once restore_trash_now() has synced the folder, or whoever needs it before.
    const std::lock_guard inner(mutex_);
    synced_folders_.erase(layout_.folder(digest));
  }
  receipt_locked(digest);
  return true;
}

io::Task<Result<void>> Store::scrub(oci::Digest digest) {
  return scrub_on(io::Pool::upkeep, std::move(digest));
}

// One piece in each piece of work, so that a large blob holds up neither the end of this process nor others that wait
// for the pool. Without the lock: it takes long.
struct Store::Scrubbing {
  oci::Digest digest;
  std::unique_ptr<io::File> file;
  oci::Hasher hasher;
  ChunkSummer summer;
  std::uint64_t length = 0;
  std::uint64_t at = 0;
};

io::Task<Result<void>> Store::scrub_on(io::Pool pool, oci::Digest digest) {
  Scrubbing scrubbing{.digest = digest, .file = nullptr, .hasher = oci::Hasher(digest.algorithm()), .summer = {}};
  io::TaskContext& context = co_await io::current_context();
  while (!context.cancelled()) {
    auto step = [&] { return scrub_step(scrubbing); };
    HANSA_CO_TRY(const bool done, co_await io::blocking(pool, std::move(step)));
    if (done) co_return Result<void>{};
  }
  co_return make_error(ErrorCode::cancelled, "cancelled while hashing a blob");
}

// Whether that was all.
Result<bool> Store::scrub_step(Scrubbing& now) {
  if (now.file == nullptr) {
    auto opened = disk_.open(layout_.file(now.digest), io::OpenMode::read);
    // Swept meanwhile: nothing to check.
    if (!opened && opened.error().code == ErrorCode::not_found) return true;
    if (!opened) return opened.error();
    now.file = *std::move(opened);
    HANSA_TRY(now.length, now.file->size());
  }
  const std::uint64_t before = now.at;
  HANSA_CHECK(read_part(*now.file, now.at, std::min(now.length, now.at + scrub_piece), [&](ConstBytes data) {
    now.hasher.update(data);
    now.summer.update(data);
    now.at += data.size();
  }));
  if (now.at > before && now.at < now.length) return false;
  const Hashed hashed{.sound = now.hasher.digest() == now.digest, .size = now.at, .sums = now.summer.sums()};
  HANSA_CHECK(take_hashed(now.digest, hashed));
  return true;
}

Result<void> Store::take_hashed(const oci::Digest& digest, const Hashed& hashed) {
  if (hashed.sound) {
    const std::lock_guard guard(lock_of(digest));
    if (!disk_.info(layout_.file(digest))) return {};
    believe(digest);
    return mend_sidecar_locked(digest, hashed);
  }
  bool damaged = false;
  {
    const std::lock_guard guard(lock_of(digest));
    HANSA_TRY(damaged, put_away_if_damaged_locked(digest));
  }
  if (!damaged) return {};  // healed by a push in the meantime
  if (options_.on_corrupt) options_.on_corrupt(digest);
  return make_error(ErrorCode::corrupt, Subject::blob,
                    "the stored bytes of " + digest.text() + " are damaged; push the blob again to heal it");
}

Result<Store::Hashed> Store::hash_file(io::File& file, const oci::Digest& digest) {
  Hashed hashed;
  HANSA_TRY(const auto length, file.size());
  oci::Hasher hasher(digest.algorithm());
  ChunkSummer summer;
  HANSA_CHECK(read_all(file, length, [&](ConstBytes data) {
    hasher.update(data);
    summer.update(data);
    hashed.size += data.size();
  }));
  hashed.sound = hasher.digest() == digest;
  hashed.sums = summer.sums();
  return hashed;
}

// A reader met damaged bytes.
void Store::look_into_damage(const oci::Digest& digest) {
  auto damaged = [&] {
    const std::lock_guard guard(lock_of(digest));
    return put_away_if_damaged_locked(digest);
  }();
  if (!damaged) {
    log_.error("a damaged blob could not be put away", {{"digest", digest.text()}, {"error", damaged.error().message}});
  } else if (*damaged && options_.on_corrupt) {
    options_.on_corrupt(digest);
  }
}

// Hashes what has the name now before it takes the name away: the damaged file may have been replaced by a sound one
// since it was opened.
Result<bool> Store::put_away_if_damaged_locked(const oci::Digest& digest) {
  open_blobs_.drop(digest);
  auto opened = disk_.open(layout_.file(digest), io::OpenMode::read);
  if (!opened && opened.error().code == ErrorCode::not_found) return false;
  if (!opened) return opened.error();
  HANSA_TRY(const auto hashed, hash_file(**opened, digest));
  if (!hashed.sound) return quarantine_locked(digest);
  HANSA_CHECK(mend_sidecar_locked(digest, hashed));
  return false;
}

// The bytes are sound, so sums that differ are not.
Result<void> Store::mend_sidecar_locked(const oci::Digest& digest, const Hashed& hashed) {
  if (!has_sidecar(hashed.size) || read_sidecar(digest, hashed.size) == hashed.sums) return {};
  log_.warn("the checksums of a blob were missing or damaged and are made anew", {{"digest", digest.text()}});
  open_blobs_.drop(digest);
  return write_sidecar(layout_.sidecar(digest), digest, hashed.size, hashed.sums);
}

// ---- sweeping ---------------------------------------------------------------------------------------------------

// A file that a crash brings back to its place is swept again; so one sync for all is enough.
Result<std::size_t> Store::sweep_now(const std::vector<oci::Digest>& digests,
                                     const std::function<bool(const oci::Digest&)>& unnamed) {
  std::size_t count = 0;
  std::set<std::string> folders;
  Result<void> done;
  for (const oci::Digest& digest : digests) {
    const auto moved = move_to_trash(digest, unnamed);
    if (!moved) {
      done = moved.error();
      break;
    }
    if (!*moved) continue;
    ++count;
    folders.insert(layout_.folder(digest));
  }
  if (count > 0) HANSA_CHECK(disk_.sync_directory(layout_.trash()));
  for (const std::string& folder : folders) HANSA_CHECK(disk_.sync_directory(folder));
  if (!done) return done.error();
  return count;
}

Result<bool> Store::move_to_trash(const oci::Digest& digest, const std::function<bool(const oci::Digest&)>& unnamed) {
  const std::lock_guard guard(lock_of(digest));
  const TickNumber tick = options_.current_tick();
  if (started_at_ + 2 > tick) return false;
  {
    const std::lock_guard inner(mutex_);
    const auto receipt = receipts_.find(digest);
    if (receipt != receipts_.end() && receipt->second + 2 > tick) return false;
  }
  // Looks at a view that stands at `tick` or later, so that it shows every commit that a receipt could have led to
  // (H1).
  if (!unnamed(digest)) return false;
  const auto info = disk_.info(layout_.file(digest));
  if (!info && info.error().code == ErrorCode::not_found) return false;
  // The sums first: a blob without them is hashed when it is opened, sums without a blob would be litter.
  const auto removed = disk_.remove(layout_.sidecar(digest));
  if (!removed && removed.error().code != ErrorCode::not_found) return removed.error();
  open_blobs_.drop(digest);
  HANSA_CHECK(disk_.rename(layout_.file(digest), layout_.trashed(digest, tick)));
  return true;
}

}  // namespace hansa::blob::disk
