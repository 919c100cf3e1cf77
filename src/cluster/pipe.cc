#include "cluster/pipe.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace hansa::cluster {

io::Task<bool> Pipe::wait(Waiter* waiter) {
  auto waiting = io::wait_for<bool>([waiter](io::Completion<bool> done) -> io::Work {
    *waiter = done;
    return [done] { done.complete(false); };
  });
  co_return co_await waiting;
}

void Pipe::wake(Waiter& waiter) {
  if (auto woken = std::exchange(waiter, std::nullopt)) woken->complete(true);
}

io::Task<bool> Pipe::write(ConstBytes bytes) {
  while (held_ >= capacity_ && !closed_) {
    if (!co_await wait(&writer_)) co_return false;
  }
  if (closed_) co_return false;
  if (!bytes.empty()) {
    pieces_.emplace_back(bytes.begin(), bytes.end());
    held_ += bytes.size();
    wake(reader_);
  }
  co_return true;
}

void Pipe::end() {
  ended_ = true;
  wake(reader_);
}

void Pipe::close() {
  closed_ = true;
  pieces_.clear();
  held_ = 0;
  at_ = 0;
  wake(writer_);
  wake(reader_);
}

io::Task<Result<std::size_t>> Pipe::read(Bytes out) {
  while (held_ == 0 && !ended_ && !closed_) {
    if (!co_await wait(&reader_)) co_return make_error(ErrorCode::cancelled, "the read of a pipe was cancelled");
  }
  if (closed_) co_return make_error(ErrorCode::disconnected, "the pipe is closed");
  std::size_t given = 0;
  while (given < out.size() && held_ > 0) {
    auto& piece = pieces_.front();
    const std::size_t count = std::min(out.size() - given, piece.size() - at_);
    std::copy_n(piece.begin() + static_cast<std::ptrdiff_t>(at_), count,
                out.begin() + static_cast<std::ptrdiff_t>(given));
    given += count;
    at_ += count;
    held_ -= count;
    if (at_ == piece.size()) {
      pieces_.pop_front();
      at_ = 0;
    }
  }
  taken_ += given;
  wake(writer_);
  co_return given;
}

// ---- Follower ---------------------------------------------------------------------------------------------------

Follower::Follower(blob::BlobStore& blobs, std::string file, std::uint64_t from, std::uint64_t have)
    : blobs_(blobs),
      file_(std::move(file)),
      from_(from),
      at_(from),
      have_(have),
      growth_(file_, std::numeric_limits<std::uint64_t>::max(), 0) {
  growth_.grew(have);
}

io::Task<bool> Follower::write(ConstBytes bytes) {
  have_ += bytes.size();
  growth_.grew(have_);
  co_return !closed_;
}

void Follower::end() {
  ended_ = true;
  growth_.end();
}

void Follower::close() {
  closed_ = true;
  growth_.end();
}

io::Task<Result<std::size_t>> Follower::read(Bytes out) {
  HANSA_CO_TRY(const std::uint64_t have, co_await growth_.beyond(at_));
  if (closed_) co_return make_error(ErrorCode::disconnected, "nobody reads this upload any more");
  if (have <= at_) co_return std::size_t{0};
  if (!reader_) {
    HANSA_CO_TRY(reader_, co_await blobs_.read_staged(file_));
  }
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), have - at_));
  HANSA_CO_TRY(const std::size_t got, co_await reader_->read(at_, out.first(count)));
  if (got == 0) co_return make_error(ErrorCode::disconnected, "the staged bytes are gone");
  at_ += got;
  co_return got;
}

}  // namespace hansa::cluster
