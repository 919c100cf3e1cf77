#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "http/test_client.h"
#include "io/wait.h"

namespace hansa::http::test {
namespace {

using namespace std::chrono_literals;

io::MonotonicTime now() {
  return io::asio::real_clock()->monotonic();
}

Limits short_limits() {
  Limits limits;
  limits.header_timeout = std::chrono::milliseconds(100);
  limits.idle_timeout = std::chrono::milliseconds(100);
  limits.transfer_timeout = std::chrono::milliseconds(100);
  return limits;
}

// Waits on the server's thread until `open` is set; cancelled with its request.
struct Gate {
  std::atomic<bool> open = false;
  std::atomic<int> waiting = 0;

  io::Task<Result<void>> pass() {
    ++waiting;
    while (!open) {
      auto slept = co_await io::sleep_for(2ms);
      if (!slept) co_return slept;
    }
    co_return Result<void>{};
  }
  void await_visitors(int count) const {
    while (waiting < count) std::this_thread::yield();
  }
};

TEST(Timeouts, AnIdleConnectionIsClosedInSilence) {
  Running running(echo, short_limits());
  Client fresh(running.port());
  Client used(running.port());
  EXPECT_EQ(used.get("/").status, 200);
  EXPECT_EQ(fresh.rest(), "");
  EXPECT_EQ(used.rest(), "");
}

TEST(Timeouts, AHeadThatDoesNotEndIsAnswered408HoweverSteadilyItArrives) {
  Running running(echo, short_limits());
  Client client(running.port());
  client.send("GET / HTTP/1.1\r\nHost: x\r\nA: ");
  const auto began = now();
  while (!client.readable(10) && now() - began < std::chrono::seconds(5)) client.send("a");
  EXPECT_EQ(client.answer().status, 408);
  EXPECT_GE(now() - began, std::chrono::milliseconds(90));
}

TEST(Timeouts, ABodyThatStandsStillIsAnError) {
  Running running(echo, short_limits());
  Client client(running.port());
  const Answer answer = client.ask("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello");
  EXPECT_EQ(answer.status, 408);
  EXPECT_NE(answer.body.find("timeout"), std::string::npos) << answer.body;
}

TEST(Timeouts, ASlowBodyThatMovesIsNotCut) {
  Limits limits = short_limits();
  limits.transfer_timeout = std::chrono::milliseconds(400);
  Running running(echo, limits);
  Client client(running.port());
  client.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n");
  for (int i = 0; i < 20; ++i) {
    EXPECT_FALSE(client.readable(40));  // in all twice the time-out
    client.send("x");
  }
  EXPECT_EQ(client.answer().body, "PUT / 20:xxxxxxxxxxxxxxxxxxxx");
}

TEST(Timeouts, AClientThatDoesNotReadItsAnswerIsCut) {
  Running running(
      [](Request&) -> io::Task<Response> {
        Response response;
        response.body = std::string(100'000'000, 'x');
        co_return response;
      },
      short_limits());
  Client client(running.port());
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto began = now();
  while (running.server().counters().connections == 0) std::this_thread::yield();
  while (running.server().counters().connections > 0 && now() - began < std::chrono::seconds(5)) {
    std::this_thread::yield();
  }
  EXPECT_EQ(running.server().counters().connections, 0u);
}

TEST(Timeouts, AHandlerMayThinkForLongerThanAnyOfThem) {
  Running running(
      [](Request&) -> io::Task<Response> {
        const auto slept = co_await io::sleep_for(300ms);
        EXPECT_TRUE(slept);
        co_return Response{};
      },
      short_limits());
  Client client(running.port());
  EXPECT_EQ(client.get("/").status, 200);
}

TEST(ConnectionLimit, TheOneTooManyIsAnswered503AndTheOthersGoOn) {
  Limits limits;
  limits.connections = 2;
  Running running(echo, limits);
  Client first(running.port());
  auto second = std::make_unique<Client>(running.port());
  EXPECT_EQ(first.get("/").status, 200);
  EXPECT_EQ(second->get("/").status, 200);
  {
    Client third(running.port());
    EXPECT_EQ(third.get("/").status, 503);
    EXPECT_TRUE(third.closed());
  }
  EXPECT_EQ(first.get("/").status, 200);
  EXPECT_EQ(running.server().counters().refused, 1u);
  EXPECT_EQ(running.server().counters().connections, 2u);
  second.reset();
  while (running.server().counters().connections > 1) std::this_thread::yield();
  EXPECT_EQ(Client(running.port()).get("/").status, 200);
}

constexpr in_addr_t another_client = INADDR_LOOPBACK + 1;

std::vector<std::unique_ptr<Client>> served_clients(const Running& running, int count) {
  std::vector<std::unique_ptr<Client>> out;
  for (int i = 0; i < count; ++i) {
    out.push_back(std::make_unique<Client>(running.port()));
    EXPECT_EQ(out.back()->get("/").status, 200);
  }
  return out;
}

TEST(ClientLimit, AGreedyClientCannotKeepOthersOut) {
  Limits limits;
  limits.connections = 4;
  limits.connections_per_client = 3;
  Running running(echo, limits);
  const auto greedy = served_clients(running, 3);
  Client fourth(running.port());
  const Answer refusal = fourth.get("/");
  EXPECT_EQ(refusal.status, 429);
  EXPECT_EQ(refusal.field("Retry-After"), "1");
  EXPECT_TRUE(fourth.closed());
  Client other(running.port(), another_client);
  EXPECT_EQ(other.get("/").status, 200);
  EXPECT_EQ(running.server().counters().refused, 1u);
  EXPECT_EQ(running.server().counters().refused_clients, 1u);
  // One more of the other client is too many for the server, not for the client.
  EXPECT_EQ(Client(running.port(), another_client).get("/").status, 503);
  EXPECT_EQ(running.server().counters().refused, 2u);
  EXPECT_EQ(running.server().counters().refused_clients, 1u);
}

TEST(ClientLimit, AConnectionThatEndsMakesRoomForTheNext) {
  Limits limits;
  limits.connections_per_client = 1;
  Running running(echo, limits);
  for (int i = 0; i < 20; ++i) {
    {
      Client client(running.port());
      EXPECT_EQ(client.get("/").status, 200);
      EXPECT_EQ(Client(running.port()).get("/").status, 429);
    }
    while (running.server().counters().connections > 0) std::this_thread::yield();
  }
}

TEST(ClientLimit, RequestsThatArePipelinedAreNotUnderWayAtOnce) {
  std::atomic<int> under_way = 0;
  std::atomic<int> most = 0;
  Running running([&](Request&) -> io::Task<Response> {
    most = std::max(most.load(), ++under_way);
    static_cast<void>(co_await io::sleep_for(5ms));  // the others would begin meanwhile
    --under_way;
    co_return Response{};
  });
  Client client(running.port());
  for (int i = 0; i < 5; ++i) client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client.answer().status, 200);
  EXPECT_EQ(most, 1);
}

TEST(ClientLimit, ZeroIsNoLimit) {
  Limits limits;
  limits.connections = 8;
  limits.connections_per_client = 0;
  Running running(echo, limits);
  const auto clients = served_clients(running, 8);
  EXPECT_EQ(Client(running.port(), another_client).get("/").status, 503);
}

TEST(Drain, RequestsUnderWayAreAnsweredIdleConnectionsCloseAndNewOnesAreRefused) {
  Gate gate;
  Running running([&gate](Request& request) -> io::Task<Response> {
    if (request.target == "/wait") {
      auto passed = co_await gate.pass();
      EXPECT_TRUE(passed);
    }
    Response response;
    response.body = "done";
    co_return response;
  });
  auto owned = std::make_unique<Client>(running.port());
  Client& busy = *owned;
  // Connections are spread evenly, so that each loop has an idle one, and what is seen of all holds for the busy one's.
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 3; ++i) {
    idle.push_back(std::make_unique<Client>(running.port()));
    EXPECT_EQ(idle.back()->get("/").status, 200);
  }
  busy.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
  gate.await_visitors(1);
  std::thread stopper([&] { running.server().stop(); });
  for (const auto& client : idle) EXPECT_TRUE(client->closed());
  EXPECT_FALSE(Client(running.port()).connected());
  EXPECT_FALSE(busy.readable(0));
  gate.open = true;
  const Answer answer = busy.answer();
  EXPECT_EQ(answer.body, "done");
  EXPECT_EQ(answer.field("Connection"), "close");
  EXPECT_TRUE(busy.closed());
  owned.reset();  // otherwise the server waits a moment for the client to notice
  stopper.join();
}

