#include "sim/ports/disk.h"

#include <algorithm>
#include <cerrno>

#include "base/assert.h"
#include "sim/ports/disk_file.h"
#include "sim/ports/disk_tree.h"

namespace hansa::sim {
namespace {

constexpr std::uint64_t kTotalWithoutLimit = 1024 * GiB;  // what space() says when no capacity is set
constexpr std::string_view kPid = "1";                    // every simulated process
constexpr std::byte kFlippedBit{1};

std::size_t index_of(Call call) {
  return static_cast<std::size_t>(call);
}

}  // namespace

SimDisk::SimDisk(World& world, std::string_view name)
    : world_(world), random_(world.seed(), std::string("disk ").append(name)), tree_(std::make_unique<SimTree>()) {}

SimDisk::~SimDisk() = default;

void SimDisk::stop(Loss loss) {
  const std::lock_guard lock(mutex_);
  ++life_;
  on_ = false;
  locked_.clear();
  if (loss == Loss::nothing) return;
  tree_->lose_names(random_);
  for (const auto& inode : tree_->all()) {
    write_back_in_part(*inode, random_);
    inode->data = inode->platter;
  }
}

void SimDisk::start() {
  const std::lock_guard lock(mutex_);
  on_ = true;
}

void SimDisk::fail(Fault fault) {
  const std::lock_guard lock(mutex_);
  HANSA_ASSERT(fault.nth > 0, "the first call is number 1");
  faults_.push_back(fault);
}

void SimDisk::clear_faults() {
  const std::lock_guard lock(mutex_);
  faults_.clear();
}

std::uint64_t SimDisk::calls(Call call) const {
  const std::lock_guard lock(mutex_);
  return counts_.at(index_of(call));
}

void SimDisk::set_capacity(std::optional<std::uint64_t> bytes) {
  const std::lock_guard lock(mutex_);
  capacity_ = bytes;
}

void SimDisk::set_delay(io::Duration least, io::Duration most) {
  const std::lock_guard lock(mutex_);
  HANSA_ASSERT(io::Duration::zero() <= least && least <= most, "a delay is drawn from least to most");
  delay_least_ = least;
  delay_most_ = most;
}

void SimDisk::flip(const std::string& path, std::uint64_t offset) {
  const std::lock_guard lock(mutex_);
  const auto file = tree_->find(path, "flip");
  HANSA_ASSERT(file && offset < (*file)->data.size(), "a bit can only flip where a byte is");
  (*file)->data[offset] ^= kFlippedBit;
  if (offset < (*file)->platter.size()) (*file)->platter[offset] ^= kFlippedBit;
}

std::unique_ptr<SimTree> SimDisk::image() const {
  const std::lock_guard lock(mutex_);
  return tree_->copy_of_platter();
}

void SimDisk::set_back(std::unique_ptr<SimTree> image) {
  const std::lock_guard lock(mutex_);
  HANSA_ASSERT(!on_, "a disk is changed while the machine is off");
  tree_ = image ? std::move(image) : std::make_unique<SimTree>();
}

std::size_t SimDisk::memory() const {
  const std::lock_guard lock(mutex_);
  return tree_->memory();
}

bool SimDisk::has(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  return tree_->find(path, "has").has_value();
}

Result<void> SimDisk::begin(Call call, const std::string& path) {
  HANSA_ASSERT(!forbid_on_loop_ || world_.may_block(), "a call of the disk on an event loop");
  if (!on_) return make_error(ErrorCode::io, Subject::file, path + ": the machine is off");
  if (delay_most_ > io::Duration::zero()) {
    const auto time = random_.between(static_cast<std::uint64_t>(delay_least_.count()),
                                      static_cast<std::uint64_t>(delay_most_.count()));
    world_.charge(io::Duration(time));
  }
  ++counts_[index_of(Call::any)];
  ++counts_[index_of(call)];
  std::optional<ErrorCode> failure;
  for (auto fault = faults_.begin(); fault != faults_.end();) {
    const auto here = fault++;
    if (here->call != Call::any && here->call != call) continue;
    if (here->nth > 0) --here->nth;
    if (here->nth > 0) continue;
    failure = here->code;
    if (!here->for_ever) faults_.erase(here);
  }
  if (!failure) return {};
  return make_error(*failure, Subject::file, path + ": a fault was drawn");
}

Result<void> SimDisk::check_alive(std::uint64_t life, const std::string& path) const {
  if (life != life_) return make_error(ErrorCode::io, Subject::file, path + ": opened before a crash");
  return {};
}

Result<std::unique_ptr<io::File>> SimDisk::open(const std::string& path, io::OpenMode mode) {
  const std::lock_guard lock(mutex_);
  HANSA_CHECK(begin(Call::open, path));
  HANSA_TRY(const auto place, tree_->place(path));
  auto inode = place.target();
  const bool may_make = mode != io::OpenMode::read && mode != io::OpenMode::write;
  if (!inode && !may_make) return errno_error(ENOENT, "open " + path);
  if (inode && mode == io::OpenMode::create_new) return errno_error(EEXIST, "open " + path);
  if (inode && inode->directory) return errno_error(EISDIR, "open " + path);
  if (!inode) {
    inode = std::make_shared<SimInode>(false);
    tree_->change({{{place.directory, place.name, inode}}});
  }
  return std::make_unique<SimFile>(*this, std::move(inode), path, mode != io::OpenMode::read);
}

Result<void> SimDisk::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  HANSA_CHECK(begin(Call::rename, from));
  const std::string what = "rename " + from + " to " + to;
  HANSA_TRY(const auto source, tree_->place(from));
  HANSA_TRY(const auto place, tree_->place(to));
  const auto moved = source.target();
  if (!moved) return errno_error(ENOENT, what);
  if (source.name.empty() || place.name.empty()) return errno_error(EBUSY, what);
  const auto replaced = place.target();
  if (replaced == moved) return {};  // as POSIX has it, both names stay
  if (replaced && replaced->directory != moved->directory) {
    return errno_error(replaced->directory ? EISDIR : ENOTDIR, what);
  }
  if (replaced && !replaced->entries.empty()) return errno_error(ENOTEMPTY, what);
  if (moved->directory && to.starts_with(from + "/")) return errno_error(EINVAL, what);
  tree_->change({{{source.directory, source.name, nullptr}, {place.directory, place.name, moved}}});
  return {};
}

