#include "http/server.h"

#include <gtest/gtest.h>

#include <thread>

#include "http/test_client.h"
#include "io/wait.h"

namespace hansa::http::test {
namespace {

TEST(Server, AnswersAndKeepsTheConnection) {
  Running running(echo);
  Client client(running.port());
  const Answer first = client.get("/a?b=c");
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.body, "GET /a?b=c 0:");
  EXPECT_EQ(first.field("Content-Length"), "13");
  EXPECT_EQ(first.field("Date").size(), 29u);
  EXPECT_EQ(first.field("Connection"), "");
  EXPECT_EQ(client.get("/second").body, "GET /second 0:");
  const auto counters = running.server().counters();
  EXPECT_EQ(counters.accepted, 1u);
  EXPECT_EQ(counters.connections, 1u);
}

TEST(Server, AnswersPipelinedRequestsInOrder) {
  Running running(echo);
  Client client(running.port());
  std::string requests;
  for (int i = 0; i < 100; ++i) {
    requests += "POST /" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab\r\n";
  }
  client.send(requests);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(client.answer().body, "POST /" + std::to_string(i) + " 2:ab");
}

TEST(Server, TakesAHeadByteByByte) {
  Running running(echo);
  Client client(running.port());
  for (const char c : std::string("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")) client.send({&c, 1});
  EXPECT_EQ(client.answer().body, "GET /slow 0:");
}

TEST(Server, TakesAHeadOfTheLargestSize) {
  Running running(echo);
  Client client(running.port());
  const std::string field = "A: " + std::string(60'000, 'a') + "\r\n";
  EXPECT_EQ(client.ask("GET / HTTP/1.1\r\nHost: x\r\n" + field + "\r\n").status, 200);
  EXPECT_EQ(client.get("/next").body, "GET /next 0:");
  EXPECT_EQ(client.ask("GET / HTTP/1.1\r\nHost: x\r\n" + field + field + "\r\n").status, 431);
  EXPECT_TRUE(client.closed());
}

TEST(Server, RefusesBadRequestsInTextAndCloses) {
  Running running(echo);
  Client client(running.port());
  const Answer answer = client.ask(
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.field("Connection"), "close");
  EXPECT_NE(answer.body.find("Content-Length"), std::string::npos) << answer.body;
  EXPECT_TRUE(client.closed());
}

TEST(Server, HeadAndEmptyStatusesHaveNoBody) {
  Running running([](Request& request) -> io::Task<Response> {
    Response response;
    response.status = std::stoi(request.segments[0]);
    response.body = "hello";
    if (request.segments.size() > 1) response.head_length = 1234;
    co_return response;
  });
  Client client(running.port());
  client.send("HEAD /200 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client.answer(true).field("Content-Length"), "5");
  client.send("HEAD /200/x HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client.answer(true).field("Content-Length"), "1234");
  EXPECT_EQ(client.get("/204").field("Content-Length"), "");
  EXPECT_EQ(client.get("/304").field("Content-Length"), "");
  EXPECT_EQ(client.get("/404").body, "hello");
}

TEST(Server, ClosesWhenTheClientOrTheHandlerWantsIt) {
  Running running([](Request& request) -> io::Task<Response> {
    Response response;
    response.close = request.target == "/close";
    co_return response;
  });
  Client asked(running.port());
  EXPECT_EQ(asked.ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").field("Connection"), "close");
  EXPECT_TRUE(asked.closed());
  Client told(running.port());
  EXPECT_EQ(told.get("/close").field("Connection"), "close");
  EXPECT_TRUE(told.closed());
  Client old(running.port());
  EXPECT_EQ(old.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").field("Connection"), "keep-alive");
  EXPECT_EQ(old.ask("GET / HTTP/1.0\r\n\r\n").field("Connection"), "close");
  EXPECT_TRUE(old.closed());
}

TEST(Server, AHandlerThatThrowsIsAnswered500) {
  Running running([](Request&) -> io::Task<Response> {
    throw std::runtime_error("bug");
    co_return Response{};
  });
  Client client(running.port());
  EXPECT_EQ(client.get("/").status, 500);
  EXPECT_EQ(client.get("/").status, 500);  // and the connection lives
}

TEST(Server, TellsTheHandlerWhoAsks) {
  Running running([](Request& request) -> io::Task<Response> {
    Response response;
    response.body = request.connection.client + (request.connection.client_port != 0 ? " port" : "") +
                    (request.connection.tls ? " tls" : " plain");
    co_return response;
  });
  Client client(running.port());
  EXPECT_EQ(client.get("/").body, "127.0.0.1 port plain");
}

TEST(Listen, APortInUseIsAnErrorThatSaysWhatToDo) {
  Running running(echo);
  NullLogger log;
  ServerOptions options;
  options.port = running.port();
  const auto second = listen(running.loops(), options, echo, log);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("the port is in use; stop the program"), std::string::npos);
  EXPECT_NE(second.error().message.find(std::to_string(options.port)), std::string::npos);
}

TEST(Listen, APortIsFreeAgainAfterStop) {
  io::asio::EventLoops loops(2);
  NullLogger log;
  ServerOptions options;
  for (int i = 0; i < 2; ++i) {
    auto server = listen(loops, options, echo, log);
    ASSERT_TRUE(server) << describe(server.error());
    options.port = (*server)->port();
    Client client(options.port);
    EXPECT_EQ(client.get("/").status, 200);
    (*server)->stop();
    EXPECT_TRUE(client.closed());
    EXPECT_FALSE(Client(options.port).connected());
  }
}

TEST(Listen, TakesAddressesOfBothFamiliesAndNames) {
  io::asio::EventLoops loops(1);
  NullLogger log;
  for (const char* address : {"127.0.0.1", "localhost", "0.0.0.0", "::", ""}) {
    ServerOptions options;
    options.address = address;
    auto server = listen(loops, options, echo, log);
    if (!server && std::string(address) == "::") continue;  // a machine without IPv6
    ASSERT_TRUE(server) << describe(server.error());
    Client client((*server)->port());
    EXPECT_EQ(client.get("/").status, 200) << address;
  }
  for (const char* address : {"203.0.113.7", "no such host.invalid"}) {
    ServerOptions options;
    options.address = address;
    const auto server = listen(loops, options, echo, log);
    ASSERT_FALSE(server) << address;
    EXPECT_NE(server.error().message.find(address), std::string::npos) << server.error().message;
  }
}

TEST(Listen, ConnectionsAreSpreadOverTheLoops) {
  Running running([](Request&) -> io::Task<Response> {
    Response response;
    response.body = std::to_string(std::hash<std::thread::id>{}(std::this_thread::get_id()));
    co_return response;
  });
  std::vector<std::unique_ptr<Client>> clients;
  std::map<std::string, int> per_loop;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<Client>(running.port()));
    ++per_loop[clients.back()->get("/").body];
  }
  ASSERT_EQ(per_loop.size(), 2u);
  for (const auto& [loop, count] : per_loop) EXPECT_EQ(count, 10) << loop;
}

}  // namespace
}  // namespace hansa::http::test
