// A client's body that does something at a byte, and breaks off there if it is told to. For tests only.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "io/byte_source.h"
#include "io/wait.h"

namespace hansa::registry::testing {

class BodyWithAPoint final : public io::ByteSource {
 public:
  BodyWithAPoint(const std::string& text, std::size_t point, std::function<void()> at_point, bool breaks = false)
      : text_(text), point_(point), at_point_(std::move(at_point)), breaks_(breaks) {}

  io::Task<Result<std::size_t>> read(Bytes out) override {
    if (at_ >= point_ && at_point_) std::exchange(at_point_, nullptr)();
    if (at_ >= point_ && breaks_) co_return make_error(ErrorCode::disconnected, "the client went away");
    const std::size_t end = at_ < point_ ? point_ : text_.size();
    const std::size_t count = std::min({out.size(), end - at_, piece});
    std::copy_n(as_bytes(text_).begin() + static_cast<std::ptrdiff_t>(at_), count, out.begin());
    at_ += count;
    HANSA_CO_CHECK(
        co_await io::sleep_for(std::chrono::milliseconds(1)));  // a client's link, so that the peer's keeps up
    co_return count;
  }

 private:
  static constexpr std::size_t piece = 100'000;
  const std::string& text_;
  const std::size_t point_;
  std::function<void()> at_point_;
  const bool breaks_;
  std::size_t at_ = 0;
};

}  // namespace hansa::registry::testing
