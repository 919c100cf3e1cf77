#include "peer/http_peers.h"

#include <gtest/gtest.h>

#include "http/test_client.h"
#include "io/scope.h"
#include "peer/bed_test.h"

namespace hansa::peer {
namespace {

using namespace std::chrono_literals;

Called ask(HttpBed& bed, HttpPeers& from, const std::string& verb = "echo", const std::string& to = "two") {
  Called called;
  bed.run(call_peer(&from, to, {verb, "{}", nullptr}, 20s, &called));
  return called;
}

TEST(HttpPeers, AnotherSecretIsRefusedAndTheHandlerNotAsked) {
  HttpBed bed;
  std::atomic<int> served = 0;
  bed.two().serve([&](io::NodeId, io::PeerRequest) -> io::Task<Result<io::PeerResponse>> {
    ++served;
    co_return io::PeerResponse{};
  });
  const auto stranger = bed.member("one", "another");
  EXPECT_EQ(ask(bed, *stranger).code, ErrorCode::unauthenticated);
  EXPECT_EQ(served, 0);
}

TEST(HttpPeers, AMemberAtAnOldAddressIsUnavailable) {
  HttpBed bed;
  bed.two().serve(answer_verbs);
  const Called called = ask(bed, bed.one(), "echo", "four");
  EXPECT_EQ(called.code, ErrorCode::unavailable);
  EXPECT_NE(called.message.find("this is two"), std::string::npos) << called.message;
}

TEST(HttpPeers, AVerbThatTheHandlerDoesNotKnowIsUnsupported) {
  HttpBed bed;
  EXPECT_EQ(ask(bed, bed.one()).code, ErrorCode::unavailable) << "it does not serve yet";
  bed.two().serve(answer_verbs);
  EXPECT_EQ(ask(bed, bed.one(), "nonsense").code, ErrorCode::unsupported);
  EXPECT_EQ(ask(bed, bed.one(), "No Verb").code, ErrorCode::invalid);
}

// The words of a request by `call`, as they go over the wire.
std::string wire(const Call& call, const std::string& secret) {
  std::string text = "POST /v2/_hansa/peer/" + call.verb + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n";
  const auto headers = call_headers(call, secret);
  for (const auto& [name, value] : headers->fields()) text += name + ": " + value + "\r\n";
  return text + "\r\n";
}

TEST(HttpPeers, ARequestSeenBeforeIsNotServedAgain) {
  HttpBed bed;
  bed.two().serve(answer_verbs);
  http::test::Client client(bed.port());
  Call call{.verb = "echo", .arguments = "{}", .from = "one", .to = "two", .boot = "", .nonce = std::string(32, 'a')};
  const auto challenged = client.ask(wire(call, "secret"));
  EXPECT_EQ(challenged.status, challenge);
  call.boot = challenged.field("Hansa-Boot");
  EXPECT_EQ(client.ask(wire(call, "secret")).status, answered);
  EXPECT_EQ(client.ask(wire(call, "secret")).status, repeated);
  const std::string genuine = wire(call, "secret");
  std::string altered = genuine;
  altered.replace(altered.find("{}"), 2, "[]");
  EXPECT_EQ(client.ask(altered).status, stranger);
}

TEST(HttpPeers, AFullMemoryBeginsANewEpochAndLosesNoCall) {
  HttpBed bed(std::nullopt, 3);
  bed.two().serve(answer_verbs);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ask(bed, bed.one()).result, "one {}");
}

io::Task<void> many(HttpPeers* peers, io::Executor* executor, int* right) {
  io::TaskScope scope(*executor);
  std::vector<Called> called(100);
  for (std::size_t i = 0; i < called.size(); ++i) {
    auto body = std::make_shared<TextSource>(std::string(10'000, 'x') + std::to_string(i));
    scope.spawn("call", call_peer(peers, "two", {"reverse", "{}", std::move(body)}, 30s, &called[i]));
  }
  co_await scope.join();
  for (std::size_t i = 0; i < called.size(); ++i) {
    const std::string end = std::to_string(i);
    const std::string wanted = std::string(end.rbegin(), end.rend()) + std::string(10'000, 'x');
    if (called[i].body == wanted) ++*right;
  }
}

TEST(HttpPeers, AHundredCallsAtOnceGetTheirOwnAnswers) {
  TlsBed bed;
  bed.two().serve(answer_verbs);
  int right = 0;
  bed.run(many(&bed.one(), &bed.loops().executor(0), &right));
  EXPECT_EQ(right, 100);
}

io::Task<void> join(http::Client* client, std::string address, std::string ca, std::string request, Called* called) {
  auto answer = co_await call_join(*client, address, ca, request);
  if (answer) called->result = *answer;
  if (!answer) called->code = answer.error().code;
}

TEST(HttpPeers, AMachineJoinsThatKnowsOnlyTheAuthoritysFingerprint) {
  TlsBed bed;
  auto client = http::Client::make(bed.loops(), {});
  ASSERT_TRUE(client);
  const auto joined = [&](const std::string& ca, const std::string& request) {
    Called called;
    bed.run(join(client->get(), bed.address(), ca, request, &called));
    return called;
  };
  EXPECT_EQ(joined(bed.fingerprint(), "me").result, "welcome me");
  EXPECT_EQ(joined(bed.fingerprint(), "bad").code, ErrorCode::denied);
  EXPECT_EQ(joined(std::string(64, '0'), "me").code, ErrorCode::unavailable);
  EXPECT_EQ(joined(bed.fingerprint(), std::string(max_join_bytes + 1, 'x')).code, ErrorCode::too_large);
  client->reset();
}

}  // namespace
}  // namespace hansa::peer
