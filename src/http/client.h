// Client: HTTP/1.1 requests to other servers over TCP or TLS, on the event loop of whoever awaits them. Connections are
// kept per loop and target and used again; bodies stream in both directions without passing through a parser.
//
//   HANSA_CO_TRY(auto answer, co_await client.send("10.0.0.7:5001", std::move(request)));
//
// What an error says about the request:
//   unavailable   nothing of it was sent: the name is unknown, no connection, no TLS
//   ambiguous     all or a part of it was sent and there was no (intelligible) answer within the time limits
//   cancelled     the task was cancelled; the request may have been served
//   anything else the request's body source failed with this; the request was cut
// A request that is `idempotent` is sent once more on a fresh connection, if a kept one turns out to be closed before a
// byte of the answer came and before the body was begun.
//
// An answer that begins before the request's body was sent whole ends the sending; such a connection is not kept.
// Thread rule: send() on the loops given; an answer's body is read on the loop that got it, and dropped anywhere.
#pragma once

#include "http/message.h"
#include "http/tls.h"
#include "io/traffic.h"

namespace hansa::http {

// Times are idle times, as the server's.
struct ClientLimits {
  std::size_t header_bytes = 64 * 1024;  // of an answer
  std::size_t header_fields = 128;
  std::size_t kept_per_target = 8;                           // idle connections, per loop
  std::size_t kept = 64;                                     // idle connections, per loop over all targets
  io::Duration connect_timeout = std::chrono::seconds(5);    // per address, with the TLS handshake
  io::Duration answer_timeout = std::chrono::seconds(60);    // from the request's last byte to the answer's head
  io::Duration transfer_timeout = std::chrono::seconds(60);  // without a byte of a body moving
  io::Duration idle_timeout = std::chrono::seconds(60);      // of a kept connection
};

struct ClientOptions {
  std::optional<ClientTls> tls;  // absent: plain TCP
  ClientLimits limits;
  io::Traffic* traffic = nullptr;  // counts the bodies' bytes; outlives the client. Null: nobody counts
};

struct ClientRequest {
  Method method = Method::get;
  std::string target = "/";
  Headers headers;  // without Host, Content-Length, Transfer-Encoding, Connection, Expect
  std::shared_ptr<io::ByteSource> body;
  std::optional<std::uint64_t> length;  // of the body; absent: sent chunked
  // The body is sent only after the server asked for it ("100 Continue"), so that a refusal costs no transfer.
  bool expect_continue = false;
  bool idempotent = false;
  // TLS: the name or IP that the server's certificate must be for; empty: the host of the address.
  std::string identity;
  // TLS to a server of which only its authority's fingerprint is known (see TlsContext::pinned_client); the connection
  // is not kept. Empty: as the options say.
  std::string pinned_ca;
};

struct ClientResponse {
  int status = 0;
  Headers headers;
  std::optional<std::uint64_t> content_length;
  // Never null. Errors: disconnected, timeout, cancelled, invalid (framing). Read to its end the connection is kept.
  std::shared_ptr<io::ByteSource> body;
};

class ClientLoop;

class Client {
 public:
  // `loops` outlives it. Reads the TLS files; blocks.
  static Result<std::unique_ptr<Client>> make(io::asio::EventLoops& loops, ClientOptions options);
  // Closes the kept connections; no send() is under way. Not on one of the loops, which still run or have all ended.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // `address`: "host:port", an IPv6 address in brackets.
  io::Task<Result<ClientResponse>> send(std::string address, ClientRequest request);

  // Reads the TLS files again for connections to come, and keeps none of the present ones; on an error all stays.
  // Any thread; blocks.
  Result<void> reload_tls();

  struct Counters {
    std::uint64_t connected = 0;  // connections made
    std::uint64_t reused = 0;     // requests that went over a kept one
  };
  Counters counters() const;

 private:
  struct State;
  Client(io::asio::EventLoops& loops, ClientOptions options);
  std::shared_ptr<State> state_;
};

}  // namespace hansa::http
