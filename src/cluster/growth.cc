#include "cluster/growth.h"

#include <algorithm>
#include <utility>

namespace hansa::cluster {

// Those who have what they wait for, or never will; with the lock held. Who does not wait any more is dropped.
std::vector<io::Completion<bool>> Growth::release_locked() {
  std::vector<io::Completion<bool>> ready;
  std::erase_if(waiting_, [this, &ready](const Waiter& one) {
    if (one.completion.is_done()) return true;
    if (!ended_ && have_locked(one.whom) <= one.at) return false;
    ready.push_back(one.completion);
    return true;
  });
  return ready;
}

void Growth::grew(std::uint64_t have) {
  std::vector<io::Completion<bool>> ready;
  {
    const std::lock_guard guard(mutex_);
    have_ = std::max(have_, have);
    ready = release_locked();
  }
  for (const auto& one : ready) one.complete(true);
}

void Growth::end(bool whole) {
  std::vector<io::Completion<bool>> ready;
  {
    const std::lock_guard guard(mutex_);
    ended_ = true;
    whole_ = whole_ || whole;
    ready = release_locked();
  }
  for (const auto& one : ready) one.complete(true);
}

bool Growth::is_whole() const {
  const std::lock_guard guard(mutex_);
  return whole_;
}

std::uint64_t Growth::have_locked(For whom) const {
  if (whole_) return size_;
  return whom == For::member ? have_ : std::min(have_, size_ - std::min(size_, held_back));
}

io::Task<Result<std::uint64_t>> Growth::beyond(std::uint64_t at) {
  return wait_beyond(at, For::member);
}

io::Task<Result<std::uint64_t>> Growth::safe_beyond(std::uint64_t at) {
  return wait_beyond(at, For::client);
}

io::Task<Result<std::uint64_t>> Growth::wait_beyond(std::uint64_t at, For whom) {
  while (true) {
    {
      const std::lock_guard guard(mutex_);
      const std::uint64_t have = have_locked(whom);
      if (have > at || ended_) co_return have;
    }
    auto wait = io::wait_for<bool>([this, at, whom](io::Completion<bool> done) -> io::Work {
      {
        const std::lock_guard guard(mutex_);
        if (have_locked(whom) <= at && !ended_) {
          waiting_.push_back({.at = at, .whom = whom, .completion = done});
          return [done] { done.complete(false); };
        }
      }
      done.complete(true);
      return nullptr;
    });
    if (!co_await wait) co_return make_error(ErrorCode::cancelled, "cancelled while waiting for a blob to grow");
  }
}

io::Task<Result<std::size_t>> GrowthSource::read(Bytes out) {
  if (at_ >= growth_->size()) co_return std::size_t{0};
  HANSA_CO_TRY(const std::uint64_t have, co_await growth_->beyond(at_));
  if (have <= at_) co_return make_error(ErrorCode::disconnected, "the member's own fetch of this blob broke off");
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), have - at_));
  HANSA_CO_TRY(const std::size_t got, co_await reader_->read(at_, out.first(count)));
  if (got == 0) co_return make_error(ErrorCode::disconnected, "the member's staged bytes are gone");
  at_ += got;
  co_return got;
}

io::Task<Result<void>> GrowthReader::verify(std::uint64_t offset, std::uint64_t length) {
  if (length == 0 || offset >= growth_->size()) co_return Result<void>{};
  const std::uint64_t end = offset + std::min(length, growth_->size() - offset);
  HANSA_CO_TRY(const std::uint64_t have, co_await growth_->safe_beyond(end - 1));
  if (have >= end) co_return Result<void>{};
  co_return make_error(ErrorCode::disconnected, Subject::blob, "the fetch of this blob broke off; try again");
}

io::Task<Result<std::size_t>> GrowthReader::read(std::uint64_t offset, Bytes out) {
  if (offset >= growth_->size()) co_return std::size_t{0};
  HANSA_CO_TRY(const std::uint64_t have, co_await growth_->safe_beyond(offset));
  if (have <= offset) {
    co_return make_error(ErrorCode::disconnected, Subject::blob, "the fetch of this blob broke off; try again");
  }
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), have - offset));
  HANSA_CO_TRY(const std::size_t got, co_await reader_->read(offset, out.first(count)));
  if (got == 0) co_return make_error(ErrorCode::disconnected, Subject::blob, "the staged bytes are gone; try again");
  co_return got;
}

}  // namespace hansa::cluster
