// What upkeep does with the store: lists, sweeps, the trash, scrubbing.
#include <algorithm>

#include "blob/disk/store_impl.h"
#include "io/wait.h"

namespace hansa::blob::disk {
namespace {
constexpr std::size_t scrub_step = MiB;
constexpr std::array all_algorithms = {oci::Algorithm::sha256, oci::Algorithm::sha384, oci::Algorithm::sha512};
}  // namespace

io::Task<Result<std::vector<StoredBlob>>> Store::list(std::optional<oci::Digest> after, std::size_t limit) {
  auto work = [this, &after, limit] { return list_now(after, limit); };
  co_return co_await io::blocking(io::Pool::upkeep, std::move(work));
}

Result<std::vector<StoredBlob>> Store::list_now(const std::optional<oci::Digest>& after, std::size_t limit) {
  std::vector<StoredBlob> found;
  for (const auto algorithm : all_algorithms) {
    if (after && algorithm < after->algorithm()) continue;
    auto folders = disk_.list(layout_.algorithm_folder(algorithm));
    if (!folders && folders.error().code == ErrorCode::not_found) continue;
    if (!folders) return folders.error();
    const bool inside = after && after->algorithm() == algorithm;
    const std::string first = inside ? after->hex().substr(0, 2) : "";
    for (const auto& folder : *folders) {
      if (!folder.directory || folder.name < first) continue;
      HANSA_CHECK(list_folder(algorithm, folder.name, after, limit, found));
      if (found.size() >= limit) return found;
    }
  }
  return found;
}

Result<void> Store::list_folder(oci::Algorithm algorithm, const std::string& folder,
                                const std::optional<oci::Digest>& after, std::size_t limit,
                                std::vector<StoredBlob>& out) {
  const std::string path = layout_.algorithm_folder(algorithm) + "/" + folder;
  HANSA_TRY(const auto entries, disk_.list(path));
  for (const auto& entry : entries) {
    if (out.size() >= limit) return {};
    auto digest = oci::Digest::parse(std::string(oci::to_string(algorithm)) + ":" + entry.name);
    if (!digest || (after && *digest <= *after)) continue;  // sidecars do not parse
    auto info = disk_.info(path + "/" + entry.name);
    if (info) out.push_back({.digest = *digest, .size = info->size});
  }
  return {};
}

io::Task<Result<bool>> Store::sweep(oci::Digest digest, std::function<bool()> unnamed) {
  auto work = [this, digest, &unnamed] { return sweep_now(digest, unnamed); };
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

io::Task<Result<void>> Store::scrub(oci::Digest digest) {
  auto work = [this, digest] { return scrub_now(digest); };
  co_return co_await io::blocking(io::Pool::upkeep, std::move(work));
}

Result<void> Store::scrub_now(const oci::Digest& digest) {
  auto opened = disk_.open(layout_.file(digest), io::OpenMode::read);
  // Swept meanwhile: nothing to check.
  if (!opened && opened.error().code == ErrorCode::not_found) return {};
  if (!opened) return opened.error();
  HANSA_TRY(const auto size, (*opened)->size());
  oci::Hasher hasher(digest.algorithm());
  ChunkSummer summer;
  std::vector<std::byte> buffer(scrub_step);
  for (std::uint64_t at = 0; at < size;) {
    HANSA_TRY(const auto got, (*opened)->read(at, buffer));
    if (got == 0) break;
    hasher.update(Bytes(buffer).first(got));
    summer.update(Bytes(buffer).first(got));
    at += got;
  }
  if (hasher.digest() != digest) {
    quarantine(digest);
    return make_error(ErrorCode::corrupt, Subject::blob, "the stored bytes of " + digest.text() + " are damaged");
  }
  // Sound bytes; a damaged sidecar is made anew.
  const std::lock_guard guard(lock_of(digest));
  const std::string sound = encode_sidecar(size, summer.sums());
  auto sidecar = disk_.open(layout_.sidecar(digest), io::OpenMode::read);
  if (sidecar) {
    std::vector<std::byte> bytes(sound.size() + 1);
    HANSA_TRY(const auto got, (*sidecar)->read(0, bytes));
    if (as_text(Bytes(bytes).first(got)) == sound) return {};
  }
  if (!disk_.info(layout_.file(digest))) return {};  // swept meanwhile
  open_blobs_.drop(digest);
  return write_sidecar(layout_.sidecar(digest), size, summer.sums());
}

}  // namespace hansa::blob::disk
