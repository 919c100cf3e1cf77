#include "meta/sqlite/vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <new>

#include "meta/sqlite/log_check.h"
#include "meta/sqlite/vfs_state.h"

namespace hansa::meta::sqlite {
namespace {

constexpr int max_path = 1024;
constexpr auto page_bytes = static_cast<std::size_t>(page_size);
constexpr auto summed_bytes = static_cast<std::size_t>(page_size - page_reserve);
constexpr std::uint64_t wal_header = 32;        // bytes before the first frame (SQLite's file format, section 4)
constexpr std::uint64_t wal_frame_header = 24;  // bytes before each page

// What an open file needs; lives behind SQLite's sqlite3_file.
struct Open {
  Vfs* vfs = nullptr;
  std::string path;
  std::unique_ptr<io::File> file;
  std::shared_ptr<Vfs::PathState> state;
  bool main = false;
  bool wal = false;
  std::atomic<bool> name_may_be_lost = true;  // its folder was not synced since it was opened
};
struct Handle {
  sqlite3_file base;
  Open* open;
};
Open& of(sqlite3_file* file) {
  return *reinterpret_cast<Handle*>(file)->open;
}
Vfs& of(sqlite3_vfs* vfs) {
  return *static_cast<Vfs*>(vfs->pAppData);
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

int code_of(const Error& error, int otherwise) {
  return error.code == ErrorCode::out_of_space ? SQLITE_FULL : otherwise;
}

std::uint64_t page_number(std::uint64_t offset) {
  return offset / page_bytes + 1;
}

void seal_page(Bytes page, std::uint64_t offset) {
  const std::uint64_t sum = page_sum(page.first(summed_bytes), page_number(offset));
  std::memcpy(page.data() + summed_bytes, &sum, sizeof sum);
}

// A page of zeros is not sound either: in WAL mode every page that is read was written once.
bool page_is_sound(ConstBytes page, std::uint64_t offset) {
  std::uint64_t stored = 0;
  std::memcpy(&stored, page.data() + summed_bytes, sizeof stored);
  return stored == page_sum(page.first(summed_bytes), page_number(offset));
}

// Is this the beginning of a database with our page size and reserve (SQLite's file format, section 1.3)?
bool header_is_ours(ConstBytes header) {
  constexpr std::string_view magic("SQLite format 3", 16);
  return as_text(header.first(magic.size())) == magic && header[16] == std::byte{page_size >> 8} &&
         header[17] == std::byte{page_size & 0xff} && header[20] == std::byte{page_reserve};
}

// SQLite looks into page 1 before it knows the page size. The page cannot be verified then: after a power cut in the
// middle of a checkpoint it may be torn, and the good one is in the WAL. It is read as a whole, and verified, later.
int read_part_of_page(Open& open, Bytes out, std::uint64_t offset) {
  constexpr std::size_t header_bytes = 100;
  std::ranges::fill(out, std::byte{0});
  auto got = open.file->read(offset, out);
  if (!got) return SQLITE_IOERR_READ;
  if (*got < out.size()) return SQLITE_IOERR_SHORT_READ;
  const bool header = offset == 0 && out.size() >= header_bytes;
  return header && !header_is_ours(out) ? SQLITE_IOERR_DATA : SQLITE_OK;
}

// Whether a read or write of the WAL is exactly the page of a frame.
bool is_frame_page(std::uint64_t offset, std::size_t size) {
  constexpr std::uint64_t first = wal_header + wal_frame_header;
  return size == page_bytes && offset >= first && (offset - first) % (page_bytes + wal_frame_header) == 0;
}

bool wal_is_sound(Open& open, std::uint64_t offset, ConstBytes bytes) {
  if (is_frame_page(offset, bytes.size())) return open.state->matches(offset, bytes);
  // Recovery reads frames with their headers and verifies the checksums in them.
  const bool frame = bytes.size() == wal_frame_header + page_bytes;
  return !frame || open.state->matches(offset + wal_frame_header, bytes.subspan(wal_frame_header));
}

int read_file(sqlite3_file* file, void* buffer, int amount, sqlite3_int64 at) {
  Open& open = of(file);
  const Bytes out(static_cast<std::byte*>(buffer), static_cast<std::size_t>(amount));
  const auto offset = static_cast<std::uint64_t>(at);
  if (open.main && out.size() != page_bytes) {
    if (offset + out.size() > page_bytes) return SQLITE_IOERR_DATA;  // a page size that is not ours
    return read_part_of_page(open, out, offset);
  }
  auto got = open.file->read(offset, out);
  if (!got) return SQLITE_IOERR_READ;
  if (*got < out.size()) {
    std::fill(out.begin() + static_cast<std::ptrdiff_t>(*got), out.end(), std::byte{0});
    // A database that lost its end is damaged; SQLite would take the missing page for an empty one.
    return open.main && offset + *got > 0 ? SQLITE_IOERR_DATA : SQLITE_IOERR_SHORT_READ;
  }
  if (open.main) return page_is_sound(out, offset) ? SQLITE_OK : SQLITE_IOERR_DATA;
  if (open.wal) return wal_is_sound(open, offset, out) ? SQLITE_OK : SQLITE_IOERR_DATA;
  return SQLITE_OK;
}

int write_file(sqlite3_file* file, const void* buffer, int amount, sqlite3_int64 at) {
  Open& open = of(file);
  const ConstBytes data(static_cast<const std::byte*>(buffer), static_cast<std::size_t>(amount));
  const auto offset = static_cast<std::uint64_t>(at);
  if (open.main) {
    if (data.size() != page_bytes || offset % page_bytes != 0) return SQLITE_IOERR_WRITE;
    std::array<std::byte, page_size> page;
    std::ranges::copy(data, page.begin());
    seal_page(page, offset);
    auto written = open.file->write(offset, page);
    return written ? SQLITE_OK : code_of(written.error(), SQLITE_IOERR_WRITE);
  }
  if (open.wal) open.state->forget_range(offset, data.size());
  auto written = open.file->write(offset, data);
  if (!written) return code_of(written.error(), SQLITE_IOERR_WRITE);
  if (open.wal && is_frame_page(offset, data.size())) open.state->remember(offset, data);
  return SQLITE_OK;
}

int close_file(sqlite3_file* file) {
  auto* handle = reinterpret_cast<Handle*>(file);
  if (handle->open != nullptr) {
    handle->open->state->unlock(handle->open, SQLITE_LOCK_NONE);
    delete handle->open;
    handle->open = nullptr;
  }
  return SQLITE_OK;
}

int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
  Open& open = of(file);
  if (open.wal) open.state->forget_from(static_cast<std::uint64_t>(size));
  // SQLite cuts its log off only once all of it is in the database.
  auto done = open.wal && size == 0 ? empty_log(*open.file) : open.file->truncate(static_cast<std::uint64_t>(size));
  return done ? SQLITE_OK : code_of(done.error(), SQLITE_IOERR_TRUNCATE);
}

int sync_file(sqlite3_file* file, int) {
  Open& open = of(file);
  auto synced = open.file->sync();
  if (!synced) return code_of(synced.error(), SQLITE_IOERR_FSYNC);
  if (open.name_may_be_lost.exchange(false)) {
    auto named = open.vfs->disk().sync_directory(folder_of(open.path));
    if (!named) {
      open.name_may_be_lost = true;
      return SQLITE_IOERR_DIR_FSYNC;
    }
  }
  return SQLITE_OK;
}

int file_size(sqlite3_file* file, sqlite3_int64* size) {
  auto result = of(file).file->size();
  if (!result) return SQLITE_IOERR_FSTAT;
  *size = static_cast<sqlite3_int64>(*result);
  return SQLITE_OK;
}

int lock_file(sqlite3_file* file, int level) {
  return of(file).state->lock(&of(file), level);
}
int unlock_file(sqlite3_file* file, int level) {
  of(file).state->unlock(&of(file), level);
  return SQLITE_OK;
}
int check_reserved(sqlite3_file* file, int* result) {
  *result = of(file).state->reserved() ? 1 : 0;
  return SQLITE_OK;
}
int file_control(sqlite3_file*, int, void*) {
  return SQLITE_NOTFOUND;
}
int sector_size(sqlite3_file*) {
  return page_size;
}
int characteristics(sqlite3_file*) {
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

// Out: what sqlite3_io_methods says, a pointer to a pointer to memory that other connections change.
template <class Out>
int shm_map(sqlite3_file* file, int region, int size, int extend, Out out) {
  void* memory = nullptr;
  const int code = of(file).state->map_region(region, size, extend != 0, &memory);
  *out = memory;
  return code;
}
int shm_lock(sqlite3_file* file, int first, int count, int flags) {
  Open& open = of(file);
  const bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
  if ((flags & SQLITE_SHM_LOCK) != 0) return open.state->lock_shm(&open, first, count, exclusive);
  open.state->unlock_shm(&open, first, count, exclusive);
  return SQLITE_OK;
}
void shm_barrier(sqlite3_file*) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
int shm_unmap(sqlite3_file* file, int forget) {
  of(file).state->unmap(&of(file), forget != 0);
  return SQLITE_OK;
}

constexpr sqlite3_io_methods io_methods = {
    2,         close_file,  read_file,      write_file,   truncate_file, sync_file,       file_size,
    lock_file, unlock_file, check_reserved, file_control, sector_size,   characteristics, shm_map,
    shm_lock,  shm_barrier, shm_unmap,      nullptr,      nullptr};

int open_file(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  auto* handle = new (file) Handle{};
  // Temporary files stay in memory (temp_store); a request for one is a configuration error.
  if (path == nullptr) return SQLITE_CANTOPEN;
  io::Disk& disk = of(vfs).disk();
  io::OpenMode mode = io::OpenMode::write;
  if ((flags & SQLITE_OPEN_READONLY) != 0) mode = io::OpenMode::read;
  if ((flags & SQLITE_OPEN_CREATE) != 0) mode = io::OpenMode::create;
  auto opened = disk.open(path, mode);
  if (!opened) return code_of(opened.error(), SQLITE_CANTOPEN);
  auto open = std::make_unique<Open>();
  open->vfs = &of(vfs);
  open->path = path;
  open->file = std::move(*opened);
  open->state = of(vfs).state_of(path);
  open->main = (flags & SQLITE_OPEN_MAIN_DB) != 0;
  open->wal = (flags & SQLITE_OPEN_WAL) != 0;
  handle->open = open.release();
  handle->base.pMethods = &io_methods;
  if (out_flags != nullptr) *out_flags = flags;
  return SQLITE_OK;
}

int delete_file(sqlite3_vfs* vfs, const char* path, int sync_folder) {
  io::Disk& disk = of(vfs).disk();
  of(vfs).state_of(path)->forget_from(0);
  auto removed = disk.remove(path);
  if (!removed) return removed.error().code == ErrorCode::not_found ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
  if (sync_folder != 0 && !disk.sync_directory(folder_of(path))) return SQLITE_IOERR_DIR_FSYNC;
  return SQLITE_OK;
}

int access_file(sqlite3_vfs* vfs, const char* path, int, int* result) {
  auto info = of(vfs).disk().info(path);
  if (!info && info.error().code != ErrorCode::not_found) return SQLITE_IOERR_ACCESS;
  // An empty file counts as absent, as in SQLite's own VFS.
  *result = info && info->size > 0 ? 1 : 0;
  return SQLITE_OK;
}

int full_path(sqlite3_vfs*, const char* path, int size, char* out) {
  if (std::strlen(path) >= static_cast<std::size_t>(size)) return SQLITE_CANTOPEN;
  std::strcpy(out, path);
  return SQLITE_OK;
}

// SQLite asks its default VFS for randomness; this is for completeness.
int randomness(sqlite3_vfs* vfs, int count, char* out) {
  auto state = static_cast<std::uint64_t>(of(vfs).clock().wall().time_since_epoch().count());
  for (int i = 0; i < count; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    out[i] = static_cast<char>(state >> 56);
  }
  return count;
}

int current_time(sqlite3_vfs* vfs, sqlite3_int64* out) {
  constexpr sqlite3_int64 unix_epoch = 24405875LL * 8640000LL;  // in milliseconds of Julian days
  const auto wall = of(vfs).clock().wall().time_since_epoch();
  *out = unix_epoch + std::chrono::duration_cast<std::chrono::milliseconds>(wall).count();
  return SQLITE_OK;
}

// SQLite sleeps only to try a lock again.
int wait_a_little(sqlite3_vfs* vfs, int microseconds) {
  of(vfs).wait_for_unlock(microseconds);
  return microseconds;
}

int last_error(sqlite3_vfs*, int, char*) {
  return 0;
}

}  // namespace

Vfs::Vfs(io::Disk& disk, io::Clock& clock) : disk_(disk), clock_(clock), vfs_(std::make_unique<sqlite3_vfs>()) {
  // The address is unique among those registered at one time.
  name_ = "hansa-" + std::to_string(reinterpret_cast<std::uintptr_t>(this));
  *vfs_ = sqlite3_vfs{};
  vfs_->iVersion = 2;
  vfs_->szOsFile = sizeof(Handle);
  vfs_->mxPathname = max_path;
  vfs_->zName = name_.c_str();
  vfs_->pAppData = this;
  vfs_->xOpen = open_file;
  vfs_->xDelete = delete_file;
  vfs_->xAccess = access_file;
  vfs_->xFullPathname = full_path;
  vfs_->xRandomness = randomness;
  vfs_->xSleep = wait_a_little;
  vfs_->xGetLastError = last_error;
  vfs_->xCurrentTimeInt64 = current_time;
  sqlite3_vfs_register(vfs_.get(), 0);
}

Vfs::~Vfs() {
  sqlite3_vfs_unregister(vfs_.get());
}

std::shared_ptr<Vfs::PathState> Vfs::state_of(const std::string& path) {
  const std::lock_guard guard(mutex_);
  auto& known = states_[path];
  auto state = known.lock();
  if (!state) known = state = std::make_shared<PathState>(*this);
  return state;
}

void Vfs::wait_for_unlock(int microseconds) {
  std::unique_lock lock(sleeping_);
  // Returning early, or late because the release came first, only moves the next try.
  unlocked_.wait_for(lock, std::chrono::microseconds(microseconds));
}

Result<bool> Vfs::settle(const std::string& path) {
  constexpr std::size_t piece_bytes = 256 * KiB;
  const std::string wal = path + "-wal";
  auto opened = disk_.open(wal, io::OpenMode::write);
  if (!opened && opened.error().code == ErrorCode::not_found) return false;
  if (!opened) return opened.error();
  io::File& file = **opened;
  std::vector<std::byte> piece(piece_bytes);
  std::uint64_t offset = 0;
  while (true) {
    HANSA_TRY(const std::size_t count, file.read(offset, piece));
    if (count == 0) break;
    HANSA_CHECK(file.write(offset, ConstBytes(piece).first(count)));
    offset += count;
  }
  HANSA_CHECK(file.sync());
  HANSA_CHECK(disk_.sync_directory(folder_of(path)));
  return offset > 0;
}

}  // namespace hansa::meta::sqlite
