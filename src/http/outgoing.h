// Sending a body that is pulled from a source: of a response (server) or of a request (client).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "http/channel.h"
#include "io/byte_source.h"

namespace hansa::http {

inline constexpr std::size_t copy_piece = 256 * KiB;  // buffer where bytes must be copied: TLS, streams
inline constexpr std::uint64_t turn_bytes = 8 * MiB;  // sent without a wait before others get their turn

// Counts bytes sent without waiting, so that one fast reader does not hold the loop.
struct Turn {
  std::uint64_t bytes = 0;
  bool over(std::uint64_t more) {
    bytes += more;
    if (bytes < turn_bytes) return false;
    bytes = 0;
    return true;
  }
};

struct OutgoingBody {
  std::string_view what;                // in errors; a literal
  std::optional<std::uint64_t> length;  // absent: to the source's end
  bool chunked = false;
  std::function<bool()> enough;  // asked before each piece: true ends the sending early; null: never
};

struct OutgoingEnd {
  enum class Kind : std::uint8_t {
    complete,
    enough,   // ended early: the message is incomplete
    source,   // the source failed, or ended before the length
    channel,  // the connection failed
  };
  Kind kind = Kind::complete;
  std::optional<Error> error;  // with source and channel
};

// Sends the source's bytes with their framing. After anything but `complete` the connection cannot be kept.
io::Task<OutgoingEnd> send_source(Channel& channel, std::shared_ptr<io::ByteSource> source, OutgoingBody body);

}  // namespace hansa::http
