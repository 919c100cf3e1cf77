// The answering side of HttpPeers.
#include "peer/body_text.h"
#include "peer/http_peers.h"

namespace hansa::peer {
namespace {

// A request's body for as long as its handler runs.
class LentBody final : public io::ByteSource {
 public:
  explicit LentBody(io::ByteSource* body) : body_(body) {}
  io::Task<Result<std::size_t>> read(Bytes out) override {
    if (body_ == nullptr) co_return make_error(ErrorCode::disconnected, "the request of this body was answered");
    co_return co_await body_->read(out);
  }
  void end() { body_ = nullptr; }

 private:
  io::ByteSource* body_;
};

http::Response plain_error(int status, const Error& error) {
  http::Response response;
  response.status = status;
  response.headers = answer_headers({.status = failed, .text = error_text(error), .body = false}, {}, {});
  return response;
}

}  // namespace

void HttpPeers::serve(Handler handler) {
  const std::scoped_lock lock(lock_);
  handler_ = std::make_shared<const Handler>(std::move(handler));
}

std::optional<http::TlsFiles> HttpPeers::server_tls() const {
  if (!options_.tls) return std::nullopt;
  return http::TlsFiles{options_.tls->certificate, options_.tls->key, options_.tls->ca};
}

http::Handler HttpPeers::handler(JoinHandler join) {
  return [this, join = std::move(join)](http::Request& request) { return route(this, join, &request); };
}

io::Task<http::Response> HttpPeers::route(HttpPeers* self, JoinHandler join, http::Request* request) {
  if (request->method == http::Method::post && request->path().starts_with(peer_path)) {
    co_return co_await self->answer(request);
  }
  if (request->method != http::Method::post || request->path() != join_path || !join) {
    co_return plain_error(404, make_error(ErrorCode::not_found, "members talk here; this is none of their requests"));
  }
  auto text = co_await read_text(*request->body, max_join_bytes);
  if (!text) co_return plain_error(failed, text.error());
  auto joining = join(std::move(*text), request->connection.client);
  auto result = co_await std::move(joining);
  if (result && result->size() > max_join_bytes) {
    result = make_error(ErrorCode::internal, "the answer to a join is too large");
  }
  if (!result) co_return plain_error(failed, result.error());
  http::Response response;
  response.body = std::move(*result);
  co_return response;
}

http::Response HttpPeers::respond(Answer answer, const std::string& nonce, std::shared_ptr<io::ByteSource> body) const {
  answer.body = body != nullptr;
  http::Response response;
  response.status = answer.status;
  response.headers = answer_headers(answer, nonce, options_.secret);
  if (body != nullptr) response.body = http::StreamBody{std::move(body), std::nullopt};
  return response;
}

io::Task<http::Response> HttpPeers::answer(http::Request* request) {
  auto call = read_call(*request);
  if (!call) co_return plain_error(failed, call.error());
  const bool certified = !options_.tls || (request->connection.tls && !request->connection.certificate_name.empty());
  if (!certified || !is_genuine(*call, request->headers, options_.secret)) {
    const Error error = make_error(ErrorCode::unauthenticated, "this is no request of a member of this cluster");
    co_return respond({.status = stranger, .text = error_text(error), .body = false}, call->nonce);
  }
  if (call->to != options_.self.value()) {
    const Error error = make_error(ErrorCode::unavailable, "the member " + call->to + " is not here, this is " +
                                                               options_.self.value() + "; its address is out of date");
    co_return respond({.status = failed, .text = error_text(error), .body = false}, call->nonce);
  }
  const auto verdict = guard_.admit(call->boot, call->nonce);
  if (verdict == ReplayGuard::Verdict::other_boot) {
    co_return respond({.status = challenge, .text = guard_.boot(), .body = false}, call->nonce);
  }
  if (verdict == ReplayGuard::Verdict::repeated) {
    const Error error = make_error(ErrorCode::denied, "this request was received before");
    co_return respond({.status = repeated, .text = error_text(error), .body = false}, call->nonce);
  }
  co_return co_await run(std::move(*call), request);
}

io::Task<http::Response> HttpPeers::run(Call call, http::Request* request) {
  std::shared_ptr<const Handler> handler;
  {
    const std::scoped_lock lock(lock_);
    handler = handler_;
  }
  Result<io::PeerResponse> result = make_error(ErrorCode::unavailable, "the member does not serve yet");
  if (handler != nullptr) {
    const auto body = call.body ? std::make_shared<LentBody>(request->body) : nullptr;
    auto work = (*handler)(io::NodeId(call.from), {call.verb, call.arguments, body});
    result = co_await std::move(work);
    if (body != nullptr) body->end();
  }
  if (result && result->result.size() > max_field_bytes / 3) {  // encoding makes at most three bytes of one
    result = make_error(ErrorCode::internal, "the result of " + call.verb + " is too large for an answer's head");
  }
  if (!result) co_return respond({.status = failed, .text = error_text(result.error()), .body = false}, call.nonce);
  co_return respond({.status = answered, .text = std::move(result->result), .body = false}, call.nonce,
                    std::move(result->body));
}

}  // namespace hansa::peer
