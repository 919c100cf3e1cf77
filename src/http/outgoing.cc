#include "http/outgoing.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

#include "io/wait.h"

namespace hansa::http {
namespace {

using Kind = OutgoingEnd::Kind;

std::string chunk_line(std::size_t bytes) {
  std::array<char, 24> text{};
  const int length = std::snprintf(text.data(), text.size(), "%zx\r\n", bytes);
  return {text.data(), static_cast<std::size_t>(length)};
}

}  // namespace

io::Task<OutgoingEnd> send_source(Channel& channel, std::shared_ptr<io::ByteSource> source, OutgoingBody body) {
  const Buffer buffer = std::make_unique_for_overwrite<std::byte[]>(copy_piece);
  Turn turn;
  std::uint64_t left = body.length.value_or(UINT64_MAX);
  while (left > 0) {
    if (body.enough && body.enough()) co_return OutgoingEnd{.kind = Kind::enough, .error = std::nullopt};
    const Bytes room(buffer.get(), std::min<std::uint64_t>(copy_piece - 2, left));  // 2: CR LF
    auto read = co_await source->read(room);
    if (!read) co_return OutgoingEnd{.kind = Kind::source, .error = std::move(read).error()};
    std::size_t bytes = *read;
    const std::size_t payload = bytes;
    if (bytes == 0) break;
    left -= bytes;
    std::string line;
    if (body.chunked) {
      line = chunk_line(bytes);
      buffer[bytes++] = std::byte{'\r'};
      buffer[bytes++] = std::byte{'\n'};
    }
    auto sent = co_await channel.send(as_bytes(line), {buffer.get(), bytes}, false, body.what);
    if (!sent) co_return OutgoingEnd{.kind = Kind::channel, .error = std::move(sent).error()};
    channel.loop.count_sent(payload);
    if (turn.over(bytes)) co_await io::yield();
  }
  if (body.length && left > 0) {
    co_return OutgoingEnd{.kind = Kind::source,
                          .error = make_error(ErrorCode::disconnected, "the source of " + std::string(body.what) +
                                                                           " ended before the length promised")};
  }
  if (!body.chunked) co_return OutgoingEnd{};
  auto sent = co_await channel.send(as_bytes("0\r\n\r\n"), {}, false, body.what);
  if (!sent) co_return OutgoingEnd{.kind = Kind::channel, .error = std::move(sent).error()};
  co_return OutgoingEnd{};
}

}  // namespace hansa::http
