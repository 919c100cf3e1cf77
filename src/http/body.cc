#include "http/body.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace hansa::http {
namespace {

constexpr std::string_view continue_line = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr std::size_t drain_buffer_bytes = 64 * 1024;

}  // namespace

RequestBody::RequestBody(Channel& channel, const Request& request, const Head& head)
    : channel_(channel),
      chunked_(request.chunked),
      expects_continue_(head.expect_continue),
      left_(request.content_length.value_or(0)),
      patience_(channel.limits().transfer_timeout) {}

bool RequestBody::worth_draining(std::size_t limit) const {
  if (broken_) return false;
  if (finished()) return true;
  // Whoever waits for "100 Continue" may send the body now or never: the connection cannot be kept in step.
  return !expects_continue_ && left_ <= limit;
}

Step RequestBody::take_data(Bytes out) {
  const std::string_view input = channel_.input();
  if (input.empty()) return channel_.stream.read(out);
  const std::size_t bytes = std::min(out.size(), input.size());
  std::memcpy(out.data(), input.data(), bytes);
  channel_.consume(bytes);
  return {.kind = Step::Kind::moved, .bytes = bytes};
}

Result<Step> RequestBody::try_framing() {
  if (channel_.input().empty()) {
    const Step step = channel_.fill();
    if (step.kind != Step::Kind::moved) return step;
  }
  HANSA_TRY(const std::size_t used, decoder_.take_framing(channel_.input()));
  channel_.consume(used);
  return Step{.kind = Step::Kind::moved, .bytes = used};
}

Result<Step> RequestBody::try_read(Bytes out, std::size_t& got) {
  while (got < out.size()) {
    const std::uint64_t left = chunked_ ? decoder_.data_left() : left_;
    if (left == 0) {
      if (finished()) break;
      HANSA_TRY(const Step step, try_framing());
      if (step.kind != Step::Kind::moved) return step;
      continue;
    }
    const Step step = take_data(out.subspan(got, std::min<std::uint64_t>(left, out.size() - got)));
    if (step.kind != Step::Kind::moved) return step;
    got += step.bytes;
    if (chunked_) {
      decoder_.took(step.bytes);
    } else {
      left_ -= step.bytes;
    }
  }
  return Step{.kind = Step::Kind::moved, .bytes = got};
}

io::Task<Result<std::size_t>> RequestBody::read(Bytes out) {
  if (broken_) co_return make_error(ErrorCode::disconnected, "the request body has failed already");
  if (finished() || out.empty()) co_return std::size_t{0};
  if (std::exchange(expects_continue_, false) && channel_.input().empty()) {
    auto told = co_await channel_.send(as_bytes(continue_line), {}, false);
    broken_ = !told;
    HANSA_CO_CHECK(std::move(told));
  }
  std::size_t got = 0;
  for (;;) {
    const auto step = try_read(out, got);
    broken_ = !step;
    if (!step) co_return step.error();
    if (got > 0 || finished()) co_return got;
    broken_ = !step->would_block();
    if (broken_) co_return step_error(*step, "the request body");
    const Wake wake = co_await channel_.wait(*step, channel_.loop.deadline(patience_));
    broken_ = wake != Wake::ready;
    if (broken_) co_return wake_error(wake, "the request body");
  }
}

io::Task<bool> RequestBody::drain(std::size_t limit) {
  if (!worth_draining(limit)) co_return false;
  if (finished()) co_return true;
  patience_ = std::min(patience_, channel_.limits().header_timeout);
  std::vector<std::byte> buffer(drain_buffer_bytes);
  std::size_t drained = 0;
  while (!finished() && drained <= limit) {
    const auto bytes = co_await read(buffer);
    if (!bytes) co_return false;
    drained += *bytes;
  }
  co_return finished();
}

}  // namespace hansa::http
