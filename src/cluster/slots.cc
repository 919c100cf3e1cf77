#include "cluster/slots.h"

namespace hansa::cluster {

bool Slots::try_take() {
  const std::lock_guard guard(mutex_);
  if (free_ == 0) return false;
  --free_;
  return true;
}

void Slots::give_back() {
  const std::lock_guard guard(mutex_);
  while (!waiting_.empty()) {
    const auto next = std::move(waiting_.front());
    waiting_.pop_front();
    if (std::exchange(next->settled, true)) continue;
    next->completion.complete(true);
    return;
  }
  ++free_;
}

// A slot that came free between try_take() and here is found here.
io::Work Slots::queue(io::Completion<bool> completion) {
  auto waiter = std::make_shared<Waiter>(Waiter{.completion = std::move(completion)});
  const std::lock_guard guard(mutex_);
  if (free_ > 0) {
    --free_;
    waiter->settled = true;
    waiter->completion.complete(true);
    return nullptr;
  }
  waiting_.push_back(waiter);
  return [this, waiter] {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(waiter->settled, true)) waiter->completion.complete(false);
  };
}

io::Task<Result<void>> Slots::wait() {
  auto turn = io::wait_for<bool>([this](io::Completion<bool> completion) { return queue(std::move(completion)); });
  const bool mine = co_await turn;
  if (!mine) co_return make_error(ErrorCode::cancelled, "cancelled while waiting for a slot");
  co_return Result<void>{};
}

io::Task<Result<Slots::Held>> Slots::take(io::Duration patience) {
  if (try_take()) co_return Held(*this);
  auto waited = co_await io::with_deadline(patience, wait());
  if (waited) co_return Held(*this);
  if (waited.error().code != ErrorCode::timeout) co_return waited.error();
  co_return make_error(ErrorCode::too_many, "too many at a time: " + std::string(what_) + "; try again later");
}

}  // namespace hansa::cluster
