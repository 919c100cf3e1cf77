// LentSource: a request's body, lent to a call to another member. Once it is taken back nobody reads the body any more,
// however long the other side keeps the source. Remembers the body's own error, which the call may wrap in another.
//
// Single-threaded: on the executor of the request.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "io/byte_source.h"
#include "io/wait.h"

namespace hansa::registry {

class LentSource final : public io::ByteSource {
 public:
  explicit LentSource(io::ByteSource& body) : body_(&body) {}

  io::Task<Result<std::size_t>> read(Bytes out) override {
    if (body_ == nullptr) co_return make_error(ErrorCode::disconnected, "the request is over");
    reading_ = true;
    auto got = co_await body_->read(out);
    reading_ = false;
    if (!got) {
      error_ = got.error();
    } else {
      given_ += *got;
      ended_ = *got == 0;
    }
    for (const auto& waiter : std::exchange(waiting_, {})) waiter.complete(true);
    co_return got;
  }

  // After it the body may go. Waits for a read that is under way.
  io::Task<void> take_back() {
    if (reading_) {
      auto wait = io::wait_for<bool>([this](io::Completion<bool> completion) -> io::Work {
        waiting_.push_back(std::move(completion));
        return nullptr;
      });
      co_await wait;
    }
    body_ = nullptr;
  }

  std::uint64_t given() const { return given_; }
  bool reading() const { return reading_; }  // the client is waited for, not the other member
  bool ended() const { return ended_; }
  const std::optional<Error>& error() const { return error_; }

 private:
  io::ByteSource* body_;
  bool reading_ = false;
  bool ended_ = false;
  std::uint64_t given_ = 0;
  std::optional<Error> error_;
  std::vector<io::Completion<bool>> waiting_;
};

}  // namespace hansa::registry
