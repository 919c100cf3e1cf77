#include "blob/disk/disk_store.h"

#include <algorithm>

#include "blob/disk/store_impl.h"
#include "io/wait.h"

namespace hansa::blob::disk {
namespace {

constexpr std::string_view put_prefix = "put_";  // staged names of put(); not sessions

constexpr std::size_t max_believed = 1'000'000;  // of more, each is hashed for each receipt

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
    auto work = [this, offset, length] { return store_.verify_now(*blob_, offset, length); };
    co_return co_await io::blocking(io::Pool::disk, std::move(work));
  }
  io::Task<Result<std::size_t>> read(std::uint64_t offset, Bytes out) override {
    auto work = [this, offset, out] { return store_.read_now(*blob_, offset, out); };
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
  HANSA_ASSERT(options.current_tick != nullptr, "receipts need the tick of the node's view");
  auto store = std::make_unique<Store>(disk, clock, random, log, std::move(options));
  HANSA_CHECK(store->prepare());
  return std::unique_ptr<DiskBlobStore>(std::move(store));
}

Result<void> Store::prepare() {
  for (const auto algorithm : all_algorithms) HANSA_CHECK(disk_.make_directories(layout_.algorithm_folder(algorithm)));
  for (const auto& folder : {layout_.staging(), layout_.trash(), layout_.quarantine()}) {
    HANSA_CHECK(disk_.make_directories(folder));
  }
  // A process that was killed may have made them and not synced them.
  HANSA_CHECK(disk_.sync_directory(options_.root));
  HANSA_CHECK(disk_.sync_directory(layout_.blobs()));
  for (const auto algorithm : all_algorithms) HANSA_CHECK(find_folders(algorithm));
  HANSA_TRY(const auto entries, disk_.list(layout_.staging()));
  for (const auto& entry : entries) {
    // Sidecars and small puts that a crash interrupted; sessions stay.
    if (!entry.name.starts_with(put_prefix) && is_staging_id(entry.name)) continue;
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
  auto opened = [&] {
    const std::lock_guard guard(lock_of(digest));
    return open_locked(digest);
  }();
  if (!opened && opened.error().code == ErrorCode::corrupt && options_.on_corrupt) options_.on_corrupt(digest);
  return opened;
}

Result<std::shared_ptr<OpenBlob>> Store::open_locked(const oci::Digest& digest) {
  if (auto known = open_blobs_.find(digest)) return known;  // someone else was faster
  auto file = disk_.open(layout_.file(digest), io::OpenMode::read);
  if (!file && file.error().code == ErrorCode::not_found) return no_blob(digest);
  if (!file) return file.error();
  HANSA_TRY(const auto size, (*file)->size());
  auto sums = has_sidecar(size) ? read_sidecar(digest, size) : std::nullopt;
  if (!sums) return rebuild_locked(digest, std::move(*file));
  auto blob = std::make_shared<OpenBlob>(digest, std::move(*file), size, std::move(*sums));
  open_blobs_.insert(blob);
  return blob;
}

std::optional<ChunkSums> Store::read_sidecar(const oci::Digest& digest, std::uint64_t size) {
  const auto file = disk_.open(layout_.sidecar(digest), io::OpenMode::read);
  if (!file) return std::nullopt;
  // One byte more than a sound one has, so that a longer file shows.
  std::vector<std::byte> bytes(sidecar_size(size) + 1);
  const auto got = (*file)->read(0, bytes);
  if (!got) return std::nullopt;
  return decode_sidecar(Bytes(bytes).first(*got), digest, size);
}

// No sound sidecar, or none at all: the bytes are believed only after they were hashed whole.
Result<std::shared_ptr<OpenBlob>> Store::rebuild_locked(const oci::Digest& digest, std::unique_ptr<io::File> file) {
  HANSA_TRY(auto hashed, hash_file(*file, digest));
  if (!hashed.sound) {
    HANSA_TRY(const bool moved, quarantine_locked(digest));
    return make_error(ErrorCode::corrupt, Subject::blob,
                      "the stored bytes of " + digest.text() + " are damaged" + (moved ? " and were put away" : "") +
                          "; push the blob again to heal it");
  }
  if (auto written = write_sidecar(layout_.sidecar(digest), digest, hashed.size, hashed.sums); !written) {
    log_.warn("cannot write the checksums of a blob", {{"digest", digest.text()}, {"error", written.error().message}});
  }
  auto blob = std::make_shared<OpenBlob>(digest, std::move(file), hashed.size, std::move(hashed.sums));
  blob->mark_verified(clock_.boot());
  open_blobs_.insert(blob);
  return blob;
}

// A read that failed is no damage: the file may be sound, so it stays, and the request fails.
Result<void> Store::verify_now(OpenBlob& blob, std::uint64_t offset, std::uint64_t length) {
  auto verified = blob.verify(offset, length, clock_.boot(), options_.verify_every);
  if (!verified && verified.error().code == ErrorCode::corrupt) look_into_damage(blob.digest());
  return verified;
}

Result<std::size_t> Store::read_now(OpenBlob& blob, std::uint64_t offset, Bytes out) {
  auto got = blob.read(offset, out, clock_.boot(), options_.verify_every);
  if (!got && got.error().code == ErrorCode::corrupt) look_into_damage(blob.digest());
  return got;
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

io::Task<Result<std::shared_ptr<StagedReader>>> Store::read_staged(std::string id) {
  auto work = [this, &id]() -> Result<std::shared_ptr<StagedReader>> {
    if (!is_staging_id(id)) return make_error(ErrorCode::not_found, Subject::upload, "no such upload");
    auto file = disk_.open(layout_.staged(id), io::OpenMode::read);
    if (!file && file.error().code == ErrorCode::not_found) {
      return make_error(ErrorCode::not_found, Subject::upload, "no such upload");
    }
    if (!file) return file.error();
    return std::make_shared<DiskStagedReader>(std::move(*file));
  };
  co_return co_await io::blocking(io::Pool::disk, std::move(work));
}

io::Task<Result<void>> Store::discard_staged(std::string id) {
  auto work = [this, &id] { return discard_now(id); };
  co_return co_await io::blocking(io::Pool::disk, std::move(work));
}

Result<void> Store::discard_now(const std::string& id) {
  if (!is_staging_id(id)) return {};
  for (const auto& path : {layout_.staged_sidecar(id), layout_.staged(id)}) {
    auto removed = disk_.remove(path);
    if (!removed && removed.error().code != ErrorCode::not_found) return removed.error();
  }
  return {};
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
  auto& file = static_cast<DiskStaged&>(*staged);
  oci::Digest actual;
  if (file.algorithm() == expected.algorithm()) {
    actual = file.digest();
  } else {
    // Reads the whole file: not on the few threads that wait for fsyncs.
    auto read = [this, &file, &expected] { return digest_of(file, expected.algorithm()); };
    HANSA_CO_TRY(actual, co_await io::blocking(io::Pool::disk, std::move(read)));
  }
  if (actual != expected) {
    co_return make_error(ErrorCode::invalid, Subject::digest,
                         "the uploaded bytes have the digest " + actual.text() + ", not " + expected.text());
  }
  auto work = [this, &file, &expected] { return install(file, expected); };
  co_return co_await io::blocking(io::Pool::sync, std::move(work));
}

Result<oci::Digest> Store::digest_of(DiskStaged& staged, oci::Algorithm algorithm) {
  HANSA_CHECK(staged.settle());
  return staged.digest_by(algorithm);
}

io::Task<Result<Receipt>> Store::put(oci::Digest digest, std::string content) {
  auto work = [this, &digest, &content] { return put_now(digest, content); };
  co_return co_await io::blocking(io::Pool::sync, std::move(work));
}

Result<Receipt> Store::put_now(const oci::Digest& digest, const std::string& content) {
  const oci::Digest actual = oci::Digest::compute(digest.algorithm(), as_bytes(content));
  if (actual != digest) {
    return make_error(ErrorCode::invalid, Subject::digest,
                      "the content has the digest " + actual.text() + ", not " + digest.text());
  }
  const std::string id = std::string(put_prefix) + random_.hex(16);
  HANSA_TRY(auto file, disk_.open(layout_.staged(id), io::OpenMode::create_new));
  DiskStaged staged(id, layout_.staged(id), std::move(file), digest.algorithm());
  auto done = staged.append_now(as_bytes(content));
  Result<Receipt> receipt = done ? install(staged, digest) : Result<Receipt>(done.error());
  if (!receipt) {
    if (auto discarded = discard_now(id); !discarded) {  // removed at the next start
      log_.warn("cannot remove what a failed write left", {{"error", discarded.error().message}});
    }
  }
  return receipt;
}

bool Store::is_believed(const oci::Digest& digest) {
  if (!unchecked_) return true;
  const std::lock_guard guard(mutex_);
  return believed_.contains(digest);
}

void Store::believe(const oci::Digest& digest) {
  if (!unchecked_) return;
  const std::lock_guard guard(mutex_);
  if (believed_.size() < max_believed) believed_.insert(digest);
}

void Store::believe_all() {
  unchecked_ = false;
  const std::lock_guard guard(mutex_);
  believed_.clear();
}

io::Task<Result<Receipt>> Store::renew_receipt(oci::Digest digest) {
  if (!is_believed(digest)) {
    auto sound = co_await scrub_on(io::Pool::disk, digest);
    if (!sound && sound.error().code == ErrorCode::corrupt) co_return no_blob(digest);
    if (!sound) co_return sound.error();
  }
  auto work = [this, digest] { return renew_now(digest); };
  co_return co_await io::blocking(io::Pool::sync, std::move(work));
}

Result<Receipt> Store::renew_now(const oci::Digest& digest) {
  const std::lock_guard guard(lock_of(digest));
  auto info = disk_.info(layout_.file(digest));
  if (!info && info.error().code == ErrorCode::not_found) return no_blob(digest);
  if (!info) return info.error();
  // The file was fsynced before it got this name, but a process that was killed may not have synced the name.
  HANSA_CHECK(sync_folder(digest));
  {
    const std::lock_guard inner(mutex_);
    if (undurable_.contains(digest)) {
      return make_error(ErrorCode::io, Subject::blob,
                        "the name of " + digest.text() + " could not be made durable; push the blob again");
    }
  }
  return receipt_locked(digest);
}

}  // namespace hansa::blob::disk
