// For tests: two members that talk over loopback HTTP, plain or with TLS. Not part of the room's library.
#pragma once

#include <gtest/gtest.h>

#include "http/test_identity.h"
#include "io/asio/event_loops.h"
#include "io/wait.h"
#include "peer/body_text.h"
#include "peer/http_peers.h"

namespace hansa::peer {

struct Called {
  ErrorCode code = ErrorCode::internal;  // with message
  Subject subject = Subject::none;
  std::string message;
  std::string result;
  bool has_body = false;
  std::string body;
};

inline io::Task<void> call_peer(io::PeerNetwork* peers, std::string to, io::PeerRequest request, io::Duration limit,
                                Called* called) {
  auto answer = co_await io::with_deadline(limit, peers->call(io::NodeId(to), std::move(request)));
  if (!answer) {
    *called = {answer.error().code, answer.error().subject, answer.error().message, {}, false, {}};
    co_return;
  }
  called->result = answer->result;
  called->has_body = answer->body != nullptr;
  if (!answer->body) co_return;
  auto text = co_await read_text(*answer->body, 8 * MiB);
  if (text) called->body = *text;
  if (!text) called->message = describe(text.error());
}

inline io::Task<Result<io::PeerResponse>> answer_verbs(io::NodeId from, io::PeerRequest request) {
  if (request.verb == "slow") HANSA_CO_CHECK(co_await io::sleep_for(std::chrono::seconds(1)));
  if (request.verb == "fail") co_return make_error(ErrorCode::precondition, Subject::upload, "not \"now\"\n");
  if (request.verb == "reverse") {
    HANSA_CO_TRY(std::string text, co_await read_text(*request.body, 8 * MiB));
    co_return io::PeerResponse{"{}", std::make_shared<TextSource>(std::string(text.rbegin(), text.rend()))};
  }
  if (request.verb != "echo") co_return make_error(ErrorCode::unsupported, "unknown verb " + request.verb);
  co_return io::PeerResponse{from.value() + " " + request.arguments, nullptr};
}

// Members "one" and "two"; "two" is asked.
class HttpBed {
 public:
  explicit HttpBed(std::optional<PeerTls> tls = std::nullopt, std::size_t remembered = 65'536) : tls_(std::move(tls)) {
    two_ = member("two", "secret", remembered);
    http::ServerOptions options;
    options.tls = two_->server_tls();
    auto server = http::listen(loops_, options,
                               two_->handler([](std::string request, std::string) -> io::Task<Result<std::string>> {
                                 if (request == "bad") co_return make_error(ErrorCode::denied, "the token has expired");
                                 co_return "welcome " + request;
                               }),
                               log_);
    HANSA_ASSERT(server.has_value(), "a loopback port can be had");
    server_ = std::move(*server);
    address_ = "127.0.0.1:" + std::to_string(server_->port());
    one_ = member("one", "secret", remembered);
  }
  ~HttpBed() {
    one_.reset();
    server_.reset();
    two_.reset();
    loops_.stop();
  }
  std::unique_ptr<HttpPeers> member(const std::string& name, const std::string& secret, std::size_t remembered = 100) {
    auto made = HttpPeers::make(loops_, *random_,
                                {.self = io::NodeId(name),
                                 .secret = secret,
                                 .tls = tls_,
                                 .identity_suffix = "",
                                 .limits = {},
                                 .remembered_calls = remembered},
                                [this](io::NodeId to) -> std::optional<std::string> {
                                  if (to.value() == "three") return std::nullopt;
                                  return address_;
                                });
    HANSA_ASSERT(made.has_value(), "the files of a test are good");
    return std::move(*made);
  }
  HttpPeers& one() { return *one_; }
  HttpPeers& two() { return *two_; }
  io::asio::EventLoops& loops() { return loops_; }
  const std::string& address() const { return address_; }
  std::uint16_t port() const { return server_->port(); }
  void run(io::Task<void> task) { io::asio::run_and_wait(loops_.executor(0), std::move(task)); }

 private:
  std::optional<PeerTls> tls_;
  io::asio::EventLoops loops_{2};
  std::unique_ptr<io::Random> random_ = io::asio::real_random();
  NullLogger log_;
  std::unique_ptr<HttpPeers> two_;
  std::unique_ptr<http::Server> server_;
  std::string address_;
  std::unique_ptr<HttpPeers> one_;
};

struct TlsFilesOfTwo {
  http::test::TlsFolder folder;  // its certificate is its own authority
  http::test::Identity identity_of_two{"two"};
  TlsFilesOfTwo() { identity_of_two.write(folder.files.certificate, folder.files.key); }
};

class TlsBed : private TlsFilesOfTwo, public HttpBed {
 public:
  TlsBed() : HttpBed(PeerTls{folder.files.certificate, folder.files.certificate, folder.files.key}) {}
  std::string fingerprint() const { return identity_of_two.fingerprint(); }
  std::string ca() const { return folder.files.certificate; }
};

}  // namespace hansa::peer
