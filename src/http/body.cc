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

IncomingBody::IncomingBody(Channel& channel, BodyFraming framing)
    : channel_(channel),
      what_(framing.what),
      chunked_(framing.chunked),
      until_close_(framing.until_close),
      expects_continue_(framing.expects_continue),
      left_(framing.until_close ? UINT64_MAX : framing.length),
      patience_(channel.limits().transfer_timeout) {}

bool IncomingBody::worth_draining(std::size_t limit) const {
  if (broken_) return false;
  if (finished()) return true;
  // Whoever waits for "100 Continue" may send the body now or never: the connection cannot be kept in step.
  return !expects_continue_ && left_ <= limit;
}

Step IncomingBody::take_data(Bytes out) {
  const std::string_view input = channel_.input();
  if (input.empty()) return channel_.stream.read(out);
  const std::size_t bytes = std::min(out.size(), input.size());
  std::memcpy(out.data(), input.data(), bytes);
  channel_.consume(bytes);
  return {.kind = Step::Kind::moved, .bytes = bytes};
}

Result<Step> IncomingBody::try_framing() {
  if (channel_.input().empty()) {
    const Step step = channel_.fill();
    if (step.kind != Step::Kind::moved) return step;
  }
  HANSA_TRY(const std::size_t used, decoder_.take_framing(channel_.input()));
  channel_.consume(used);
  return Step{.kind = Step::Kind::moved, .bytes = used};
}

Result<Step> IncomingBody::try_read(Bytes out, std::size_t& got) {
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
    channel_.loop.count_received(step.bytes);
    if (chunked_) {
      decoder_.took(step.bytes);
    } else {
      left_ -= step.bytes;
    }
  }
  return Step{.kind = Step::Kind::moved, .bytes = got};
}

io::Task<Result<std::size_t>> IncomingBody::read(Bytes out) {
  if (broken_) co_return make_error(ErrorCode::disconnected, std::string(what_) + " has failed already");
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
    if (until_close_ && step->kind == Step::Kind::end) {
      left_ = 0;
      co_return std::size_t{0};
    }
    broken_ = !step->would_block();
    if (broken_) co_return step_error(*step, what_);
    const Wake wake = co_await channel_.wait(*step, channel_.loop.deadline(patience_));
    broken_ = wake != Wake::ready;
    if (broken_) co_return wake_error(wake, what_);
  }
}

io::Task<bool> IncomingBody::drain(std::size_t limit) {
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
