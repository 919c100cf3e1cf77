#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "http/test_client.h"
#include "io/wait.h"

namespace hansa::http::test {
namespace {

const std::string put = "PUT /p HTTP/1.1\r\nHost: x\r\n";

// Bytes that differ everywhere, from a fixed seed.
std::string noise(std::size_t size) {
  std::string text(size, '\0');
  std::uint64_t state = 42;
  for (char& c : text) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    c = static_cast<char>(state >> 56);
  }
  return text;
}

struct TemporaryFile {
  explicit TemporaryFile(std::string_view content) {
    char path[] = "/tmp/hansa_http_XXXXXX";
    fd = ::mkstemp(path);
    ::unlink(path);
    EXPECT_EQ(::pwrite(fd, content.data(), content.size(), 0), static_cast<ssize_t>(content.size()));
  }
  ~TemporaryFile() { ::close(fd); }
  int fd;
};

TEST(IncomingBody, OfAKnownLengthArrivesWhole) {
  Running running(echo);
  Client client(running.port());
  EXPECT_EQ(client.ask(put + "Content-Length: 5\r\n\r\nhello").body, "PUT /p 5:hello");
  const std::string large = noise(3'000'000);
  client.send(put + "Content-Length: 3000000\r\n\r\n");
  std::thread sender([&] { client.send(large); });
  const Answer answer = client.answer();
  sender.join();
  EXPECT_TRUE(answer.body == "PUT /p 3000000:" + large);
}

TEST(IncomingBody, ChunkedArrivesWholeHoweverItIsCut) {
  Running running(echo);
  Client client(running.port());
  std::string body;
  std::string text;
  for (const std::size_t size : {1U, 70'000U, 3U, 9'000U, 300'000U}) {
    const std::string chunk = noise(size);
    body += chunk;
    std::array<char, 16> line{};
    std::snprintf(line.data(), line.size(), "%zx\r\n", size);
    text += line.data() + chunk + "\r\n";
  }
  client.send(put + "Transfer-Encoding: chunked\r\n\r\n");
  text += "0\r\nT: x\r\n\r\n";
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view piece = rest.substr(0, 7'777);
    client.send(piece);
    rest.remove_prefix(piece.size());
  }
  EXPECT_TRUE(client.answer().body == "PUT /p " + std::to_string(body.size()) + ":" + body);
  EXPECT_EQ(client.get("/next").body, "GET /next 0:");
}

TEST(IncomingBody, ABrokenChunkIsInvalidAndEndsTheConnection) {
  Running running(echo);
  Client client(running.port());
  const Answer answer =
      client.ask(put + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloGET /evil HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.field("Connection"), "close");
  EXPECT_TRUE(client.closed());
}

TEST(IncomingBody, WhatFollowsAChunkSizeIsAnExtensionOrAnError) {
  for (const char* good : {"5", "005", "5;a=b", "5 ;a", "5\t;a=\"b c\""}) {
    Running running(echo);
    Client client(running.port());
    const Answer answer = client.ask(put + "Transfer-Encoding: chunked\r\n\r\n" + good + "\r\nhello\r\n0\r\n\r\n");
    EXPECT_EQ(answer.body, "PUT /p 5:hello") << good;
  }
  for (const char* bad : {"5 ", "5\t", "5 x", "5 0", "5x", "5 \n"}) {
    Running running(echo);
    Client client(running.port());
    const Answer answer = client.ask(put + "Transfer-Encoding: chunked\r\n\r\n" + bad + "\r\nhello\r\n0\r\n\r\n");
    EXPECT_EQ(answer.status, 400) << bad;
    EXPECT_TRUE(client.closed()) << bad;
  }
}

TEST(IncomingBody, OneThatEndsTooEarlyIsAnError) {
  for (const char* framing : {"Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\na\r\nhello"}) {
    Running running(echo);
    Client client(running.port());
    client.send(put + framing);
    client.finish_sending();
    const Answer answer = client.answer();
    EXPECT_EQ(answer.status, 408);
    EXPECT_NE(answer.body.find("disconnected"), std::string::npos) << answer.body;
  }
}

TEST(IncomingBody, ContinueIsSentAtTheFirstReadOnly) {
  Running running(echo);
  Client client(running.port());
  client.send(put + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(client.answer().status, 100);
  EXPECT_EQ(client.ask("hello").body, "PUT /p 5:hello");
  // Whoever sends the body at once needs no invitation.
  EXPECT_EQ(client.ask(put + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello").body, "PUT /p 5:hello");
}

io::Task<Response> unread(Request&) {
  Response response;
  response.status = 401;
  response.body = "no";
  co_return response;
}

TEST(IncomingBody, NobodyIsInvitedToSendWhatTheHandlerDoesNotRead) {
  Running running(unread);
  Client client(running.port());
  const Answer answer = client.ask(put + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(answer.field("Connection"), "close");  // the body may follow or not: nobody can tell
  EXPECT_TRUE(client.closed());
}

TEST(IncomingBody, ASmallUnreadOneIsDrained) {
  Running running(unread);
  Client client(running.port());
  EXPECT_EQ(client.ask(put + "Content-Length: 5\r\n\r\nhello").status, 401);
  client.send(put + "Content-Length: 500000\r\n\r\n" + noise(500'000));
  EXPECT_EQ(client.answer().field("Connection"), "");
  client.send(put + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
  EXPECT_EQ(client.answer().status, 401);
  EXPECT_EQ(client.get("/").status, 401);
}

TEST(IncomingBody, ALargeUnreadOneEndsTheConnectionAndTheAnswerStillArrives) {
  Running running(unread);
  Client client(running.port());
  client.send(put + "Content-Length: 20000000\r\n\r\n");
  const std::string body = noise(1'000'000);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(client.send(body)) << "the answer would be lost";
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(answer.field("Connection"), "close");
  EXPECT_TRUE(client.closed());
}

Response file_response(int fd, std::uint64_t offset, std::uint64_t length) {
  Response response;
  FileBody body;
  body.descriptor = fd;
  body.offset = offset;
  body.length = length;
  response.body = std::move(body);
  return response;
}

TEST(ResponseBody, AFileOf50MiBArrivesIntact) {
  const std::string content = noise(50 * MiB);
  const TemporaryFile file(content);
  Running running([&](Request&) -> io::Task<Response> { co_return file_response(file.fd, 0, content.size()); });
  Client client(running.port());
  EXPECT_TRUE(client.get("/").body == content);
  EXPECT_EQ(client.get("/").status, 200);
}

TEST(ResponseBody, PreparesEachPieceBeforeItLeaves) {
  const std::string content = noise(2'000'000);
  const TemporaryFile file(content);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> pieces;
  Running running([&](Request&) -> io::Task<Response> {
    Response response = file_response(file.fd, 100'000, 1'500'000);
    std::get<FileBody>(response.body).prepare = [&](std::uint64_t at, std::uint64_t size) -> io::Task<Result<void>> {
      pieces.emplace_back(at, size);
      co_return Result<void>{};
    };
    co_return response;
  });
  Client client(running.port());
  EXPECT_TRUE(client.get("/").body == content.substr(100'000, 1'500'000));
  running.server().stop();  // "pieces" belongs to the loop until here
  EXPECT_EQ(pieces, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{
                        {100'000, 424'288}, {524'288, 524'288}, {1'048'576, 524'288}, {1'572'864, 27'136}}));
}

TEST(ResponseBody, TheFirstPieceMayBeSmallWhereItIsWaitedFor) {
  const std::string content = noise(2'000'000);
  const TemporaryFile file(content);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> pieces;
  Running running([&](Request&) -> io::Task<Response> {
    Response response = file_response(file.fd, 1000, 600'000);
    auto& body = std::get<FileBody>(response.body);
    body.first_piece = 64 * KiB;
    body.prepare = [&](std::uint64_t at, std::uint64_t size) -> io::Task<Result<void>> {
      pieces.emplace_back(at, size);
      co_return Result<void>{};
    };
    co_return response;
  });
  Client client(running.port());
  EXPECT_TRUE(client.get("/").body == content.substr(1000, 600'000));
  running.server().stop();
  EXPECT_EQ(pieces, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{
                        {1000, 65'536}, {66'536, 457'752}, {524'288, 76'712}}));
}

TEST(ResponseBody, APieceThatFailsIsNeverSent) {
  const std::string content = noise(2'000'000);
  const TemporaryFile file(content);
  Running running([&](Request& request) -> io::Task<Response> {
    const std::uint64_t bad = std::stoull(request.segments[0]);
    Response response = file_response(file.fd, 0, content.size());
    std::get<FileBody>(response.body).prepare = [bad](std::uint64_t at, std::uint64_t) -> io::Task<Result<void>> {
      if (at == bad) co_return make_error(ErrorCode::corrupt, "rot");
      co_return Result<void>{};
    };
    co_return response;
  });
  Client first(running.port());
  EXPECT_EQ(first.get("/0").status, 503);
  Client later(running.port());
  const Answer cut = later.get("/1048576");
  EXPECT_LE(cut.body.size(), 1'048'576u);
  EXPECT_TRUE(content.starts_with(cut.body));
}

TEST(ResponseBody, AClientThatResetsInTheMiddleHurtsNobodyElse) {
  const std::string content = noise(20 * MiB);
  const TemporaryFile file(content);
  Running running([&](Request&) -> io::Task<Response> { co_return file_response(file.fd, 0, content.size()); });
  for (int i = 0; i < 20; ++i) {
    Client client(running.port());
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(client.receive());
    const linger reset{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(client.descriptor(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  // Without the signal mask of the loops SIGPIPE would have ended this program.
  EXPECT_TRUE(Client(running.port()).get("/").body == content);
}

TEST(ResponseBody, AFileThatIsShorterThanPromisedCutsTheConnection) {
  const TemporaryFile file("short");
  Running running([&](Request&) -> io::Task<Response> { co_return file_response(file.fd, 0, 1000); });
  Client client(running.port());
  EXPECT_LT(client.get("/").body.size(), 1000u);
  EXPECT_TRUE(client.closed());
}

// Bytes of a text in pieces of 1000; at the end an error, if one is wanted.
class Pieces final : public io::ByteSource {
 public:
  Pieces(std::string text, bool fails) : text_(std::move(text)), fails_(fails) {}
  io::Task<Result<std::size_t>> read(Bytes out) override {
    if (rest_.empty() && fails_) co_return make_error(ErrorCode::disconnected, "gone");
    const std::size_t bytes = std::min({rest_.size(), out.size(), std::size_t{1000}});
    std::copy_n(hansa::as_bytes(rest_).begin(), bytes, out.begin());
    rest_.remove_prefix(bytes);
    co_await io::yield();
    co_return bytes;
  }

 private:
  std::string text_;
  std::string_view rest_ = text_;
  bool fails_;
};

io::Task<Response> streamed(Request& request) {
  Response response;
  StreamBody body;
  const bool fails = request.segments[0] == "fail";
  body.source = std::make_shared<Pieces>(noise(100'000), fails);
  if (request.segments.size() > 1) body.length = std::stoull(request.segments[1]);
  response.body = std::move(body);
  co_return response;
}

TEST(ResponseBody, StreamsWithAndWithoutALength) {
  Running running(streamed);
  Client client(running.port());
  const Answer chunked = client.get("/ok");
  EXPECT_EQ(chunked.field("Transfer-Encoding"), "chunked");
  EXPECT_TRUE(chunked.body == noise(100'000));
  const Answer sized = client.get("/ok/100000");
  EXPECT_EQ(sized.field("Content-Length"), "100000");
  EXPECT_TRUE(sized.body == noise(100'000));
  Client old(running.port());
  const Answer until_close = old.ask("GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(until_close.field("Connection"), "close");
  EXPECT_TRUE(until_close.body == noise(100'000));
}

TEST(ResponseBody, AStreamThatFailsOrEndsEarlyCutsTheConnection) {
  Running running(streamed);
  EXPECT_EQ(Client(running.port()).get("/fail").status, -1);
  EXPECT_LT(Client(running.port()).get("/fail/100001").body.size(), 100'001u);
  EXPECT_LT(Client(running.port()).get("/ok/100001").body.size(), 100'001u);
}

TEST(ResponseBody, PartsFollowEachOther) {
  const std::string content = noise(1'000'000);
  const TemporaryFile file(content);
  Running running([&](Request&) -> io::Task<Response> {
    std::vector<std::variant<std::string, FileBody>> parts;
    parts.emplace_back("--a\r\n");
    parts.emplace_back(std::get<FileBody>(file_response(file.fd, 10, 900'000).body));
    parts.emplace_back("\r\n--a\r\n");
    parts.emplace_back(std::get<FileBody>(file_response(file.fd, 5, 1).body));
    parts.emplace_back("\r\n--a--");
    Response response;
    response.body = std::move(parts);
    co_return response;
  });
  Client client(running.port());
  const std::string expected =
      "--a\r\n" + content.substr(10, 900'000) + "\r\n--a\r\n" + content.substr(5, 1) + "\r\n--a--";
  EXPECT_TRUE(client.get("/").body == expected);
  EXPECT_TRUE(client.get("/").body == expected);
}

TEST(ResponseBody, SharedTextIsSentWithoutBeingOwned) {
  const auto text = std::make_shared<const std::string>(noise(5'000'000));
  Running running([text](Request&) -> io::Task<Response> {
    Response response;
    response.body = text;
    co_return response;
  });
  Client client(running.port());
  EXPECT_TRUE(client.get("/").body == *text);
}

}  // namespace
}  // namespace hansa::http::test
