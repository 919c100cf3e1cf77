// Traffic: what servers and clients count of the bytes that they move.
#include "io/traffic.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "http/client.h"
#include "http/test_client.h"
#include "http/test_identity.h"

namespace hansa::http::test {
namespace {

constexpr std::size_t text_bytes = 1'000;
constexpr std::size_t file_bytes = 1'500'000;
constexpr std::size_t stream_bytes = 300'000;

FileBody file_of(std::size_t bytes) {
  char path[] = "/tmp/hansa_http_XXXXXX";
  const int file = ::mkstemp(path);
  ::unlink(path);
  EXPECT_EQ(::ftruncate(file, static_cast<off_t>(bytes)), 0);
  std::shared_ptr<void> keep(nullptr, [file](void*) { ::close(file); });
  return {.descriptor = file, .offset = 0, .length = bytes, .keep = std::move(keep), .prepare = nullptr};
}

class Zeros final : public io::ByteSource {
 public:
  explicit Zeros(std::size_t bytes) : left_(bytes) {}
  io::Task<Result<std::size_t>> read(Bytes out) override {
    const std::size_t bytes = std::min(out.size(), left_);
    std::ranges::fill(out.first(bytes), std::byte{0});
    left_ -= bytes;
    co_return bytes;
  }

 private:
  std::size_t left_;
};

// Every kind of body; a request's own is read to its end first.
io::Task<Response> serve(Request& request) {
  std::vector<std::byte> buffer(50'000);
  for (;;) {
    const auto bytes = co_await request.body->read(buffer);
    if (!bytes || *bytes == 0) break;
  }
  Response response;
  if (request.target == "/text") response.body = std::string(text_bytes, 'x');
  if (request.target == "/file") response.body = file_of(file_bytes);
  if (request.target == "/stream") response.body = StreamBody{std::make_shared<Zeros>(stream_bytes), stream_bytes};
  if (request.target == "/chunked") response.body = StreamBody{std::make_shared<Zeros>(stream_bytes), std::nullopt};
  if (request.target == "/parts") {
    std::vector<std::variant<std::string, FileBody>> parts;
    parts.emplace_back(std::string(text_bytes, 'x'));
    parts.emplace_back(file_of(file_bytes));
    response.body = std::move(parts);
  }
  co_return response;
}

io::Task<void> ask(http::Client* client, std::string address, ClientRequest request) {
  auto answer = co_await client->send(std::move(address), std::move(request));
  if (!answer) {
    ADD_FAILURE() << describe(answer.error());
    co_return;
  }
  std::vector<std::byte> buffer(50'000);
  for (;;) {
    const auto bytes = co_await answer->body->read(buffer);
    EXPECT_TRUE(bytes) << describe(bytes.error());
    if (!bytes || *bytes == 0) co_return;
  }
}

struct Moved {
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  bool operator==(const Moved&) const = default;
};
Moved moved(const io::Traffic& traffic) {
  return {.sent = traffic.sent(), .received = traffic.received()};
}

class TrafficTest : public testing::TestWithParam<bool> {
 protected:
  // One request; checks that the client counted the same the other way round. What the server counted.
  Moved exchange(Method method, const std::string& target, std::size_t body = 0, bool chunked = false) {
    io::Traffic of_server;
    io::Traffic of_client;
    {
      Running running(serve, {}, GetParam() ? std::optional(setup.files) : std::nullopt, &of_server);
      io::asio::EventLoops loops{1};
      ClientOptions options;
      options.traffic = &of_client;
      if (GetParam()) options.tls = ClientTls{.ca = setup.folder / "cert.pem", .certificate = {}, .key = {}};
      auto client = http::Client::make(loops, std::move(options));
      EXPECT_TRUE(client) << describe(client.error());
      ClientRequest request;
      request.method = method;
      request.target = target;
      request.identity = "first.example";
      if (body > 0) request.body = std::make_shared<Zeros>(body);
      if (body > 0 && !chunked) request.length = body;
      const std::string address = "127.0.0.1:" + std::to_string(running.port());
      io::asio::run_and_wait(loops.executor(0), ask(client->get(), address, std::move(request)));
    }  // the server has ended its connections, so it has counted everything
    EXPECT_EQ(moved(of_client), (Moved{.sent = of_server.received(), .received = of_server.sent()})) << target;
    return moved(of_server);
  }

  const TlsFolder setup;
};

TEST_P(TrafficTest, BodiesAreCountedOnBothSidesWithoutHeadsAndFraming) {
  EXPECT_EQ(exchange(Method::get, "/text"), (Moved{.sent = text_bytes, .received = 0}));
  EXPECT_EQ(exchange(Method::get, "/file"), (Moved{.sent = file_bytes, .received = 0}));
  EXPECT_EQ(exchange(Method::get, "/stream"), (Moved{.sent = stream_bytes, .received = 0}));
  EXPECT_EQ(exchange(Method::get, "/chunked"), (Moved{.sent = stream_bytes, .received = 0}));
  EXPECT_EQ(exchange(Method::get, "/parts"), (Moved{.sent = text_bytes + file_bytes, .received = 0}));
  EXPECT_EQ(exchange(Method::put, "/none", 700'000), (Moved{.sent = 0, .received = 700'000}));
  EXPECT_EQ(exchange(Method::put, "/text", 700'000, true), (Moved{.sent = text_bytes, .received = 700'000}));
}

INSTANTIATE_TEST_SUITE_P(PlainAndTls, TrafficTest, testing::Bool(),
                         [](const auto& p) { return p.param ? "tls" : "plain"; });

}  // namespace
}  // namespace hansa::http::test
