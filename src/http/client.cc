#include "http/client.h"

#include <pthread.h>
#include <signal.h>

#include <vector>

#include "http/body.h"
#include "http/client_loop.h"
#include "http/outgoing.h"
#include "http/response_head.h"
#include "http/text.h"

namespace hansa::http {
namespace {

constexpr int most_interim_answers = 8;

Error no_answer(Error cause) {
  if (cause.code == ErrorCode::cancelled) return cause;
  return make_error(ErrorCode::ambiguous, "the request was sent and not answered: " + cause.message);
}

bool breaks_line(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

Result<std::string> request_head(const std::string& address, const ClientRequest& request) {
  if (request.target.empty() || request.target.find_first_of(std::string_view(" \r\n\0", 4)) != std::string::npos) {
    return make_error(ErrorCode::invalid, Subject::request, "a request target may not be empty or hold spaces");
  }
  std::string head = std::string(to_string(request.method)) + " " + request.target + " HTTP/1.1\r\nHost: " + address;
  head += "\r\n";
  for (const auto& [name, value] : request.headers.fields()) {
    if (name.empty() || name.find_first_of(": \t") != std::string::npos || breaks_line(name) || breaks_line(value)) {
      return make_error(ErrorCode::invalid, Subject::request,
                        "a request header field holds a line break or has no valid name");
    }
    head += name + ": " + value + "\r\n";
  }
  if (request.body == nullptr) {
    if (request.method != Method::get && request.method != Method::head) head += "Content-Length: 0\r\n";
  } else if (request.length) {
    head += "Content-Length: " + std::to_string(*request.length) + "\r\n";
  } else {
    head += "Transfer-Encoding: chunked\r\n";
  }
  if (request.body != nullptr && request.expect_continue) head += "Expect: 100-continue\r\n";
  return head + "\r\n";
}

class EmptySource final : public io::ByteSource {
 public:
  io::Task<Result<std::size_t>> read(Bytes) override { co_return std::size_t{0}; }
};

// An answer's body with its connection, which is kept at the end.
class AnswerBody final : public io::ByteSource {
 public:
  AnswerBody(ConnectionPtr connection, BodyFraming framing, bool keep)
      : connection_(std::move(connection)), body_(connection_->channel, framing), keep_(keep) {}
  ~AnswerBody() override {
    if (connection_ == nullptr) return;
    io::Executor& executor = connection_->loop->executor;
    if (executor.on_this_thread()) return;
    executor.post([connection = std::move(connection_)] {});
  }

  io::Task<Result<std::size_t>> read(Bytes out) override {
    if (connection_ == nullptr) co_return std::size_t{0};
    auto bytes = co_await body_.read(out);
    if (bytes && body_.finished()) {
      const auto loop = connection_->loop;
      if (keep_) {
        loop->keep(std::move(connection_));
      } else {
        connection_.reset();
      }
    }
    co_return bytes;
  }

 private:
  ConnectionPtr connection_;
  IncomingBody body_;
  bool keep_;
};

// One attempt on one connection.
class Exchange {
 public:
  Exchange(ConnectionPtr connection, const ClientRequest& request)
      : connection_(std::move(connection)), channel_(connection_->channel), request_(request) {}

  io::Task<Result<ClientResponse>> run(std::string head);
  // It failed in a way that a server's closing of an idle connection explains.
  bool stale() const { return stale_; }

 private:
  io::Task<Result<void>> send_body();
  io::Task<Result<ResponseHead>> read_head();
  io::Task<Result<ResponseHead>> final_head();
  ClientResponse finish(ResponseHead head);
  bool answer_begun();

  ConnectionPtr connection_;
  Channel& channel_;
  const ClientRequest& request_;
  bool body_begun_ = false;
  bool whole_ = true;  // the request was sent completely
  bool stale_ = false;
  bool settled_ = false;  // the body's source failed: its error is the request's
};

bool Exchange::answer_begun() {
  if (!channel_.input().empty()) return true;
  const Step step = channel_.fill();
  return step.kind == Step::Kind::moved;
}

io::Task<Result<void>> Exchange::send_body() {
  body_begun_ = true;
  OutgoingBody body{
      .what = "the request body", .length = request_.length, .chunked = !request_.length.has_value(), .enough = [this] {
        return answer_begun();
      }};
  auto end = co_await send_source(channel_, request_.body, std::move(body));
  whole_ = end.kind == OutgoingEnd::Kind::complete;
  if (!whole_) channel_.stream.abort();  // whatever was sent must not look like the whole
  settled_ = end.kind == OutgoingEnd::Kind::source;
  if (settled_) co_return std::move(*end.error);
  // A server that closed may have said why before.
  if (end.kind == OutgoingEnd::Kind::channel && !answer_begun()) co_return std::move(*end.error);
  co_return Result<void>{};
}

io::Task<Result<ResponseHead>> Exchange::read_head() {
  const ClientLimits& limits = connection_->loop->shared->options.limits;
  HeadScanner scanner({.bytes = limits.header_bytes, .fields = limits.header_fields});
  const Tick deadline = channel_.loop.deadline(limits.answer_timeout);
  for (;;) {
    const auto length = scanner.scan(channel_.input());
    if (!length) co_return make_error(ErrorCode::invalid, length.error().message);
    if (*length > 0) {
      auto head = parse_response_head(channel_.input().substr(0, *length));
      channel_.consume(*length);
      if (!head) co_return make_error(ErrorCode::invalid, head.error().message);
      co_return std::move(*head);
    }
    if (!channel_.input().empty() && channel_.input_full()) channel_.grow(limits.header_bytes);
    const Step step = channel_.fill();
    if (step.kind == Step::Kind::moved) continue;
    if (!step.would_block()) {
      stale_ = connection_->used && !body_begun_ && channel_.input().empty();
      co_return step_error(step, "the wait for the answer");
    }
    const Wake wake = co_await channel_.wait(step, deadline);
    if (wake != Wake::ready) co_return wake_error(wake, "the answer");
  }
}

// Interim answers are passed over; "100 Continue" lets the body go.
io::Task<Result<ResponseHead>> Exchange::final_head() {
  bool held = request_.body != nullptr && request_.expect_continue;
  for (int i = 0; i < most_interim_answers; ++i) {
    HANSA_CO_TRY(ResponseHead head, co_await read_head());
    if (!head.interim()) {
      if (held) whole_ = false;  // the server did not want the body
      co_return head;
    }
    if (head.status == 101) break;
    if (head.status == 100 && std::exchange(held, false)) HANSA_CO_CHECK(co_await send_body());
  }
  co_return make_error(ErrorCode::invalid, "interim answers without a final one");
}

ClientResponse Exchange::finish(ResponseHead head) {
  ClientResponse response{
      .status = head.status, .headers = std::move(head.headers), .content_length = head.content_length, .body = {}};
  const bool body = may_have_body(head, request_.method == Method::head);
  const bool until_close = body && !head.chunked && !head.content_length;
  const bool keep = whole_ && head.keep_alive && !until_close;
  if (!body || (!head.chunked && head.content_length == std::uint64_t{0})) {
    const auto loop = connection_->loop;
    if (keep) loop->keep(std::move(connection_));
    response.body = std::make_shared<EmptySource>();
    return response;
  }
  const BodyFraming framing{.what = "the answer's body",
                            .length = head.content_length.value_or(0),
                            .chunked = head.chunked,
                            .until_close = until_close,
                            .expects_continue = false};
  response.body = std::make_shared<AnswerBody>(std::move(connection_), framing, keep);
  return response;
}

io::Task<Result<ClientResponse>> Exchange::run(std::string head) {
  const bool body_follows = request_.body != nullptr && !request_.expect_continue;
  auto sent = co_await channel_.send(as_bytes(head), {}, body_follows, "the request");
  if (!sent) {
    stale_ = connection_->used && sent.error().code == ErrorCode::disconnected;
    co_return no_answer(std::move(sent).error());
  }
  Result<void> body;
  if (body_follows) body = co_await send_body();
  if (!body) co_return settled_ ? std::move(body).error() : no_answer(std::move(body).error());
  auto answer = co_await final_head();
  if (!answer) co_return settled_ ? std::move(answer).error() : no_answer(std::move(answer).error());
  co_return finish(std::move(*answer));
}

io::Task<void> close_loop(std::shared_ptr<ClientLoop> loop) {
  loop->close();
  co_return;
}

}  // namespace

struct Client::State {
  std::shared_ptr<ClientShared> shared;
  std::vector<std::shared_ptr<ClientLoop>> loops;

