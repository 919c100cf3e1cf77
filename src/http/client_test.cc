#include "http/client.h"

#include <gtest/gtest.h>

#include "http/test_client.h"
#include "http/test_identity.h"
#include "io/wait.h"

namespace hansa::http::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t many = 64 * MiB;

std::byte byte_at(std::uint64_t at) {
  return static_cast<std::byte>((at * 2654435761U) >> 24U);
}

class Pattern final : public io::ByteSource {
 public:
  explicit Pattern(std::uint64_t size, bool fails = false) : size_(size), fails_(fails) {}
  io::Task<Result<std::size_t>> read(Bytes out) override {
    if (fails_ && at_ > size_ / 2) co_return make_error(ErrorCode::corrupt, "the source is rotten");
    const std::size_t bytes = std::min<std::uint64_t>(out.size(), size_ - at_);
    for (std::size_t i = 0; i < bytes; ++i) out[i] = byte_at(at_ + i);
    at_ += bytes;
    co_return bytes;
  }

 private:
  std::uint64_t size_;
  bool fails_;
  std::uint64_t at_ = 0;
};

// The number of bytes if all are the pattern's.
io::Task<Result<std::uint64_t>> check_pattern(io::ByteSource* source) {
  std::vector<std::byte> buffer(100'000);
  std::uint64_t at = 0;
  for (;;) {
    HANSA_CO_TRY(const std::size_t bytes, co_await source->read(buffer));
    if (bytes == 0) co_return at;
    for (std::size_t i = 0; i < bytes; ++i) {
      if (buffer[i] != byte_at(at + i)) co_return make_error(ErrorCode::corrupt, "another byte");
    }
    at += bytes;
  }
}

// GET /<size>: the pattern, chunked with "?chunked"; PUT: says how much of it came; /never: no answer.
io::Task<Response> serve(Request& request) {
  Response response;
  if (request.target == "/never") {
    const auto slept = co_await io::sleep_for(1h);
    response.status = slept ? 200 : 503;
    co_return response;
  }
  if (request.target == "/refuse") {
    response.status = 403;
    co_return response;
  }
  if (request.method == Method::put) {
    const auto bytes = co_await check_pattern(request.body);
    response.body = bytes ? std::to_string(*bytes) : describe(bytes.error());
    co_return response;
  }
  const std::uint64_t size = std::stoull(request.segments.front());
  StreamBody body{std::make_shared<Pattern>(size), size};
  if (request.query.has("chunked")) body.length.reset();
  if (request.query.has("short")) body.length = size + 1;
  response.body = std::move(body);
  co_return response;
}

struct Outcome {
  ErrorCode error = ErrorCode::internal;  // with status 0
  int status = 0;
  std::string text;         // of PUT
  std::uint64_t bytes = 0;  // of GET
};

io::Task<void> exchange(http::Client* client, std::string address, ClientRequest request, io::Duration limit,
                        Outcome* out) {
  const bool get = request.method == Method::get;
  auto answer = co_await io::with_deadline(limit, client->send(std::move(address), std::move(request)));
  if (!answer) {
    out->error = answer.error().code;
    out->text = answer.error().message;
    co_return;
  }
  out->status = answer->status;
  if (get) {
    const auto bytes = co_await check_pattern(answer->body.get());
    if (bytes) out->bytes = *bytes;
    if (!bytes) out->error = bytes.error().code;
    co_return;
  }
  std::vector<std::byte> buffer(4096);
  for (;;) {
    const auto bytes = co_await answer->body->read(buffer);
    if (!bytes || *bytes == 0) co_return;
    out->text += as_text(ConstBytes(buffer).first(*bytes));
  }
}

class ClientTest : public testing::Test {
 protected:
  explicit ClientTest(Limits limits = {}) : running(serve, limits) { client = make({}); }
  std::unique_ptr<http::Client> make(ClientOptions options) {
    auto made = http::Client::make(loops, std::move(options));
    EXPECT_TRUE(made) << describe(made.error());
    return std::move(*made);
  }
  ~ClientTest() override { client.reset(); }
  Outcome run(ClientRequest request, io::Duration limit = 30s, std::string address = {}) {
    Outcome outcome;
    if (address.empty()) address = "127.0.0.1:" + std::to_string(running.port());
    io::asio::run_and_wait(loops.executor(0), exchange(client.get(), address, std::move(request), limit, &outcome));
    return outcome;
  }
  static ClientRequest get(std::string target) {
    ClientRequest request;
    request.target = std::move(target);
    request.idempotent = true;
    return request;
  }
  static ClientRequest put(std::uint64_t size, bool chunked = false, bool expect = false) {
    ClientRequest request;
    request.method = Method::put;
    request.target = "/put";
    request.body = std::make_shared<Pattern>(size);
    if (!chunked) request.length = size;
    request.expect_continue = expect;
    return request;
  }

  io::asio::EventLoops loops{1};
  Running running;
  std::unique_ptr<http::Client> client;
};

TEST_F(ClientTest, BodiesOfAllSizesArriveWholeInBothDirections) {
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{70'000}, std::uint64_t{many}}) {
    EXPECT_EQ(run(get("/" + std::to_string(size))).bytes, size);
    EXPECT_EQ(run(get("/" + std::to_string(size) + "?chunked")).bytes, size);
    EXPECT_EQ(run(put(size)).text, std::to_string(size));
    EXPECT_EQ(run(put(size, true)).text, std::to_string(size));
    EXPECT_EQ(run(put(size, true, true)).text, std::to_string(size));
  }
  EXPECT_EQ(client->counters().connected, 1U) << "one connection serves them all";
}

TEST_F(ClientTest, AnAnswerThatEndsTooEarlyIsAnError) {
  const Outcome outcome = run(get("/100000?short"));
  EXPECT_EQ(outcome.status, 200);
  EXPECT_EQ(outcome.error, ErrorCode::disconnected);
}

TEST_F(ClientTest, ARefusalIsHeardBeforeTheBodyIsSent) {
  ClientRequest request = put(many, true, true);
  request.target = "/refuse";
  EXPECT_EQ(run(std::move(request)).status, 403);
}

TEST_F(ClientTest, AFailingSourceIsTheCallersError) {
  ClientRequest request = put(0, true);
  request.body = std::make_shared<Pattern>(many, true);
  EXPECT_EQ(run(std::move(request)).error, ErrorCode::corrupt);
}

TEST_F(ClientTest, NobodyThereIsUnavailableAndSilenceIsAmbiguous) {
  EXPECT_EQ(run(get("/1"), 30s, "127.0.0.1:1").error, ErrorCode::unavailable);
  EXPECT_EQ(run(get("/1"), 30s, "no address").error, ErrorCode::unavailable);
  EXPECT_EQ(run(get("/never"), 50ms).error, ErrorCode::timeout) << "the caller's own deadline";
  ClientOptions options;
  options.limits.answer_timeout = 50ms;
  client = make(options);
  EXPECT_EQ(run(get("/never")).error, ErrorCode::ambiguous);
}

TEST_F(ClientTest, LinesCannotBeSmuggledIntoARequest) {
  ClientRequest request = get("/1");
  request.headers.add("A", "b\r\nC: d");
  EXPECT_EQ(run(std::move(request)).error, ErrorCode::invalid);
  EXPECT_EQ(run(get("/1 HTTP/1.1\r\n")).error, ErrorCode::invalid);
}

class ImpatientServer : public ClientTest {
 protected:
  static Limits limits() {
    Limits limits;
    limits.idle_timeout = 20ms;
    return limits;
  }
  ImpatientServer() : ClientTest(limits()) {}
};

TEST_F(ImpatientServer, AConnectionThatItClosedIsReplacedUnseen) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(run(get("/10")).bytes, 10U);
    while (running.server().counters().connections > 0) {
    }
  }
  EXPECT_EQ(client->counters().connected, 3U);
}