Result<void> SimDisk::link(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  HANSA_CHECK(begin(Call::link, from));
  const std::string what = "link " + from + " to " + to;
  HANSA_TRY(const auto inode, tree_->find(from, "link"));
  HANSA_TRY(const auto place, tree_->place(to));
  if (place.target()) return errno_error(EEXIST, what);
  if (inode->directory) return errno_error(EPERM, what);
  tree_->change({{{place.directory, place.name, inode}}});
  return {};
}

Result<void> SimDisk::remove(const std::string& path) {
  const std::lock_guard lock(mutex_);
  HANSA_CHECK(begin(Call::remove, path));
  HANSA_TRY(const auto place, tree_->place(path));
  const auto inode = place.target();
  if (!inode) return errno_error(ENOENT, "remove " + path);
  if (place.name.empty()) return errno_error(EBUSY, "remove " + path);
  if (!inode->entries.empty()) return errno_error(ENOTEMPTY, "remove " + path);
  tree_->change({{{place.directory, place.name, nullptr}}});
  return {};
}

Result<void> SimDisk::make_directories(const std::string& path) {
  const std::lock_guard lock(mutex_);
  HANSA_CHECK(begin(Call::make_directories, path));
  for (std::size_t slash = 0; slash != std::string::npos;) {
    slash = path.find('/', slash + 1);
    const std::string folder = path.substr(0, slash);
    HANSA_TRY(const auto place, tree_->place(folder));
    const auto inode = place.target();
    if (inode && !inode->directory) return errno_error(ENOTDIR, "make directory " + folder);
    if (inode) continue;
    tree_->change({{{place.directory, place.name, std::make_shared<SimInode>(true)}}});
    tree_->sync_names(*place.directory);
  }
  return {};
}

Result<void> SimDisk::sync_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  HANSA_CHECK(begin(Call::sync_directory, path));
  HANSA_TRY(const auto inode, tree_->find(path, "sync directory"));
  if (!inode->directory) return errno_error(ENOTDIR, "sync directory " + path);
  tree_->sync_names(*inode);
  return {};
}

Result<std::vector<io::DirectoryEntry>> SimDisk::list(const std::string& path) {
  const std::lock_guard lock(mutex_);
  HANSA_CHECK(begin(Call::list, path));
  HANSA_TRY(const auto inode, tree_->find(path, "list"));
  if (!inode->directory) return errno_error(ENOTDIR, "list " + path);
  std::vector<io::DirectoryEntry> entries;
  for (const auto& [name, child] : inode->entries) entries.push_back({name, child->directory});
  return entries;
}

Result<io::FileInfo> SimDisk::info(const std::string& path) {
  const std::lock_guard lock(mutex_);
  HANSA_CHECK(begin(Call::info, path));
  HANSA_TRY(const auto inode, tree_->find(path, "stat"));
  return io::FileInfo{.directory = inode->directory, .size = inode->data.size(), .links = inode->links};
}

Result<io::DiskSpace> SimDisk::space(const std::string& path) {
  const std::lock_guard lock(mutex_);
  HANSA_CHECK(begin(Call::space, path));
  HANSA_TRY(const auto inode, tree_->find(path, "statvfs"));
  const std::uint64_t total = capacity_.value_or(kTotalWithoutLimit);
  return io::DiskSpace{.total = total, .available = total - std::min(total, tree_->used_bytes())};
}

Result<std::unique_ptr<io::DirectoryLock>> SimDisk::lock(const std::string& directory) {
  const std::lock_guard guard(mutex_);
  HANSA_CHECK(begin(Call::lock, directory));
  HANSA_TRY(const auto inode, tree_->find(directory, "lock"));
  if (!inode->directory) return errno_error(ENOTDIR, "lock " + directory);
  if (!locked_.insert(inode.get()).second) {
    return make_error(
        ErrorCode::conflict, Subject::file,
        directory + " is in use by process " + std::string(kPid) + ": stop it first, or use another directory");
  }
  if (!inode->entries.contains(".lock")) {
    auto fresh = std::make_shared<SimInode>(false);
    fresh->data.assign(as_bytes(kPid).begin(), as_bytes(kPid).end());
    fresh->length_dirty = true;
    fresh->dirty.insert(0);
    tree_->change({{{inode, ".lock", std::move(fresh)}}});
  }
  return std::make_unique<SimLock>(*this, inode);
}

}  // namespace hansa::sim
