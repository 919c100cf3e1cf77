#include "meta/sqlite/vfs_state.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstring>

namespace hansa::meta::sqlite {

std::uint64_t page_sum(ConstBytes bytes, std::uint64_t seed) {
  // Four lanes, so that the multiplications overlap.
  constexpr std::uint64_t prime = 0x9E3779B97F4A7C15ULL;  // odd
  std::array<std::uint64_t, 4> lanes = {seed, seed ^ 1, seed ^ 2, seed ^ 3};
  std::size_t i = 0;
  for (std::size_t lane = 0; i + 8 <= bytes.size(); i += 8, lane = (lane + 1) & 3) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, 8);
    lanes[lane] = (lanes[lane] ^ word) * prime;
    lanes[lane] ^= lanes[lane] >> 29;
  }
  std::uint64_t sum = 0;
  for (const auto lane : lanes) sum = (sum ^ lane) * prime;
  for (; i < bytes.size(); ++i) sum = (sum ^ std::to_integer<std::uint64_t>(bytes[i])) * prime;
  return sum;
}

int Vfs::PathState::lock(const void* owner, int level) {
  const std::lock_guard guard(mutex_);
  auto held = levels_.find(owner);
  if (held != levels_.end() && held->second >= level) return SQLITE_OK;
  for (const auto& [other, other_level] : levels_) {
    if (other == owner) continue;
    const bool blocked = (level == SQLITE_LOCK_SHARED && other_level >= SQLITE_LOCK_PENDING) ||
                         (level >= SQLITE_LOCK_RESERVED && other_level >= SQLITE_LOCK_RESERVED);
    if (blocked) return SQLITE_BUSY;
  }
  if (level == SQLITE_LOCK_EXCLUSIVE) {
    const bool alone = levels_.size() == (held == levels_.end() ? 0U : 1U);
    levels_[owner] = alone ? SQLITE_LOCK_EXCLUSIVE : SQLITE_LOCK_PENDING;  // no new readers while it waits
    return alone ? SQLITE_OK : SQLITE_BUSY;
  }
  levels_[owner] = level;
  return SQLITE_OK;
}

void Vfs::PathState::unlock(const void* owner, int level) {
  const std::lock_guard guard(mutex_);
  if (level == SQLITE_LOCK_NONE) {
    levels_.erase(owner);
  } else if (auto held = levels_.find(owner); held != levels_.end()) {
    held->second = std::min(held->second, level);
  }
  vfs_.unlocked();
}

bool Vfs::PathState::reserved() const {
  const std::lock_guard guard(mutex_);
  return std::ranges::any_of(levels_, [](const auto& entry) { return entry.second >= SQLITE_LOCK_RESERVED; });
}

int Vfs::PathState::map_region(int region, int size, bool extend, void** out) {
  const std::lock_guard guard(mutex_);
  *out = nullptr;
  const auto index = static_cast<std::size_t>(region);
  if (index >= regions_.size()) {
    if (!extend) return SQLITE_OK;
    while (regions_.size() <= index) regions_.push_back(std::make_unique<char[]>(static_cast<std::size_t>(size)));
  }
  *out = regions_[index].get();
  return SQLITE_OK;
}

int Vfs::PathState::lock_shm(const void* owner, int first, int count, bool exclusive) {
  const std::lock_guard guard(mutex_);
  const auto range = std::span(shm_).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
  for (const auto& slot : range) {
    if (slot.exclusive != nullptr && slot.exclusive != owner) return SQLITE_BUSY;
    const bool others = slot.shared.size() > (slot.shared.contains(owner) ? 1U : 0U);
    if (exclusive && others) return SQLITE_BUSY;
  }
  for (auto& slot : range) {
    if (exclusive) {
      slot.exclusive = owner;
    } else {
      ++slot.shared[owner];
    }
  }
  return SQLITE_OK;
}

void Vfs::PathState::unlock_shm(const void* owner, int first, int count, bool exclusive) {
  const std::lock_guard guard(mutex_);
  for (auto& slot : std::span(shm_).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count))) {
    if (exclusive) {
      if (slot.exclusive == owner) slot.exclusive = nullptr;
    } else if (auto held = slot.shared.find(owner); held != slot.shared.end() && --held->second == 0) {
      slot.shared.erase(held);
    }
  }
  vfs_.unlocked();
}

void Vfs::PathState::unmap(const void* owner, bool forget) {
  const std::lock_guard guard(mutex_);
  for (auto& slot : shm_) {
    if (slot.exclusive == owner) slot.exclusive = nullptr;
    slot.shared.erase(owner);
  }
  if (forget) regions_.clear();
}

void Vfs::PathState::remember(std::uint64_t offset, ConstBytes page) {
  const std::lock_guard guard(mutex_);
  sums_[offset] = page_sum(page, offset);
}

void Vfs::PathState::forget_range(std::uint64_t offset, std::uint64_t length) {
  const std::lock_guard guard(mutex_);
  auto from = sums_.upper_bound(offset);
  // The page before may reach into the range.
  if (from != sums_.begin() && std::prev(from)->first + page_size > offset) --from;
  sums_.erase(from, sums_.lower_bound(offset + length));
}

void Vfs::PathState::forget_from(std::uint64_t offset) {
  const std::lock_guard guard(mutex_);
  sums_.erase(sums_.lower_bound(offset), sums_.end());
}

bool Vfs::PathState::matches(std::uint64_t offset, ConstBytes page) {
  const std::uint64_t sum = page_sum(page, offset);
  const std::lock_guard guard(mutex_);
  const auto [known, inserted] = sums_.try_emplace(offset, sum);
  return inserted || known->second == sum;
}

}  // namespace hansa::meta::sqlite
