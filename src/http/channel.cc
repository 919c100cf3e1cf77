#include "http/channel.h"

#include <algorithm>
#include <cstring>

namespace hansa::http {

Error wake_error(Wake wake, std::string_view what) {
  if (wake == Wake::timeout) {
    return make_error(ErrorCode::timeout, "no byte of " + std::string(what) + " moved within the time limit");
  }
  return make_error(ErrorCode::cancelled, std::string(what) + " was interrupted: this side stops or gave up");
}

Error step_error(const Step& step, std::string_view what) {
  std::string message = "the other side went away during " + std::string(what);
  if (step.error != 0) message += std::string(" (") + std::strerror(step.error) + ")";
  return make_error(ErrorCode::disconnected, std::move(message));
}

void Channel::consume(std::size_t bytes) {
  begin_ += bytes;
  if (begin_ == end_) begin_ = end_ = 0;
}

Step Channel::fill() {
  if (buffer_ == nullptr) {
    buffer_ = loop.take_buffer();
    capacity_ = input_buffer_bytes;
    begin_ = end_ = 0;
  }
  if (end_ == capacity_) {
    HANSA_ASSERT(begin_ > 0, "a full buffer must grow before it takes more");
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  const Step step = stream.read({buffer_.get() + end_, capacity_ - end_});
  end_ += step.bytes;
  return step;
}

void Channel::grow(std::size_t limit) {
  constexpr std::size_t factor = 4;
  const std::size_t larger = std::min(capacity_ * factor, limit);
  HANSA_ASSERT(larger > capacity_, "the scanner refuses what does not fit the largest buffer");
  auto buffer = std::make_unique_for_overwrite<std::byte[]>(larger);
  const std::size_t bytes = end_ - begin_;
  std::memcpy(buffer.get(), buffer_.get() + begin_, bytes);
  release();
  buffer_ = std::move(buffer);
  capacity_ = larger;
  end_ = bytes;
}

void Channel::release() {
  if (buffer_ != nullptr && capacity_ == input_buffer_bytes) loop.give_buffer(std::move(buffer_));
  buffer_.reset();
  capacity_ = begin_ = end_ = 0;
}

io::Task<Result<void>> Channel::send(ConstBytes first, ConstBytes second, bool more, std::string_view what) {
  while (!first.empty() || !second.empty()) {
    const std::array<iovec, 2> parts = {iovec{const_cast<std::byte*>(first.data()), first.size()},
                                        iovec{const_cast<std::byte*>(second.data()), second.size()}};
    const Step step = stream.write(parts, more);
    if (step.kind == Step::Kind::moved) {
      const std::size_t of_first = std::min(step.bytes, first.size());
      first = first.subspan(of_first);
      second = second.subspan(step.bytes - of_first);
      continue;
    }
    if (!step.would_block()) co_return step_error(step, what);
    const Wake wake = co_await wait(step, loop.deadline(limits().transfer_timeout));
    if (wake != Wake::ready) co_return wake_error(wake, what);
  }
  co_return Result<void>{};
}

}  // namespace hansa::http
