// ReaderSource: a body made of pieces of a blob and of text, for blobs that have no file descriptor to send from.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "blob/store.h"
#include "io/byte_source.h"

namespace hansa::api::distribution {

// Text, or (length > 0) a part of the blob.
struct Piece {
  std::string text;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

class ReaderSource final : public io::ByteSource {
 public:
  ReaderSource(std::shared_ptr<blob::BlobReader> reader, std::vector<Piece> pieces)
      : reader_(std::move(reader)), pieces_(std::move(pieces)) {}

  io::Task<Result<std::size_t>> read(Bytes out) override {
    while (at_ < pieces_.size() && done_ == size_of(pieces_[at_])) {
      ++at_;
      done_ = 0;
    }
    if (at_ == pieces_.size()) co_return std::size_t{0};
    const Piece& piece = pieces_[at_];
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size_of(piece) - done_));
    if (piece.length == 0) {
      std::ranges::copy(hansa::as_bytes(piece.text).subspan(static_cast<std::size_t>(done_), count), out.begin());
      done_ += count;
      co_return count;
    }
    HANSA_CO_TRY(const std::size_t got, co_await reader_->read(piece.offset + done_, out.first(count)));
    if (got == 0) co_return make_error(ErrorCode::corrupt, Subject::blob, "a blob ends before its recorded size");
    done_ += got;
    co_return got;
  }

 private:
  static std::uint64_t size_of(const Piece& piece) { return piece.length == 0 ? piece.text.size() : piece.length; }

  std::shared_ptr<blob::BlobReader> reader_;
  std::vector<Piece> pieces_;
  std::size_t at_ = 0;
  std::uint64_t done_ = 0;  // of the piece at_
};

}  // namespace hansa::api::distribution
