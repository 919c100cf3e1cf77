// The moving of response bytes: see response.h.
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "http/outgoing.h"
#include "http/response.h"
#include "io/wait.h"

namespace hansa::http {
namespace {

using Sent = Result<void>;

// The first piece ends at a multiple of file_piece, so that the next ones begin at one.
std::uint64_t piece_at(std::uint64_t offset, std::uint64_t left) {
  return std::min(left, file_piece - offset % file_piece);
}

std::uint64_t first_piece(const FileBody& file) {
  const std::uint64_t length = piece_at(file.offset, file.length);
  return file.first_piece == 0 ? length : std::min(length, file.first_piece);
}

// Is the last page of the piece in memory? One cheap call; where the file system cannot tell, yes.
bool is_cached(int file, std::uint64_t offset, std::uint64_t length) {
  std::byte last{};
  const iovec place{&last, 1};
  const auto at = static_cast<off_t>(offset + length - 1);
  return ::preadv2(file, &place, 1, at, RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

// Brings a piece into the page cache on a thread that may block, so that sendfile does not stop the loop.
io::Task<void> warm(int file, std::uint64_t offset, std::uint64_t length) {
  if (is_cached(file, offset, length)) co_return;
  auto read = [file, offset, length] {
    ::readahead(file, static_cast<off64_t>(offset), length);
    std::array<std::byte, 4096> page{};
    for (std::uint64_t at = 0; at < length; at += page.size()) {
      if (::pread(file, page.data(), 1, static_cast<off_t>(offset + at)) != 1) return;
    }
  };
  co_await io::blocking(io::Pool::disk, read);
}

Error short_file() {
  return make_error(ErrorCode::corrupt, Subject::file, "a file ended before the length that was promised");
}

io::Task<Sent> send_piece(Channel& channel, int file, std::uint64_t offset, std::uint64_t length) {
  while (length > 0) {
    const Step step = channel.stream.send_file(file, offset, length);
    if (step.kind == Step::Kind::moved) {
      offset += step.bytes;
      length -= step.bytes;
      channel.loop.count_sent(step.bytes);
      continue;
    }
    if (step.kind == Step::Kind::end) co_return short_file();
    if (!step.would_block()) co_return step_error(step, "the response");
    const Wake wake = co_await channel.wait(step, channel.loop.deadline(channel.limits().transfer_timeout));
    if (wake != Wake::ready) co_return wake_error(wake, "the response");
  }
  co_return Sent{};
}

// For TLS in user space. The piece is in the page cache already, so reading it does not block for long.
io::Task<Sent> copy_piece_of(Channel& channel, int file, std::uint64_t offset, std::uint64_t length) {
  const std::size_t capacity = std::min<std::uint64_t>(copy_piece, length);
  const Buffer buffer = std::make_unique_for_overwrite<std::byte[]>(capacity);
  while (length > 0) {
    const ssize_t bytes =
        ::pread(file, buffer.get(), std::min<std::uint64_t>(capacity, length), static_cast<off_t>(offset));
    if (bytes == 0) co_return short_file();
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) co_return errno_error(errno, "a file cannot be read for a response");
    const auto count = static_cast<std::size_t>(bytes);
    HANSA_CO_CHECK(co_await channel.send({buffer.get(), count}, {}, false));
    offset += count;
    length -= count;
    channel.loop.count_sent(count);
  }
  co_return Sent{};
}

// `prepared`: prepare() was awaited for the first piece already.
io::Task<Sent> send_file(Channel& channel, const FileBody& file, bool prepared) {
  Turn turn;
  std::uint64_t offset = file.offset;
  std::uint64_t left = file.length;
  while (left > 0) {
    const std::uint64_t length = offset == file.offset ? first_piece(file) : piece_at(offset, left);
    if (file.prepare && !prepared) {
      auto prepare = file.prepare(offset, length);
      HANSA_CO_CHECK(co_await std::move(prepare));
    }
    prepared = false;
    co_await warm(file.descriptor, offset, length);
    if (channel.stream.can_send_file()) {
      HANSA_CO_CHECK(co_await send_piece(channel, file.descriptor, offset, length));
    } else {
      HANSA_CO_CHECK(co_await copy_piece_of(channel, file.descriptor, offset, length));
    }
    offset += length;
    left -= length;
    if (turn.over(length)) co_await io::yield();
  }
  co_return Sent{};
}

io::Task<Sent> send_stream(Channel& channel, const StreamBody& stream, const BodyPlan& plan) {
  HANSA_ASSERT(stream.source != nullptr, "a streamed body has a source");
  OutgoingBody body{.what = "the response", .length = plan.length, .chunked = plan.chunked, .enough = nullptr};
  auto end = co_await send_source(channel, stream.source, std::move(body));
  if (end.error) co_return std::move(*end.error);
  co_return Sent{};
}

// The head and a body in memory: one call of the kernel, with TLS one record if they are small.
io::Task<Sent> send_text(Channel& channel, std::string& head, std::string_view body) {
  constexpr std::size_t one_record = 16 * KiB;
  const std::size_t payload = body.size();
  if (channel.stream.tls() && head.size() + body.size() <= one_record) {
    head += body;
    body = {};
  }
  HANSA_CO_CHECK(co_await channel.send(as_bytes(head), as_bytes(body), false));
  channel.loop.count_sent(payload);
  co_return Sent{};
}

io::Task<Sent> send_parts(Channel& channel, const std::vector<std::variant<std::string, FileBody>>& parts) {
  for (const auto& part : parts) {
    if (const auto* text = std::get_if<std::string>(&part)) {
      const bool more = &part != &parts.back();
      HANSA_CO_CHECK(co_await channel.send(as_bytes(*text), {}, more));
      channel.loop.count_sent(text->size());
    } else {
      HANSA_CO_CHECK(co_await send_file(channel, std::get<FileBody>(part), false));
    }
  }
  co_return Sent{};
}

// Awaited before the head leaves: bytes known to be bad are answered 503 instead.
io::Task<Result<bool>> prepare_first(const Response& response, const BodyPlan& plan) {
  const auto* file = std::get_if<FileBody>(&response.body);
  if (!plan.send || file == nullptr || !file->prepare) co_return false;
  auto prepare = file->prepare(file->offset, first_piece(*file));
  HANSA_CO_CHECK(co_await std::move(prepare));
  co_return true;
}

}  // namespace

io::Task<Result<void>> send_response(LoopState& loop, Channel& channel, Response& response, AnswerFacts facts) {
  BodyPlan plan = plan_body(response, facts);
  auto prepared = co_await prepare_first(response, plan);
  auto head = make_head(response, plan, facts, loop.date());
  if (!prepared || !head) {
    const Error& error = prepared ? head.error() : prepared.error();
    loop.server.log.error("a response could not be sent", {{"error", describe(error)}});
    response =
        text_response(prepared ? 500 : 503, prepared ? "the answer is malformed" : "the content cannot be read now");
    plan = plan_body(response, facts);
    head = make_head(response, plan, facts, loop.date());
  }
  if (!plan.send) co_return co_await channel.send(as_bytes(*head), {}, false);
  if (const auto* text = std::get_if<std::string>(&response.body)) co_return co_await send_text(channel, *head, *text);
  if (const auto* shared = std::get_if<std::shared_ptr<const std::string>>(&response.body)) {
    co_return co_await send_text(channel, *head, **shared);
  }
  const bool more = !std::holds_alternative<StreamBody>(response.body);  // a stream may take its time
  HANSA_CO_CHECK(co_await channel.send(as_bytes(*head), {}, more));
  if (const auto* file = std::get_if<FileBody>(&response.body)) co_return co_await send_file(channel, *file, *prepared);
  if (const auto* stream = std::get_if<StreamBody>(&response.body)) {
    co_return co_await send_stream(channel, *stream, plan);
  }
  const auto& parts = std::get<std::vector<std::variant<std::string, FileBody>>>(response.body);
  co_return co_await send_parts(channel, parts);
}

}  // namespace hansa::http
