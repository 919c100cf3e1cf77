#include "http/session.h"

#include <algorithm>

#include "http/response.h"
#include "io/wait.h"

namespace hansa::http {
namespace {

constexpr std::byte tls_handshake_record{0x16};
constexpr std::uint32_t most_in_a_row = 16;  // pipelined requests before other connections get their turn
constexpr std::size_t empty_head = 2;        // CR LF before a request line, which is tolerated (RFC 9112, 2.2)
constexpr int most_empty_heads = 4;
constexpr const char* retry_after_seconds = "1";

Refusal refusal_of(Admission admission) {
  if (admission == Admission::client_full) {
    return {429, "this client has as many connections as one may have; close some, or try again later"};
  }
  return {503, "this server has as many connections as it is allowed to; try again later"};
}

}  // namespace

io::Task<void> serve_session(LoopState& loop, Accepted accepted) {
  const bool admitted = accepted.admission == Admission::admitted;
  const std::string network = std::move(accepted.network);
  {
    Session session(loop, std::move(accepted));
    co_await session.run();
  }
  if (!admitted) {
    --loop.refusals;
    co_return;
  }
  loop.server.leave(network);
  loop.open.fetch_sub(1, std::memory_order_relaxed);
}

Session::Session(LoopState& loop, Accepted accepted)
    : loop_(loop),
      channel_(loop, accepted.descriptor),
      peer_{.client = std::move(accepted.client), .client_port = accepted.port, .tls = false, .certificate_name = {}},
      admission_(accepted.admission) {
  member_ = loop_.enter_session(*this);
}

Session::~Session() {
  if (end_ == End::cut) channel_.stream.abort();
  loop_.leave_session(member_);
}

void Session::drain() {
  if (idle_) channel_.stream.socket().interrupt(Wake::cancelled);
}

io::Task<void> Session::run() {
  bool more = true;
  if (loop_.server.options.tls) more = co_await handshake();
  if (more && admission_ != Admission::admitted) {
    co_await refuse(refusal_of(admission_));
    more = false;
  }
  while (more) {
    more = co_await await_request();
    if (more) more = co_await exchange();
  }
  if (end_ == End::linger) co_await linger();
}

io::Task<bool> Session::handshake() {
  Stream& stream = channel_.stream;
  const Tick deadline = loop_.deadline(channel_.limits().header_timeout);
  std::byte first{};
  for (;;) {
    const Step step = stream.peek(first);
    if (step.kind == Step::Kind::moved) break;
    if (!step.would_block()) co_return false;
    const Wake wake = co_await channel_.wait(step, deadline);
    if (wake != Wake::ready) co_return false;
  }
  if (first != tls_handshake_record) {
    co_await refuse({400, "this port speaks HTTPS; use a URL that begins with https://"});
    co_return false;
  }
  const auto started = stream.start_tls(loop_.server.current_tls());
  if (!started) {
    loop_.server.log.error("a TLS session could not be made", {{"error", describe(started.error())}});
    co_return false;
  }
  for (;;) {
    const Step step = stream.handshake();
    if (step.kind == Step::Kind::moved) break;
    if (!step.would_block()) {
      loop_.server.log.debug("TLS handshake failed", {{"client", peer_.client}, {"error", tls_error()}});
      end_ = End::linger;  // the alert should arrive
      co_return false;
    }
    const Wake wake = co_await channel_.wait(step, deadline);
    if (wake != Wake::ready) co_return false;
  }
  peer_.tls = true;
  peer_.certificate_name = stream.certificate_name();
  co_return true;
}

io::Task<bool> Session::await_request() {
  if (!channel_.input().empty()) {
    if (++in_a_row_ % most_in_a_row == 0) co_await io::yield();
    co_return true;
  }
  // A plain connection has nothing to read most of the time; TLS may hold bytes that the kernel has given it already.
  Step step{.kind = Step::Kind::want_read};
  bool try_first = channel_.stream.tls();
  for (;;) {
    if (try_first) {
      step = channel_.fill();
      if (step.kind == Step::Kind::moved) co_return true;
      if (!step.would_block()) co_return false;
    }
    channel_.release();
    const io::Duration idle = channel_.limits().idle_timeout;
    const bool was_draining = loop_.draining;
    const Tick deadline = loop_.deadline(was_draining ? std::min(idle, drain_grace) : idle);
    idle_ = true;
    const Wake wake = co_await channel_.wait(step, deadline);
    idle_ = false;
    in_a_row_ = 0;
    if (wake == Wake::timeout) co_return false;
    if (wake == Wake::cancelled && (was_draining || !loop_.draining)) co_return false;
    if (wake == Wake::cancelled && answered_ > 0) {
      // The drain begins; a request that has arrived already is still answered.
      step = channel_.fill();
      co_return step.kind == Step::Kind::moved;
    }
    try_first = true;
  }
}

io::Task<std::expected<Head, Refusal>> Session::read_head(Request& request) {
  const Limits& limits = channel_.limits();
  const HeadLimits head_limits{.bytes = limits.header_bytes, .fields = limits.header_fields};
  const Tick deadline = loop_.deadline(limits.header_timeout);
  HeadScanner scanner(head_limits);
  int empty_heads = 0;
  for (;;) {
    const auto length = scanner.scan(channel_.input());
    if (!length) co_return std::unexpected(length.error());
    if (*length > empty_head) {
      auto head = parse_head(channel_.input().substr(0, *length), request);
      channel_.consume(*length);
      co_return head;
    }
    if (*length == empty_head) {
      if (++empty_heads > most_empty_heads) co_return std::unexpected(Refusal{400, "empty lines instead of a request"});
      channel_.consume(*length);
      scanner = HeadScanner(head_limits);
      continue;
    }
    if (channel_.input_full()) channel_.grow(limits.header_bytes);
    const Step step = channel_.fill();
    if (step.kind == Step::Kind::moved) continue;
    if (!step.would_block()) co_return std::unexpected(Refusal{0, {}});
    const Wake wake = co_await channel_.wait(step, deadline);
    if (wake == Wake::timeout) {
      co_return std::unexpected(Refusal{408, "the request header did not arrive within the time limit"});
    }
    if (wake == Wake::cancelled) co_return std::unexpected(Refusal{0, {}});
  }
}

io::Task<Response> Session::call_handler(Request& request) {
  std::string failure;
  try {
    auto answer = loop_.server.handler(request);
    co_return co_await std::move(answer);
  } catch (const std::exception& exception) {
    failure = exception.what();
  } catch (...) {
    failure = "an exception of unknown type";
  }
  loop_.server.log.error("a request handler failed", {{"path", request.path()}, {"error", failure}});
  co_return text_response(500, "the request could not be handled because of a bug");
}

io::Task<bool> Session::exchange() {
  Request request;
  const auto head = co_await read_head(request);
  if (!head) {
    if (head.error().status != 0) co_await refuse(head.error());
    co_return false;
  }
  request.connection = peer_;
  IncomingBody body(channel_, {.what = "the request body",
                               .length = request.content_length.value_or(0),
                               .chunked = request.chunked,
                               .until_close = false,
                               .expects_continue = head->expect_continue});
  request.body = &body;
  Response response = co_await call_handler(request);

  const std::size_t limit = channel_.limits().drain_body;
  const bool keep = head->keep_alive && !response.close && !loop_.draining && body.worth_draining(limit);
  const AnswerFacts facts{.head = request.method == Method::head, .http10 = head->http10, .close = !keep};
  const bool closes = !keep || plan_body(response, facts).until_close;
  const auto sent = co_await send_response(loop_, channel_, response, facts);
  if (!sent) {
    loop_.server.log.debug("a response was cut", {{"path", request.path()}, {"error", describe(sent.error())}});
    end_ = End::cut;
    co_return false;
  }
  ++answered_;
  const bool in_step = !closes && co_await body.drain(limit);
  if (!in_step) end_ = End::linger;
  co_return in_step;
}

io::Task<void> Session::refuse(Refusal refusal) {
  Response response = text_response(refusal.status, refusal.message);
  if (refusal.status == 429 || refusal.status == 503) response.headers.add("Retry-After", retry_after_seconds);
  const auto sent = co_await send_response(loop_, channel_, response, {.close = true});
  end_ = sent ? End::linger : End::cut;
}

io::Task<void> Session::linger() {
  channel_.release();
  Stream& stream = channel_.stream;
  stream.shutdown();
  std::uint64_t thrown = 0;
  while (thrown < linger_bytes) {
    const Step step = stream.discard();
    thrown += step.bytes;
    if (step.kind == Step::Kind::moved) continue;
    if (!step.would_block()) co_return;
    const io::Duration patience = loop_.draining ? drain_grace : linger_timeout;
    const Wake wake = co_await channel_.wait(step, loop_.deadline(patience));
    if (wake != Wake::ready) co_return;
  }
}

}  // namespace hansa::http
