#include "blob/disk/disk_store.h"

#include <algorithm>

#include "blob/disk/store_impl.h"
#include "io/wait.h"

namespace hansa::blob::disk {
namespace {

constexpr std::string_view put_prefix = "put_";  // staged names of put(); not sessions
constexpr std::size_t rehash_step = MiB;

Error no_blob(const oci::Digest& digest) {
  return make_error(ErrorCode::not_found, Subject::blob, "no file of " + digest.text() + " is here");
}

class Reader final : public BlobReader {
 public:
  Reader(Store& store, std::shared_ptr<OpenBlob> blob) : store_(store), blob_(std::move(blob)) {}
  std::uint64_t size() const override { return blob_->size(); }
  bool is_verified(std::uint64_t offset, std::uint64_t length) const override {
    return store_.is_verified(*blob_, offset, length);
  }
  io::Task<Result<void>> verify(std::uint64_t offset, std::uint64_t length) override {
    if (is_verified(offset, length)) co_return Result<void>{};
    auto work = [this, offset, length] { return store_.verify_now(blob_, offset, length); };
    co_return co_await io::blocking(io::Pool::disk, std::move(work));
  }
  io::Task<Result<std::size_t>> read(std::uint64_t offset, Bytes out) override {
    auto work = [this, offset, out]() -> Result<std::size_t> {
      if (offset >= blob_->size()) return std::size_t{0};
      const std::size_t length = std::min<std::uint64_t>(out.size(), blob_->size() - offset);
      HANSA_CHECK(store_.verify_now(blob_, offset, length));
      return blob_->file().read(offset, out.first(length));
    };
    co_return co_await io::blocking(io::Pool::disk, std::move(work));
  }
  int descriptor() const override { return blob_->file().descriptor(); }

