#include "http/chunked.h"

#include "base/assert.h"
#include "http/text.h"

namespace hansa::http {
namespace {

constexpr std::size_t max_size_digits = 15;  // 2^60 - 1 at most: sums never overflow

Error broken(std::string what) {
  return make_error(ErrorCode::invalid, Subject::request, "the chunked body is malformed: " + std::move(what));
}

bool is_control(char c) {
  return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
}

}  // namespace

void ChunkDecoder::took(std::uint64_t bytes) {
  HANSA_ASSERT(bytes <= data_left_, "more data was taken than the chunk holds");
  data_left_ -= bytes;
  if (data_left_ == 0) state_ = State::data_cr;
}

Result<std::size_t> ChunkDecoder::take_framing(std::string_view in) {
  std::size_t used = 0;
  while (used < in.size() && state_ != State::data && state_ != State::finished) {
    HANSA_CHECK(take(in[used]));
    ++used;
  }
  return used;
}

Result<void> ChunkDecoder::take_size(char c) {
  const int digit = hex_value(c);
  if (digit >= 0) {
    if (++digits_ > max_size_digits) return broken("a chunk size has too many digits");
    size_ = size_ * 16 + static_cast<std::uint64_t>(digit);
    return {};
  }
  if (digits_ == 0) return broken("a chunk size must begin with a hexadecimal digit");
  if (c == '\r') {
    state_ = State::size_lf;
  } else if (c == ';') {
    state_ = State::extension;
  } else if (c == ' ' || c == '\t') {
    state_ = State::before_extension;
  } else {
    return broken("a chunk size holds something that is not a hexadecimal digit");
  }
  return {};
}

Result<void> ChunkDecoder::take(char c) {
  switch (state_) {
    case State::size:
      if (++line_bytes_ > max_chunk_line) return broken("a chunk size line is too long");
      return take_size(c);
    // Space is for extensions alone: what else stands there is a size to some and none to others.
    case State::before_extension:
      if (++line_bytes_ > max_chunk_line) return broken("a chunk size line is too long");
      if (c == ';') {
        state_ = State::extension;
      } else if (c != ' ' && c != '\t') {
        return broken("a space after a chunk size that no extension follows");
      }
      return {};
    case State::extension:
      if (++line_bytes_ > max_chunk_line) return broken("a chunk extension is too long");
      if (c == '\r') {
        state_ = State::size_lf;
      } else if (is_control(c)) {
        return broken("a control character in a chunk extension");
      }
      return {};
    case State::size_lf:
      if (c != '\n') return broken("a chunk size line must end in CR LF");
      data_left_ = size_;
      state_ = size_ == 0 ? State::trailer : State::data;
      size_ = 0;
      digits_ = 0;
      line_bytes_ = 0;
      return {};
    case State::data_cr:
      if (c != '\r') return broken("chunk data is longer than its size says");
      state_ = State::data_lf;
      return {};
    case State::data_lf:
      if (c != '\n') return broken("chunk data must end in CR LF");
      state_ = State::size;
      return {};
    case State::trailer:
    case State::trailer_in:
      if (++line_bytes_ > max_trailer_bytes) return broken("the trailer fields are too large");
      if (c == '\r') {
        state_ = state_ == State::trailer ? State::last_lf : State::trailer_lf;
      } else if (is_control(c)) {
        return broken("a control character in a trailer field");
      } else {
        state_ = State::trailer_in;
      }
      return {};
    case State::trailer_lf:
      if (c != '\n') return broken("a trailer field must end in CR LF");
      state_ = State::trailer;
      return {};
    case State::last_lf:
      if (c != '\n') return broken("the body must end in CR LF");
      state_ = State::finished;
      return {};
    case State::data:
    case State::finished: break;
  }
  HANSA_ASSERT(false, "framing is taken only between chunks");
}

}  // namespace hansa::http
