// ChunkDecoder: the framing of a chunked body (RFC 9112, 7.1), without I/O. The chunk data itself never passes through
// it: the caller moves that many bytes from the socket to where they belong.
//
//   while (!decoder.finished()) {
//     if (decoder.data_left() == 0) consumed = decoder.take_framing(buffered);   // size lines, CRLFs, trailers
//     else { n = bytes moved, at most data_left(); decoder.took(n); }
//   }
//
// Strict: every line ends in CRLF, sizes are plain hexadecimal; extensions and trailers are bounded and thrown away.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace hansa::http {

inline constexpr std::size_t max_chunk_line = 1024;         // size and extensions
inline constexpr std::size_t max_trailer_bytes = 8 * 1024;  // all trailer fields together

class ChunkDecoder {
 public:
  // Consumes framing bytes at the front of `in` and returns how many: all of them, or fewer once chunk data or the next
  // message follows. REQUIRES: data_left() == 0 and !finished(). ErrorCode::invalid: the format is broken.
  Result<std::size_t> take_framing(std::string_view in);
  std::uint64_t data_left() const { return data_left_; }
  void took(std::uint64_t bytes);
  bool finished() const { return state_ == State::finished; }

 private:
  enum class State : std::uint8_t {
    size,  // hexadecimal digits
    before_extension,
    extension,  // up to CR
    size_lf,    // the LF of the size line
    data,       // data_left_ bytes
    data_cr,    // the CRLF after them
    data_lf,
    trailer,     // at the beginning of a trailer line
    trailer_in,  // inside of one
    trailer_lf,
    last_lf,  // the LF of the empty line that ends it all
    finished,
  };
  Result<void> take(char c);
  Result<void> take_size(char c);

  State state_ = State::size;
  std::uint64_t size_ = 0;
  std::uint64_t data_left_ = 0;
  std::size_t digits_ = 0;
  std::size_t line_bytes_ = 0;
};

}  // namespace hansa::http