 private:
  Store& store_;
  std::shared_ptr<OpenBlob> blob_;
};

}  // namespace

Result<std::unique_ptr<DiskBlobStore>> DiskBlobStore::open(io::Disk& disk, io::Clock& clock, io::Random& random,
                                                           Logger& log, DiskStoreOptions options) {
  auto store = std::make_unique<Store>(disk, clock, random, log, std::move(options));
  HANSA_CHECK(store->prepare());
  return std::unique_ptr<DiskBlobStore>(std::move(store));
}

Result<void> Store::prepare() {
  for (const auto& folder :
       {layout_.algorithm_folder(oci::Algorithm::sha256), layout_.staging(), layout_.trash(), layout_.quarantine()}) {
    HANSA_CHECK(disk_.make_directories(folder));
  }
  HANSA_TRY(const auto entries, disk_.list(layout_.staging()));
  for (const auto& entry : entries) {
    // Sidecars and small puts that a crash interrupted; sessions stay.
    if (!entry.name.starts_with(put_prefix) && !entry.name.ends_with(".crc")) continue;
    HANSA_CHECK(disk_.remove(layout_.staged(entry.name)));
  }
  return {};
}

// ---- reading ----------------------------------------------------------------------------------------------------

io::Task<Result<BlobInfo>> Store::stat(oci::Digest digest) {
  if (auto known = open_blobs_.find(digest)) co_return BlobInfo{.size = known->size()};
  auto work = [this, digest]() -> Result<BlobInfo> {
    auto info = disk_.info(layout_.file(digest));
    if (!info && info.error().code == ErrorCode::not_found) return no_blob(digest);
    if (!info) return info.error();
    return BlobInfo{.size = info->size};
  };
  co_return co_await io::blocking(io::Pool::disk, std::move(work));
}

io::Task<Result<std::shared_ptr<BlobReader>>> Store::open(oci::Digest digest) {
  auto blob = open_blobs_.find(digest);
  if (!blob) {
    auto work = [this, digest] { return open_now(digest); };
    HANSA_CO_TRY(blob, co_await io::blocking(io::Pool::disk, std::move(work)));
  }
  co_return std::shared_ptr<BlobReader>(std::make_shared<Reader>(*this, std::move(blob)));
}

Result<std::shared_ptr<OpenBlob>> Store::open_now(const oci::Digest& digest) {
  const std::lock_guard guard(lock_of(digest));
  if (auto known = open_blobs_.find(digest)) return known;  // someone else was faster
  auto file = disk_.open(layout_.file(digest), io::OpenMode::read);
  if (!file && file.error().code == ErrorCode::not_found) return no_blob(digest);
  if (!file) return file.error();
  HANSA_TRY(const auto size, (*file)->size());
  std::optional<ChunkSums> sums;
  if (auto sidecar = disk_.open(layout_.sidecar(digest), io::OpenMode::read)) {
    HANSA_TRY(const auto length, (*sidecar)->size());
    const std::uint64_t sound = encode_sidecar(0, {}).size() + chunk_count(size) * sizeof(std::uint32_t);
    if (length == sound) {
      std::vector<std::byte> bytes(length);
      HANSA_TRY(const auto got, (*sidecar)->read(0, bytes));
      sums = decode_sidecar(Bytes(bytes).first(got), size);
    }
  }
  if (!sums) return rebuild_sidecar(digest, std::move(*file), size);
  auto blob = std::make_shared<OpenBlob>(digest, std::move(*file), size, std::move(*sums));
  open_blobs_.insert(blob);
  return blob;
}

// No sound sidecar: the bytes are believed only after they were hashed whole. The digest's lock is held.
Result<std::shared_ptr<OpenBlob>> Store::rebuild_sidecar(const oci::Digest& digest, std::unique_ptr<io::File> file,
                                                         std::uint64_t size) {
  oci::Hasher hasher(digest.algorithm());
  ChunkSummer summer;
  std::vector<std::byte> buffer(rehash_step);
  for (std::uint64_t at = 0; at < size;) {
    HANSA_TRY(const auto got, file->read(at, buffer));
    if (got == 0) break;
    hasher.update(Bytes(buffer).first(got));
    summer.update(Bytes(buffer).first(got));
    at += got;
  }
  if (hasher.digest() != digest) {
    quarantine_with_lock(digest);
    if (options_.on_corrupt) options_.on_corrupt(digest);
    return make_error(ErrorCode::corrupt, Subject::blob,
                      "the stored bytes of " + digest.text() + " are damaged; push the blob again to heal it");
  }
  if (auto written = write_sidecar(layout_.sidecar(digest), size, summer.sums()); !written) {
    log_.warn("cannot write the checksums of a blob", {{"digest", digest.text()}, {"error", written.error().message}});
  }
  auto blob = std::make_shared<OpenBlob>(digest, std::move(file), size, summer.sums());
  blob->mark_verified(clock_.monotonic());
  open_blobs_.insert(blob);
  return blob;
}

Result<void> Store::verify_now(const std::shared_ptr<OpenBlob>& blob, std::uint64_t offset, std::uint64_t length) {
  auto verified = blob->verify(offset, length, clock_.monotonic(), options_.verify_every);
  // A read of a failed sector is damage too, but the file may be sound: it stays, and the request fails.
  if (!verified && verified.error().code == ErrorCode::corrupt) quarantine(blob->digest());
  return verified;
}

// ---- staging ----------------------------------------------------------------------------------------------------

io::Task<Result<std::shared_ptr<StagedBlob>>> Store::create_staged(std::string id, oci::Algorithm algorithm) {
  auto work = [this, &id, algorithm]() -> Result<std::shared_ptr<StagedBlob>> {
    if (!is_staging_id(id)) return make_error(ErrorCode::invalid, Subject::upload, "not an upload's id: " + id);
    HANSA_TRY(auto file, disk_.open(layout_.staged(id), io::OpenMode::create_new));
    return std::make_shared<DiskStaged>(id, layout_.staged(id), std::move(file), algorithm);
  };
  co_return co_await io::blocking(io::Pool::disk, std::move(work));
}

io::Task<Result<std::shared_ptr<StagedBlob>>> Store::reopen_staged(std::string id, oci::Algorithm algorithm) {
  auto work = [this, &id, algorithm]() -> Result<std::shared_ptr<StagedBlob>> {
    if (!is_staging_id(id)) return make_error(ErrorCode::not_found, Subject::upload, "no such upload");
    auto file = disk_.open(layout_.staged(id), io::OpenMode::write);
    if (!file && file.error().code == ErrorCode::not_found) {
      return make_error(ErrorCode::not_found, Subject::upload, "no such upload");
    }
    if (!file) return file.error();
    auto staged = std::make_shared<DiskStaged>(id, layout_.staged(id), std::move(*file), algorithm);
    HANSA_CHECK(staged->rehash());
    return staged;
  };
  co_return co_await io::blocking(io::Pool::disk, std::move(work));
}

io::Task<Result<void>> Store::discard_staged(std::string id) {
  auto work = [this, &id]() -> Result<void> {
    if (!is_staging_id(id)) return {};
    auto removed = disk_.remove(layout_.staged(id));
    if (!removed && removed.error().code != ErrorCode::not_found) return removed.error();
    return {};
  };
  co_return co_await io::blocking(io::Pool::disk, std::move(work));
}

io::Task<Result<std::vector<std::string>>> Store::list_staged() {
  auto work = [this]() -> Result<std::vector<std::string>> {
    HANSA_TRY(const auto entries, disk_.list(layout_.staging()));
    std::vector<std::string> ids;
    for (const auto& entry : entries) {
      if (is_staging_id(entry.name) && !entry.name.starts_with(put_prefix)) ids.push_back(entry.name);
    }
    return ids;
  };
  co_return co_await io::blocking(io::Pool::disk, std::move(work));
}

// ---- making durable ---------------------------------------------------------------------------------------------

io::Task<Result<Receipt>> Store::finish(std::shared_ptr<StagedBlob> staged, oci::Digest expected) {
  auto work = [this, &staged, &expected] { return finish_now(static_cast<DiskStaged&>(*staged), expected); };
  co_return co_await io::blocking(io::Pool::sync, std::move(work));
}

Result<Receipt> Store::finish_now(DiskStaged& staged, const oci::Digest& expected) {
  oci::Digest actual = staged.digest();
  if (expected.algorithm() != staged.algorithm()) {
    HANSA_TRY(actual, staged.digest_by(expected.algorithm()));
  }
  if (actual != expected) {
    return make_error(ErrorCode::invalid, Subject::digest,
                      "the uploaded bytes have the digest " + actual.text() + ", not " + expected.text());
  }
  return install(staged, expected);
}

io::Task<Result<Receipt>> Store::put(oci::Digest digest, std::string content) {
  auto work = [this, &digest, &content] { return put_now(digest, content); };
  co_return co_await io::blocking(io::Pool::sync, std::move(work));
}

Result<Receipt> Store::put_now(const oci::Digest& digest, const std::string& content) {
  const std::string id = std::string(put_prefix) + random_.hex(16);
  HANSA_TRY(auto file, disk_.open(layout_.staged(id), io::OpenMode::create_new));
  DiskStaged staged(id, layout_.staged(id), std::move(file), digest.algorithm());
  auto done = staged.append_now(as_bytes(content));
  Result<Receipt> receipt = done ? finish_now(staged, digest) : Result<Receipt>(done.error());
  if (!receipt) {
    // Whatever is left of it; an interrupted put is cleaned up at the next start otherwise.
    for (const std::string& path : {staged.path(), staged.path() + ".crc"}) {
      auto removed = disk_.remove(path);
      if (!removed) log_.debug("cleaning up after a failed put", {{"error", removed.error().message}});
    }
  }
  return receipt;
}

io::Task<Result<Receipt>> Store::renew_receipt(oci::Digest digest) {
  auto work = [this, digest]() -> Result<Receipt> {
    const std::lock_guard guard(lock_of(digest));
    auto info = disk_.info(layout_.file(digest));
    if (!info && info.error().code == ErrorCode::not_found) return no_blob(digest);
    if (!info) return info.error();
    return receipt_for(digest);
  };
  co_return co_await io::blocking(io::Pool::disk, std::move(work));
}

}  // namespace hansa::blob::disk