TEST(ClientTls, TheServerIsVerified) {
  const TlsFolder setup;
  Identity("other.example").write(setup.folder / "alice.pem", setup.folder / "alice.key");
  Running running(serve, {}, setup.files);
  const std::string address = "127.0.0.1:" + std::to_string(running.port());
  io::asio::EventLoops loops{1};
  const auto ask = [&](const std::string& ca, const std::string& identity) {
    ClientOptions options;
    options.tls = ClientTls{.ca = setup.folder / ca, .certificate = {}, .key = {}};
    auto client = http::Client::make(loops, options);
    EXPECT_TRUE(client);
    ClientRequest request;
    request.target = "/70000";
    request.identity = identity;
    Outcome outcome;
    io::asio::run_and_wait(loops.executor(0), exchange(client->get(), address, std::move(request), 30s, &outcome));
    return outcome;
  };
  const Outcome good = ask("cert.pem", "first.example");
  EXPECT_EQ(good.bytes, 70'000U) << good.text;
  const Outcome bad_authority = ask("alice.pem", "first.example");
  EXPECT_EQ(bad_authority.error, ErrorCode::unavailable);
  EXPECT_NE(bad_authority.text.find("certificate"), std::string::npos) << bad_authority.text;
  const Outcome bad_name = ask("cert.pem", "second.example");
  EXPECT_EQ(bad_name.status, 0);
  EXPECT_NE(bad_name.text.find("second.example"), std::string::npos) << bad_name.text;
  EXPECT_EQ(ask("cert.pem", "").status, 0) << "the address is not in the certificate";
}

TEST(ClientTls, AFingerprintIsEnoughToKnowTheAuthority) {
  const TlsFolder setup;
  Running running(serve, {}, setup.files);
  const std::string address = "127.0.0.1:" + std::to_string(running.port());
  io::asio::EventLoops loops{1};
  auto client = http::Client::make(loops, {});
  ASSERT_TRUE(client);
  for (const bool right : {true, false}) {
    ClientRequest request;
    request.target = "/10";
    request.pinned_ca = right ? setup.identity.fingerprint() : std::string(64, 'a');
    Outcome outcome;
    io::asio::run_and_wait(loops.executor(0), exchange(client->get(), address, std::move(request), 30s, &outcome));
    EXPECT_EQ(outcome.status, right ? 200 : 0) << outcome.text;
  }
}

}  // namespace
}  // namespace hansa::http::test