TEST(Drain, WhatDoesNotEndInTimeIsCancelled) {
  Gate gate;
  Limits limits;
  limits.drain_timeout = std::chrono::milliseconds(50);
  std::atomic<bool> cancelled = false;
  Running running(
      [&](Request&) -> io::Task<Response> {
        auto passed = co_await gate.pass();
        cancelled = !passed && passed.error().code == ErrorCode::cancelled;
        co_return Response{};
      },
      limits);
  Client client(running.port());
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  Client reading(running.port());
  reading.send("GET / HTTP/1.1\r\nHos");
  gate.await_visitors(1);
  running.server().stop();
  EXPECT_TRUE(cancelled);
  EXPECT_EQ(running.server().counters().connections, 0u);
}

TEST(Drain, UnderLoadEveryRequestIsAnsweredOrNeverBegun) {
  Running running(echo);
  std::atomic<bool> stopping = false;
  std::atomic<int> answered = 0;
  std::atomic<int> torn = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      while (!stopping) {
        Client client(running.port());
        if (!client.connected()) return;
        for (int k = 0; k < 50; ++k) {
          if (!client.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")) break;
          const Answer answer = client.answer();
          if (answer.status == 0) break;  // closed between two requests
          if (answer.body != "PUT / 5:hello") ++torn;
          ++answered;
          if (answer.field("Connection") == "close") break;
        }
      }
    });
  }
  while (answered < 2000) std::this_thread::yield();
  running.server().stop();
  stopping = true;
  for (auto& client : clients) client.join();
  EXPECT_EQ(torn, 0);
  EXPECT_EQ(running.server().counters().connections, 0u);
}

TEST(Drain, StopIsFineTwiceAndWithoutConnections) {
  Running running(echo);
  running.server().stop();
  running.server().stop();
}

}  // namespace
}  // namespace hansa::http::test
