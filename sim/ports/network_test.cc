// The simulated network and the scripted HTTP client.
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <set>

#include "sim/ports/http_client.h"
#include "sim/ports/network.h"

namespace hansa::sim {
namespace {

using namespace std::chrono_literals;

io::Task<Result<std::string>> read_all(std::shared_ptr<io::ByteSource> source) {
  std::string text;
  for (;;) {
    std::array<std::byte, 3> buffer{};
    HANSA_CO_TRY(const std::size_t count, co_await source->read(buffer));
    if (count == 0) co_return text;
    text += as_text(ConstBytes(buffer).first(count));
  }
}

class NetworkTest : public testing::Test {
 protected:
  NetworkTest() {
    two.serve([this](io::NodeId from, io::PeerRequest request) { return echo(this, from, std::move(request)); });
  }
  ~NetworkTest() override {
    run(world, executor_one, one.close());
    run(world, executor_two, two.close());
  }

  static io::Task<Result<io::PeerResponse>> echo(NetworkTest* self, io::NodeId from, io::PeerRequest request) {
    ++self->served[request.arguments];
    std::string body;
    if (request.body) {
      HANSA_CO_TRY(body, co_await read_all(request.body));
    }
    if (request.verb == "slow") HANSA_CO_CHECK(co_await io::sleep_for(1s));
    io::PeerResponse response{from.value() + " said " + request.arguments, nullptr};
    response.body = std::make_shared<StringSource>(body);
    co_return response;
  }
  Result<io::PeerResponse> call(io::PeerRequest request) {
    return run(world, executor_one, one.call(io::NodeId("two"), std::move(request)));
  }
  std::string outcome(const std::string& arguments, const std::string& verb = "echo") {
    const auto result = call({verb, arguments, nullptr});
    return result ? result->result : std::string(to_string(result.error().code));
  }