  std::shared_ptr<ClientLoop> loop_of(const io::Executor& executor) const {
    for (const auto& loop : loops) {
      if (&loop->executor == &executor) return loop;
    }
    HANSA_ASSERT(false, "requests are sent from one of the client's loops");
  }
};

Client::Client(io::asio::EventLoops& loops, ClientOptions options) : state_(std::make_shared<State>()) {
  state_->shared = std::make_shared<ClientShared>(std::move(options));
  for (std::size_t i = 0; i < loops.size(); ++i) {
    state_->loops.push_back(std::make_shared<ClientLoop>(state_->shared, loops.loop(i), loops.executor(i)));
    // OpenSSL's writes to a connection that the server has reset raise SIGPIPE, which no flag prevents.
    loops.executor(i).post([] {
      sigset_t signals;
      ::sigemptyset(&signals);
      ::sigaddset(&signals, SIGPIPE);
      ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    });
  }
}

Client::~Client() {
  for (auto& loop : state_->loops) {
    io::Executor& executor = loop->executor;
    io::asio::run_and_wait(executor, close_loop(std::move(loop)));
  }
}

Result<std::unique_ptr<Client>> Client::make(io::asio::EventLoops& loops, ClientOptions options) {
  std::unique_ptr<Client> client(new Client(loops, std::move(options)));
  const auto& tls = client->state_->shared->options.tls;
  if (tls) {
    HANSA_TRY(client->state_->shared->tls, TlsContext::load_client(*tls));
  }
  return client;
}

Result<void> Client::reload_tls() {
  ClientShared& shared = *state_->shared;
  if (!shared.options.tls) {
    return make_error(ErrorCode::unsupported, Subject::config, "this client has no TLS to reload");
  }
  HANSA_TRY(auto fresh, TlsContext::load_client(*shared.options.tls));
  const std::scoped_lock lock(shared.tls_lock);
  shared.tls = std::move(fresh);
  shared.generation.fetch_add(1);
  return {};
}

Client::Counters Client::counters() const {
  return {.connected = state_->shared->connected.load(), .reused = state_->shared->reused.load()};
}

io::Task<Result<ClientResponse>> Client::send(std::string address, ClientRequest request) {
  io::TaskContext& context = co_await io::current_context();
  const auto loop = state_->loop_of(context.executor());
  HANSA_CO_TRY(const std::string head, request_head(address, request));
  const auto target = parse_target(address);
  const bool pinned = !request.pinned_ca.empty();
  std::string identity = request.identity.empty() && target ? target->host : request.identity;
  const std::string key = pinned ? std::string() : address + " " + request.identity;
  ConnectionPtr kept = pinned ? nullptr : loop->take(key);
  if (kept != nullptr) {
    loop->shared->reused.fetch_add(1, std::memory_order_relaxed);
    Exchange exchange(std::move(kept), request);
    auto answer = co_await exchange.run(head);
    if (answer || !request.idempotent || !exchange.stale()) co_return answer;
  }
  std::shared_ptr<TlsContext> tls = loop->shared->current_tls();
  const std::uint64_t generation = loop->shared->generation.load();
  if (pinned) {
    HANSA_CO_TRY(tls, TlsContext::pinned_client(request.pinned_ca));
    identity.clear();
  }
  HANSA_CO_TRY(ConnectionPtr connection, co_await connect(loop, address, std::move(tls), std::move(identity)));
  connection->target = key;
  connection->generation = generation;
  Exchange exchange(std::move(connection), request);
  co_return co_await exchange.run(head);
}

}  // namespace hansa::http
