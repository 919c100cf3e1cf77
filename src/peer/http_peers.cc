// The caller's side; serve.cc holds the other.
#include "peer/http_peers.h"

#include "peer/body_text.h"

namespace hansa::peer {
namespace {

constexpr int most_attempts = 2;  // the second after a challenge

Error not_genuine(const io::NodeId& to, int status) {
  if (status == stranger) {
    return make_error(ErrorCode::unauthenticated,
                      "the member " + to.value() +
                          " has another cluster secret than this one; one of them belongs to "
                          "another cluster");
  }
  return make_error(ErrorCode::ambiguous, "what answered at the address of the member " + to.value() +
                                              " does not prove that it knows the cluster's secret");
}

}  // namespace

HttpPeers::HttpPeers(io::Random& random, PeerOptions options, Resolver resolver)
    : random_(random),
      options_(std::move(options)),
      resolver_(std::move(resolver)),
      guard_(random, options_.remembered_calls) {}

Result<std::unique_ptr<HttpPeers>> HttpPeers::make(io::asio::EventLoops& loops, io::Random& random, PeerOptions options,
                                                   Resolver resolver) {
  if (options.secret.empty()) {
    return make_error(ErrorCode::invalid, Subject::config, "members cannot talk without the cluster's secret");
  }
  std::unique_ptr<HttpPeers> peers(new HttpPeers(random, std::move(options), std::move(resolver)));
  http::ClientOptions client{.tls = std::nullopt, .limits = peers->options_.limits, .traffic = peers->options_.traffic};
  if (const auto& tls = peers->options_.tls) client.tls = http::ClientTls{tls->ca, tls->certificate, tls->key};
  HANSA_TRY(peers->client_, http::Client::make(loops, std::move(client)));
  return peers;
}

io::Task<Result<http::ClientResponse>> HttpPeers::ask(const Call& call, const std::string& address,
                                                      const io::PeerRequest& request) {
  HANSA_CO_TRY(http::Headers headers, call_headers(call, options_.secret));
  http::ClientRequest message;
  message.method = http::Method::post;
  message.target = std::string(peer_path) + call.verb;
  message.headers = std::move(headers);
  message.body = request.body;
  message.expect_continue = true;  // the body leaves once the call is admitted, so a challenge costs none of it
  message.idempotent = true;       // the target's memory sees to it that it is served once
  if (options_.tls && !options_.identity_is_host) message.identity = call.to + options_.identity_suffix;
  co_return co_await client_->send(address, std::move(message));
}

io::Task<Result<io::PeerResponse>> HttpPeers::call(io::NodeId to, io::PeerRequest request) {
  const auto address = resolver_(to);
  if (!address) co_return make_error(ErrorCode::unavailable, "no address is known of the member " + to.value());
  for (int attempt = 0; attempt < most_attempts; ++attempt) {
    Call call{.verb = request.verb,
              .arguments = request.arguments,
              .from = options_.self.value(),
              .to = to.value(),
              .boot = {},
              .nonce = random_.hex(nonce_bytes),
              .body = request.body != nullptr};
    {
      const std::scoped_lock lock(lock_);
      call.boot = boots_[to];
    }
    HANSA_CO_TRY(auto response, co_await ask(call, *address, request));
    auto answer = read_answer(response.status, response.headers);
    if (!answer || !is_genuine(*answer, response.headers, call.nonce, options_.secret)) {
      co_return not_genuine(to, response.status);
    }
    if (answer->status == answered) {
      co_return io::PeerResponse{std::move(answer->text), answer->body ? std::move(response.body) : nullptr};
    }
    if (answer->status == repeated) {
      co_return make_error(ErrorCode::ambiguous,
                           "the member " + to.value() + " got the request, but its answer is lost");
    }
    if (answer->status != challenge) co_return read_error(answer->text);
    const std::scoped_lock lock(lock_);
    boots_[to] = std::move(answer->text);
  }
  co_return make_error(ErrorCode::unavailable,
                       "the member " + to.value() + " keeps changing its boot nonce; try again");
}

io::Task<Result<std::string>> read_text(io::ByteSource& source, std::size_t limit) {
  std::string text(limit + 1, '\0');
  std::size_t got = 0;
  for (;;) {
    const Bytes room(reinterpret_cast<std::byte*>(text.data()) + got, text.size() - got);
    HANSA_CO_TRY(const std::size_t bytes, co_await source.read(room));
    if (bytes == 0) break;
    got += bytes;
    if (got > limit) {
      co_return make_error(ErrorCode::too_large, "more than " + std::to_string(limit) + " bytes in a join message");
    }
  }
  text.resize(got);
  co_return text;
}

io::Task<Result<std::string>> call_join(http::Client& client, std::string address, std::string ca_sha256,
                                        std::string request) {
  if (request.size() > max_join_bytes) co_return make_error(ErrorCode::too_large, "the join request is too large");
  http::ClientRequest message;
  message.method = http::Method::post;
  message.target = join_path;
  message.length = request.size();
  message.body = std::make_shared<TextSource>(std::move(request));
  message.pinned_ca = std::move(ca_sha256);
  HANSA_CO_TRY(auto response, co_await client.send(std::move(address), std::move(message)));
  if (response.status != answered) {
    HANSA_CO_TRY(const Answer answer, read_answer(response.status, response.headers));
    co_return read_error(answer.text);
  }
  co_return co_await read_text(*response.body, max_join_bytes);
}

}  // namespace hansa::peer