  World world;
  SimNetwork network{world};
  SimExecutor executor_one{world, "one"};
  SimExecutor executor_two{world, "two"};
  SimPeer one{network, io::NodeId("one"), executor_one};
  SimPeer two{network, io::NodeId("two"), executor_two};
  std::map<std::string, int> served;
};

TEST_F(NetworkTest, ACallIsAnsweredAfterADelayBothWays) {
  const auto answer = call({"echo", "hello", std::make_shared<StringSource>("a body of bytes")});
  ASSERT_TRUE(answer) << describe(answer.error());
  EXPECT_EQ(answer->result, "one said hello");
  EXPECT_EQ(run(world, executor_one, read_all(answer->body)).value(), "a body of bytes");
  EXPECT_GE(world.now(), 200us);
  EXPECT_LE(world.now(), 10ms);
}

TEST_F(NetworkTest, WithoutAWayTheCallIsRefusedAndNotDelivered) {
  network.cut(io::NodeId("two"), io::NodeId("one"));
  EXPECT_EQ(outcome("a"), "unavailable");
  network.heal();
  network.isolate(io::NodeId("two"));
  EXPECT_EQ(outcome("b"), "unavailable");
  network.heal();
  EXPECT_EQ(outcome("c"), "one said c");
  EXPECT_EQ(served, (std::map<std::string, int>{{"c", 1}}));
  const auto nobody = run(world, executor_one, one.call(io::NodeId("three"), {}));
  EXPECT_EQ(nobody.error().code, ErrorCode::unavailable);
}

TEST_F(NetworkTest, ALostAnswerIsAmbiguousAndLostRequestsToo) {
  network.set({.drop_per_mille = 300});
  int answered = 0;
  int lost_request = 0;
  int lost_answer = 0;
  for (int i = 0; i < 200; ++i) {
    const std::string arguments = std::to_string(i);
    const std::string result = outcome(arguments);
    if (result != "ambiguous") {
      EXPECT_EQ(result, "one said " + arguments);
      ++answered;
    } else {
      ++(served.contains(arguments) ? lost_answer : lost_request);
    }
  }
  EXPECT_GT(answered, 50);
  EXPECT_GT(lost_request, 20);
  EXPECT_GT(lost_answer, 20);
}

TEST_F(NetworkTest, WhatIsLostInOneDirectionIsAmbiguousAndTheOtherDirectionArrives) {
  network.lose(io::NodeId("one"), io::NodeId("two"));
  EXPECT_EQ(outcome("a"), "ambiguous");
  EXPECT_EQ(served["a"], 0);
  network.heal();
  network.lose(io::NodeId("two"), io::NodeId("one"));
  EXPECT_EQ(outcome("b"), "ambiguous");
  EXPECT_EQ(served["b"], 1);
  network.heal();
  EXPECT_EQ(outcome("c"), "one said c");
}

TEST_F(NetworkTest, ARequestMayArriveTwiceAndIsAnsweredOnce) {
  network.set({.duplicate_per_mille = 1000});
  EXPECT_EQ(outcome("a"), "one said a");
  world.run_until_idle();
  EXPECT_EQ(served["a"], 2);
}

TEST_F(NetworkTest, ACutDuringTheCallLosesTheAnswer) {
  executor_one.start_timer(500ms, [this] { network.isolate(io::NodeId("two")); });
  EXPECT_EQ(outcome("a", "slow"), "ambiguous");
  EXPECT_EQ(served["a"], 1);
}

TEST_F(NetworkTest, AnAnswerOnItsWayIsLostWhenTheLinkIsCut) {
  network.set({.min_delay = 10ms, .max_delay = 10ms});
  executor_one.start_timer(15ms, [this] { network.isolate(io::NodeId("one")); });
  EXPECT_EQ(outcome("a"), "ambiguous");
  EXPECT_EQ(served["a"], 1);
}

TEST_F(NetworkTest, ABodyEndsWithAnErrorWhenTheLinkIsCut) {
  const auto answer = call({"echo", "hello", std::make_shared<StringSource>("bytes")});
  ASSERT_TRUE(answer);
  network.cut(io::NodeId("one"), io::NodeId("two"));
  EXPECT_EQ(run(world, executor_one, read_all(answer->body)).error().code, ErrorCode::disconnected);
}

// What a body is made of belongs to its sender, who may be gone.
TEST_F(NetworkTest, BodiesAreTakenBackWhenTheSenderClosesOrItsCallHasEnded) {
  auto body = std::make_shared<StringSource>("bytes");
  const std::weak_ptr<StringSource> sent = body;
  std::shared_ptr<io::ByteSource> kept;
  two.serve([&kept](io::NodeId, io::PeerRequest request) -> io::Task<Result<io::PeerResponse>> {
    kept = std::move(request.body);
    co_return io::PeerResponse{"kept", std::make_shared<StringSource>("answer")};
  });
  const auto answer = call({"echo", "hello", std::move(body)});
  ASSERT_TRUE(answer);
  EXPECT_TRUE(sent.expired());
  EXPECT_EQ(run(world, executor_two, read_all(kept)).error().code, ErrorCode::disconnected);
  run(world, executor_two, two.close());
  EXPECT_EQ(run(world, executor_one, read_all(answer->body)).error().code, ErrorCode::disconnected);
}

TEST_F(NetworkTest, WhoIsReadmittedIsReachedAgainWhereNothingElseIsCut) {
  network.isolate(io::NodeId("two"));
  network.readmit(io::NodeId("two"));
  EXPECT_EQ(outcome("a"), "one said a");
}

TEST_F(NetworkTest, ACancelledCallEndsAtOnce) {
  const auto result =
      run(world, executor_one, io::with_deadline(100ms, one.call(io::NodeId("two"), {"slow", "a", nullptr})));
  EXPECT_EQ(result.error().code, ErrorCode::timeout);
  EXPECT_EQ(world.now(), 100ms);
}

TEST(ScriptedHttpClient, AnswersInTheOrderOfTheScriptAndRemembersTheRequests) {
  World world;
  SimExecutor executor(world, "node");
  ScriptedHttpClient http;
  http.fail("PUT", "http://s3/x", ErrorCode::disconnected);
  http.answer("PUT", "http://s3/x", {.status = 200, .headers = {{"ETag", "e"}}, .body = "done"});
  auto put = [&] {
    io::HttpExchange request{.method = "PUT", .url = "http://s3/x", .headers = {}, .body = nullptr, .body_size = 5};
    request.body = std::make_shared<StringSource>("bytes");
    return run(world, executor, http.send(std::move(request)));
  };
  EXPECT_EQ(put().error().code, ErrorCode::disconnected);
  for (int i = 0; i < 2; ++i) {
    const auto answer = put();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->headers.at(0).second, "e");
    EXPECT_EQ(run(world, executor, read_all(answer->body)).value(), "done");
  }
  ASSERT_EQ(http.requests().size(), 3U);
  EXPECT_EQ(http.requests()[0].body, "bytes");
  io::HttpExchange unknown{.method = "GET", .url = "http://s3/x", .headers = {}, .body = nullptr, .body_size = 0};
  EXPECT_EQ(run(world, executor, http.send(std::move(unknown))).error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace hansa::sim
