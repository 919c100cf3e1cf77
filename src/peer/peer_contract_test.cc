// The promises of io/peer_network.h, kept by the simulated network and by HTTP.
#include <gtest/gtest.h>

#include <atomic>
#include <map>

#include "http/test_identity.h"
#include "io/wait.h"
#include "peer/bed_test.h"
#include "peer/body_text.h"
#include "sim/ports/network.h"

namespace hansa::peer {
namespace {

using namespace std::chrono_literals;

class SimBed {
 public:
  ~SimBed() {
    run(one_.close());
    sim::run(world_, executor_two_, two_.close());
  }
  io::PeerNetwork& one() { return one_; }
  io::PeerNetwork& two() { return two_; }
  void run(io::Task<void> task) { sim::run(world_, executor_one_, std::move(task)); }

 private:
  sim::World world_;
  sim::SimNetwork network_{world_};
  sim::SimExecutor executor_one_{world_, "one"};
  sim::SimExecutor executor_two_{world_, "two"};
  sim::SimPeer one_{network_, io::NodeId("one"), executor_one_};
  sim::SimPeer two_{network_, io::NodeId("two"), executor_two_};
};

template <class Bed>
class PeerContract : public testing::Test {
 protected:
  PeerContract() { bed.two().serve(answer_verbs); }
  Called call(io::PeerRequest request, io::Duration limit = 20s, const char* to = "two") {
    Called called;
    bed.run(call_peer(&bed.one(), to, std::move(request), limit, &called));
    return called;
  }
  Bed bed;
};
using Beds = testing::Types<SimBed, HttpBed, TlsBed>;
TYPED_TEST_SUITE(PeerContract, Beds);

TYPED_TEST(PeerContract, ArgumentsAndResultArriveAsTheyAre) {
  const std::string arguments = "{\"a\": \"\xc3\xa4 % \\u0000 b\"} ";
  const Called called = this->call({"echo", arguments, nullptr});
  EXPECT_EQ(called.result, "one " + arguments) << called.message;
  EXPECT_FALSE(called.has_body);
}

TYPED_TEST(PeerContract, BodiesStreamInBothDirections) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{3'000'000}}) {
    const std::string text(size, 'x');
    const Called called = this->call({"reverse", "{}", std::make_shared<TextSource>(text + "y")});
    EXPECT_TRUE(called.has_body);
    EXPECT_TRUE(called.body == "y" + text) << called.message;
  }
}

TYPED_TEST(PeerContract, AnErrorOfTheHandlerIsTheCallers) {
  const Called called = this->call({"fail", "{}", std::make_shared<TextSource>(std::string(2'000'000, 'x'))});
  EXPECT_EQ(called.code, ErrorCode::precondition);
  EXPECT_EQ(called.subject, Subject::upload);
  EXPECT_EQ(called.message, "not \"now\"\n");
}

TYPED_TEST(PeerContract, WhoIsNotThereIsUnavailable) {
  EXPECT_EQ(this->call({"echo", "{}", nullptr}, 20s, "three").code, ErrorCode::unavailable);
}

TYPED_TEST(PeerContract, ACancelledCallEnds) {
  EXPECT_EQ(this->call({"slow", "{}", nullptr}, 200ms).code, ErrorCode::timeout);
}

}  // namespace
}  // namespace hansa::peer
