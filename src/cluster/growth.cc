#include "cluster/growth.h"

#include <algorithm>
#include <utility>

namespace hansa::cluster {

void Growth::grew(std::uint64_t have) {
  std::vector<io::Completion<bool>> waiting;
  {
    const std::lock_guard guard(mutex_);
    have_ = std::max(have_, have);
    waiting.swap(waiting_);
  }
  for (const auto& one : waiting) one.complete(true);
}

void Growth::end() {
  std::vector<io::Completion<bool>> waiting;
  {
    const std::lock_guard guard(mutex_);
    ended_ = true;
    waiting.swap(waiting_);
  }
  for (const auto& one : waiting) one.complete(true);
}

io::Task<Result<std::uint64_t>> Growth::beyond(std::uint64_t at) {
  while (true) {
    {
      const std::lock_guard guard(mutex_);
      if (have_ > at || ended_) co_return have_;
    }
    auto wait = io::wait_for<bool>([this, at](io::Completion<bool> done) -> io::Work {
      {
        const std::lock_guard guard(mutex_);
        if (have_ <= at && !ended_) {
          std::erase_if(waiting_, [](const auto& one) { return one.is_done(); });
          waiting_.push_back(done);
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

}  // namespace hansa::cluster
