// HttpPeers: the PeerNetwork of the real world: authenticated HTTP/1.1 between members (see protocol.h), over TLS of
// the cluster's own authority where there is one.
//
//   auto peers = peer::HttpPeers::make(loops, random, {.self = id, .secret = secret, .tls = files}, resolver);
//   peers->serve(handler);
//   http::listen(loops, {.tls = peers->server_tls(), .limits = ...}, peers->handler(join), log);
//
// Both sides prove that they know the cluster's secret; with TLS each also shows a certificate of the authority, the
// target one for "<node id><identity_suffix>". A call is served at most once: the target remembers the calls of its
// boot. Beside the errors of io/peer_network.h a caller sees unauthenticated (other secret) and whatever the handler
// said. An answer that is not genuine is ambiguous. The request's body is over when the handler returns, and the
// answer's body must not read from it.
//
// Thread rule: call() and call_join() on the loops given; the rest on any thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "http/client.h"
#include "http/server.h"
#include "io/peer_network.h"
#include "io/random.h"
#include "peer/protocol.h"
#include "peer/replay_guard.h"

namespace hansa::peer {

inline constexpr std::size_t max_join_bytes = 64 * 1024;  // a join's request and its answer

struct PeerTls {
  std::string ca;  // PEM files, see pki/cluster_folder.h
  std::string certificate;
  std::string key;
};

struct PeerOptions {
  io::NodeId self;
  std::string secret;          // the cluster's
  std::optional<PeerTls> tls;  // absent: plain, the MACs alone
  std::string identity_suffix = ".node.hansa";
  bool identity_is_host = false;  // the certificates are for the hosts of the addresses instead
  http::ClientLimits limits;
  io::Traffic* traffic = nullptr;         // of the calls' bodies; outlives it. Null: nobody counts
  std::size_t remembered_calls = 65'536;  // of one epoch
};

// "host:port" of a member; asked for each call.
using Resolver = std::function<std::optional<std::string>(io::NodeId)>;
// Answers a machine that joins: it has no secret yet, so the request proves itself.
using JoinHandler = std::function<io::Task<Result<std::string>>(std::string request, std::string client_address)>;

class HttpPeers final : public io::PeerNetwork {
 public:
  // `loops` and `random` outlive it. Reads the TLS files; blocks.
  static Result<std::unique_ptr<HttpPeers>> make(io::asio::EventLoops& loops, io::Random& random, PeerOptions options,
                                                 Resolver resolver);

  io::Task<Result<io::PeerResponse>> call(io::NodeId to, io::PeerRequest request) override;
  void serve(Handler handler) override;

  // For a listener of its own. `join` null: joins are refused. Outlives the server that it is given to.
  http::Handler handler(JoinHandler join);
  std::optional<http::TlsFiles> server_tls() const;
  // The client's part; the listener has its own.
  Result<void> reload_tls() { return client_->reload_tls(); }

 private:
  HttpPeers(io::Random& random, PeerOptions options, Resolver resolver);
  static io::Task<http::Response> route(HttpPeers* self, JoinHandler join, http::Request* request);
  io::Task<http::Response> answer(http::Request* request);
  io::Task<http::Response> run(Call call, http::Request* request);
  http::Response respond(Answer answer, const std::string& nonce, std::shared_ptr<io::ByteSource> body = nullptr) const;
  io::Task<Result<http::ClientResponse>> ask(const Call& call, const std::string& address,
                                             const io::PeerRequest& request);

  io::Random& random_;
  const PeerOptions options_;
  const Resolver resolver_;
  std::unique_ptr<http::Client> client_;
  ReplayGuard guard_;
  std::mutex lock_;
  std::map<io::NodeId, std::string> boots_;  // under lock_; as last told
  std::shared_ptr<const Handler> handler_;   // under lock_
};

// Sends a join request. `ca_sha256`: the cluster's authority (see TlsContext::pinned_client); empty: `client` decides.
io::Task<Result<std::string>> call_join(http::Client& client, std::string address, std::string ca_sha256,
                                        std::string request);

}  // namespace hansa::peer
