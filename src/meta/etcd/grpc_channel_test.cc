// The wire to etcd against real servers: Debian's 3.4 and a current one. A missing program is a skipped test.
#include "meta/etcd/grpc_channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "meta/etcd/testing/etcd_server.h"
#include "sim/ports/contract_rigs_test.h"

namespace hansa::meta::etcd::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr io::Duration soon = 5s;

struct Kind {
  const char* name;
  std::string (*binary)();
};
void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.name;
}

template <class T>
std::string code(const Result<T>& result) {
  return result ? "ok" : std::string(to_string(result.error().code));
}

TxnRequest put(std::string key, std::string value, LeaseId lease = 0) {
  TxnRequest out;
  out.success.push_back({.key = std::move(key), .value = std::move(value), .lease = lease});
  return out;
}

class GrpcChannelTest : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (GetParam().binary().empty()) GTEST_SKIP() << "no etcd of this kind here: " << GetParam().name;
  }

  template <class T>
  T run(io::Task<T> task) {
    std::optional<T> out;
    rig_.run(sim::detail::keep_result(std::move(task), &out));
    return std::move(*out);
  }
  bool answers(Channel& channel) {
    const auto status = run(channel.status(1s));
    if (!status || status->leader == 0) (void)run(io::sleep_for(50ms));
    return status && status->leader != 0;
  }
  std::shared_ptr<Channel> open(ChannelSettings settings) { return runtime_.channels()(settings).value(); }
  std::shared_ptr<MaintenanceChannel> keeper(const EtcdServer& server) {
    return runtime_.maintenance()({.endpoint = server.endpoint(), .tls = {}, .user = {}, .password = {}}).value();
  }
  std::shared_ptr<Channel> open(const EtcdServer& server) {
    return open({.endpoint = server.endpoint(), .tls = {}, .user = {}, .password = {}});
  }
  std::unique_ptr<EtcdServer> server(std::vector<std::string> arguments = {}) {
    auto out =
        std::make_unique<EtcdServer>(ServerOptions{.binary = GetParam().binary(), .arguments = std::move(arguments)});
    out->start_until([&] { return answers(*open(*out)); });
    return out;
  }
  // Until a reply with events, or the end.
  Result<WatchReply> next_events(Watch& watch) {
    for (;;) {
      auto reply = run(watch.next());
      if (!reply || reply->canceled || !reply->events.empty()) return reply;
    }
  }

  sim::RealRig rig_;
  GrpcRuntime runtime_;
};
INSTANTIATE_TEST_SUITE_P(Etcd, GrpcChannelTest,
                         ::testing::Values(Kind{"Debian", debian_etcd}, Kind{"Current", current_etcd}),
                         [](const auto& kind) { return std::string(kind.param.name); });

TEST_P(GrpcChannelTest, ATransactionWritesAllOrTellsWhatConflicted) {
  const auto etcd = server();
  const auto channel = open(*etcd);
  TxnRequest create = put("a", "1");
  create.compares = {{.key = "a", .field = TxnCompare::Field::create, .equals = 0}};
  create.failure = {{.kind = TxnOperation::Kind::range, .key = "a", .value = {}}};
  const auto first = run(channel->txn(create, soon));
  ASSERT_EQ(code(first), "ok") << first.error().message;
  EXPECT_TRUE(first->succeeded);
  const auto second = run(channel->txn(create, soon));
  ASSERT_EQ(code(second), "ok");
  EXPECT_FALSE(second->succeeded);
  ASSERT_EQ(second->ranges.size(), 1U);
  const KeyValue seen = second->ranges[0].values.at(0);
  EXPECT_EQ(seen.value, "1");
  EXPECT_EQ(seen.mod, first->header.revision);
  EXPECT_EQ(seen.create, first->header.revision);
  TxnRequest remove;
  remove.compares = {{.key = "a", .field = TxnCompare::Field::mod, .equals = seen.mod},
                     {.key = "a", .field = TxnCompare::Field::version, .equals = 1}};
  remove.success = {{.kind = TxnOperation::Kind::remove, .key = "a", .value = {}}};
  const auto removed = run(channel->txn(remove, soon));
  EXPECT_TRUE(removed && removed->succeeded);
}

TEST_P(GrpcChannelTest, ARangeIsPagedCountedAndReadAtOlderRevisions) {
  const auto etcd = server();
  const auto channel = open(*etcd);
  Revision old = 0;
  for (const char* key : {"k1", "k2", "k3"}) old = run(channel->txn(put(key, "v"), soon))->header.revision;
  ASSERT_TRUE(run(channel->txn(put("k1", "w"), soon)));
  const auto page = run(channel->range({.key = "k", .end = "l", .limit = 2}, soon));
  ASSERT_EQ(code(page), "ok");
  EXPECT_EQ(page->values.size(), 2U);
  EXPECT_TRUE(page->more);
  EXPECT_EQ(page->count, 3U);
  EXPECT_EQ(run(channel->range({.key = "k1", .end = {}, .revision = old}, soon))->values.at(0).value, "v");
  EXPECT_EQ(run(channel->range({.key = "k1", .end = {}, .serializable = true}, soon))->values.at(0).value, "w");
  EXPECT_EQ(run(channel->range({.key = "k1", .end = {}, .keys_only = true}, soon))->values.at(0).value, "");
  EXPECT_TRUE(run(channel->range({.key = "k", .end = "l", .count_only = true}, soon))->values.empty());
}

TEST_P(GrpcChannelTest, AWatchTellsOfPutsAndDeletesFromItsRevisionOn) {
  const auto etcd = server();
  const auto channel = open(*etcd);
  const Revision first = run(channel->txn(put("a", "1"), soon))->header.revision;
  auto watch = run(channel->watch("a", "b", first));
  ASSERT_EQ(code(watch), "ok");
  const auto created = run((*watch)->next());
  EXPECT_TRUE(created && created->created);
  const auto past = next_events(**watch);
  ASSERT_EQ(code(past), "ok");
  EXPECT_EQ(past->events.at(0).now.value, "1");
  EXPECT_EQ(past->events.at(0).now.mod, first);
  TxnRequest remove;
  remove.success = {{.kind = TxnOperation::Kind::remove, .key = "a", .value = {}}};
  const Revision gone = run(channel->txn(remove, soon))->header.revision;
  const auto reply = next_events(**watch);
  ASSERT_EQ(code(reply), "ok");
  EXPECT_TRUE(reply->events.at(0).deleted);
  EXPECT_EQ(reply->events.at(0).now.mod, gone);
}

TEST_P(GrpcChannelTest, ALongHistoryComesInFragmentsAndWhole) {
  const auto etcd = server();
  const auto channel = open(*etcd);
  constexpr std::size_t count = 12;
  const std::string value(400'000, 'x');
  Revision first = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto done = run(channel->txn(put("a" + std::to_string(i), value), soon));
    ASSERT_EQ(code(done), "ok");
    if (i == 0) first = done->header.revision;
  }
  auto watch = run(channel->watch("a", "b", first)).value();
  std::vector<Revision> seen;
  bool fragments = false;
  while (seen.size() < count) {
    const auto reply = next_events(*watch);
    ASSERT_EQ(code(reply), "ok");
    ASSERT_FALSE(reply->canceled);
    fragments = fragments || reply->fragment;
    for (const auto& event : reply->events) seen.push_back(event.now.mod);
  }
  EXPECT_TRUE(fragments);
  for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(seen[i], first + i);
}

TEST_P(GrpcChannelTest, AKilledServerBreaksAWatchAndRefusesEveryCall) {
  const auto etcd = server();
  const auto channel = open(*etcd);
  auto watch = run(channel->watch("a", "b", 0)).value();
  ASSERT_TRUE(run(watch->next()));
  etcd->kill();
  EXPECT_EQ(code(run(watch->next())), "unavailable");
  EXPECT_EQ(code(run(watch->next())), "unavailable") << "and stays so";
  const auto dead = open(*etcd);
  EXPECT_EQ(code(run(dead->txn(put("a", "1"), soon))), "unavailable") << "nothing has left";
  EXPECT_EQ(code(run(dead->range({.key = "a", .end = {}}, soon))), "unavailable");
  EXPECT_EQ(code(run(dead->watch("a", "b", 0))), "unavailable");
  EXPECT_EQ(code(run(dead->lease_keep_alive(1, soon))), "unavailable");
}

// Keys and certificates of a test, signed by an authority of its own.
class TlsFiles {
 public:
  TlsFiles() {
    HANSA_ASSERT(testing::run({"sh", "-c",
                               "cd " + folder +
                                   " && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
                                   "-subj /CN=test-ca -keyout ca.key -out ca.pem"
                                   " && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=own "
                                   "-keyout own.key -out own.csr && echo subjectAltName=IP:127.0.0.1 >ext"
                                   " && openssl x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
                                   "-extfile ext -out own.pem"}),
                 "openssl makes certificates");
  }
  ~TlsFiles() { testing::run({"rm", "-rf", "--", folder}); }
  TlsFiles(const TlsFiles&) = delete;
  TlsFiles& operator=(const TlsFiles&) = delete;

  ServerOptions server(std::string binary) const {
    return {.binary = std::move(binary),
            .scheme = "https",
            .arguments = {"--cert-file", pem, "--key-file", key, "--trusted-ca-file", ca, "--client-cert-auth"}};
  }
  ChannelSettings client(const EtcdServer& etcd) const {
    return {.endpoint = etcd.endpoint(),
            .tls = ClientTls{.ca = ca, .certificate = pem, .key = key},
            .user = {},
            .password = {}};
  }

  const std::string folder = [] {
    char pattern[] = "/tmp/hansa-etcd-tls-XXXXXX";
    return std::string(::mkdtemp(pattern));
  }();
  const std::string ca = folder + "/ca.pem";
  const std::string pem = folder + "/own.pem";
  const std::string key = folder + "/own.key";
};

// A call may also fail since the machine is busy; the load goes on until the server has ended.
io::Task<void> read_until_refused(EtcdServer* etcd, std::shared_ptr<Channel> channel) {
  constexpr int most = 1'000'000;
  for (int i = 0; i < most; ++i) {
    auto read = co_await channel->range({.key = "a", .end = {}}, soon);
    auto status = co_await channel->status(soon);
    if (!read && !status && !etcd->running()) co_return;
  }
}

io::Task<void> stop_under(EtcdServer* etcd, std::vector<std::shared_ptr<Channel>> channels) {
  io::TaskContext& context = co_await io::current_context();
  io::TaskScope scope(context.executor());
  for (auto& channel : channels) {
    for (int i = 0; i < 16; ++i) scope.spawn("reads", read_until_refused(etcd, channel));
  }
  auto slept = co_await io::sleep_for(200ms);
  EXPECT_TRUE(slept);
  etcd->terminate();
  co_await scope.join();
}

// gRPC's filter for retries stopped the process when a call ended without a status; retries are ours anyway.
TEST_P(GrpcChannelTest, AServerThatStopsUnderLoadFailsCallsAndNothingElse) {
  const TlsFiles files;
  for (int round = 0; round < 4; ++round) {
    EtcdServer etcd(files.server(GetParam().binary()));
    etcd.start_until([&] { return answers(*open(files.client(etcd))); });
    std::vector<std::shared_ptr<Channel>> channels;
    for (int i = 0; i < 8; ++i) channels.push_back(open(files.client(etcd)));
    rig_.run(stop_under(&etcd, channels));
    for (const auto& channel : channels) EXPECT_FALSE(run(channel->status(300ms)));
  }
}

TEST_P(GrpcChannelTest, AFrozenServerMakesAWriteAmbiguousAtItsDeadline) {
  const auto etcd = server();
  const auto channel = open(*etcd);
  ASSERT_TRUE(run(channel->txn(put("a", "1"), soon)));
  etcd->freeze();
  EXPECT_EQ(code(run(channel->txn(put("a", "2"), 300ms))), "ambiguous");
  EXPECT_EQ(code(run(io::with_deadline(100ms, channel->range({.key = "a", .end = {}}, soon)))), "timeout")
      << "a cancelled call ends at once";
  etcd->thaw();
  EXPECT_EQ(code(run(channel->txn(put("a", "3"), soon))), "ok");
}

TEST_P(GrpcChannelTest, CompactedHistoryIsOutOfRangeForReadsAndWatches) {
  const auto etcd = server();
  const auto channel = open(*etcd);
  const Revision first = run(channel->txn(put("a", "1"), soon))->header.revision;
  const Revision last = run(channel->txn(put("a", "2"), soon))->header.revision;
  ASSERT_TRUE(etcd->control({"compact", std::to_string(last)}));
  EXPECT_EQ(code(run(channel->range({.key = "a", .end = {}, .revision = first}, soon))), "range");
  auto watch = run(channel->watch("a", "b", first)).value();
  const auto reply = next_events(*watch);
  ASSERT_EQ(code(reply), "ok");
  EXPECT_TRUE(reply->canceled);
  EXPECT_EQ(reply->compacted, last);
}

TEST_P(GrpcChannelTest, AFullStoreIsOutOfSpaceUntilItIsDisarmed) {
  const auto etcd = server({"--quota-backend-bytes=2097152"});
  const auto channel = open(*etcd);
  const std::string value(400'000, 'x');
  std::string outcome = "ok";
  Revision last = 0;
  for (int i = 0; i < 200 && outcome == "ok"; ++i) {  // etcd counts what it has committed in the background
    const auto reply = run(channel->txn(put("big", value), soon));
    outcome = code(reply);
    if (reply) last = reply->header.revision;
  }
  EXPECT_EQ(outcome, "out_of_space");
  const auto keeper_ = keeper(*etcd);
  const auto alarms = run(keeper_->alarms(soon)).value();
  ASSERT_EQ(alarms.size(), 1U);
  EXPECT_EQ(alarms[0].kind, "NOSPACE");
  // What barriers are made of where reads can be stale (ADR 0010).
  TxnRequest nothing;
  nothing.success.push_back({.kind = TxnOperation::Kind::remove, .key = "absent", .value = {}, .lease = 0});
  nothing.success.push_back({.kind = TxnOperation::Kind::range, .key = "big", .value = {}, .lease = 0});
  const auto before = run(channel->range({.key = "big", .end = {}}, soon))->header.revision;
  const auto removed = run(channel->txn(nothing, soon));
  ASSERT_EQ(code(removed), "ok");
  EXPECT_EQ(removed->header.revision, before);
  ASSERT_EQ(removed->ranges.size(), 1U);
  EXPECT_EQ(removed->ranges[0].values.size(), 1U);
  ASSERT_TRUE(etcd->control({"compact", "--physical", std::to_string(last)}));
  ASSERT_EQ(code(run(keeper_->defragment(soon))), "ok");
  ASSERT_EQ(code(run(keeper_->disarm(alarms[0], soon))), "ok");
  EXPECT_EQ(code(run(channel->txn(put("a", "1"), soon))), "ok");
}

TEST_P(GrpcChannelTest, ALeaseIsGrantedKeptAliveAndRevokedWithItsKeys) {
  const auto etcd = server();
  const auto channel = open(*etcd);
  const auto lease = run(channel->lease_grant(60s, soon)).value();
  ASSERT_TRUE(run(channel->txn(put("a", "1", lease), soon)));
  EXPECT_EQ(run(channel->lease_keep_alive(lease, soon)).value(), 60s);
  ASSERT_TRUE(run(channel->lease_revoke(lease, soon)));
  EXPECT_TRUE(run(channel->range({.key = "a", .end = {}}, soon))->values.empty());
  EXPECT_EQ(code(run(channel->lease_keep_alive(lease, soon))), "not_found");
  EXPECT_EQ(code(run(channel->lease_revoke(lease, soon))), "ok") << "it has ended, as was asked";
}

TEST_P(GrpcChannelTest, ARequestThatBreaksEtcdsRulesIsInvalidOrTooLarge) {
  const auto etcd = server();
  const auto channel = open(*etcd);
  EXPECT_EQ(code(run(channel->txn(put("", "1"), soon))), "invalid");
  EXPECT_EQ(code(run(channel->txn(put("a", std::string(1'600'000, 'x')), soon))), "too_large");
}

TEST_P(GrpcChannelTest, AUserLogsInAndLogsInAgainAfterTheServerForgotItsToken) {
  const auto etcd = server();
  ASSERT_TRUE(etcd->control({"user", "add", "root:secret"}));
  (void)etcd->control({"role", "add", "root"});
  ASSERT_TRUE(etcd->control({"user", "grant-role", "root", "root"}));
  ASSERT_TRUE(etcd->control({"auth", "enable"}));
  ChannelSettings settings{.endpoint = etcd->endpoint(), .tls = {}, .user = {}, .password = {}};
  EXPECT_EQ(code(run(open(settings)->range({.key = "a", .end = {}}, soon))), "unauthenticated");
  settings.user = "root";
  settings.password = "wrong";
  EXPECT_EQ(code(run(open(settings)->range({.key = "a", .end = {}}, soon))), "unauthenticated");
  settings.password = "secret";
  const auto channel = open(settings);
  ASSERT_EQ(code(run(channel->txn(put("a", "1"), soon))), "ok");
  // Forgets every token. (A restart does not: etcd gives them out again from its log.)
  ASSERT_TRUE(etcd->control({"--user", "root:secret", "auth", "disable"}));
  ASSERT_TRUE(etcd->control({"auth", "enable"}));
  EXPECT_EQ(code(run(channel->range({.key = "a", .end = {}}, soon))), "ok");
  EXPECT_EQ(code(run(channel->watch("a", "b", 0))), "ok");
}

TEST_P(GrpcChannelTest, TlsNeedsTheServersAuthorityAndAClientCertificate) {
  const TlsFiles files;
  EtcdServer etcd(files.server(GetParam().binary()));
  const auto settings = [&] { return files.client(etcd); };
  etcd.start_until([&] { return answers(*open(settings())); });
  EXPECT_EQ(code(run(open(settings())->txn(put("a", "1"), soon))), "ok");
  auto nobody = settings();
  nobody.tls->certificate = nobody.tls->key = "";
  EXPECT_FALSE(run(open(nobody)->txn(put("a", "2"), 2s)));
  auto stranger = settings();
  stranger.tls->ca = "/etc/ssl/certs/ca-certificates.crt";
  EXPECT_EQ(code(run(open(stranger)->txn(put("a", "2"), 2s))), "unavailable");
  auto missing = settings();
  missing.tls->ca = files.folder + "/absent.pem";
  EXPECT_EQ(code(runtime_.channels()(missing)), "invalid");
}

TEST_P(GrpcChannelTest, AKeeperReadsMembersMovesTheLeaderAndTakesASnapshot) {
  EtcdCluster cluster(GetParam().binary());
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    const auto channel = open(cluster[i]);
    int tries = 0;
    while (!answers(*channel) && ++tries < 200) continue;
    ASSERT_LT(tries, 200) << "the cluster has a leader";
  }
  ASSERT_EQ(code(run(open(cluster[0])->txn(put("a", "1"), soon))), "ok");
  const auto status = run(keeper(cluster[0])->status(soon)).value();
  EXPECT_THAT(status.version, HasSubstr("3."));
  const auto members = run(keeper(cluster[0])->member_list(soon)).value().members;
  ASSERT_EQ(members.size(), 3U);
  std::size_t leader = 0;
  std::uint64_t other = 0;
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    const auto one = run(keeper(cluster[i])->status(soon)).value();
    if (one.leader == one.header.member) leader = i;
    if (one.leader != one.header.member) other = one.header.member;
  }
  EXPECT_EQ(code(run(keeper(cluster[(leader + 1) % 3])->move_leader(other, soon))), "unavailable")
      << "only the leader moves it: ask another";
  EXPECT_EQ(code(run(keeper(cluster[leader])->move_leader(other, soon))), "ok");
  std::size_t bytes = 0;
  const auto take = [&](std::string_view piece) {
    bytes += piece.size();
    return Result<void>{};
  };
  EXPECT_EQ(code(run(keeper(cluster[leader])->snapshot(take, soon))), "ok");
  EXPECT_EQ(bytes % 512, 32U) << "pages and a checksum";
  const auto refuse = [](std::string_view) -> Result<void> { return make_error(ErrorCode::io, "full"); };
  EXPECT_EQ(code(run(keeper(cluster[leader])->snapshot(refuse, soon))), "io");
}

TEST_P(GrpcChannelTest, ALearnerIsAddedRefusedAsVoterAndRemoved) {
  const auto etcd = server();
  const auto keeper_ = keeper(*etcd);
  const auto added = run(keeper_->member_add("http://127.0.0.1:1", true, soon));
  ASSERT_EQ(code(added), "ok") << added.error().message;
  EXPECT_EQ(added->members.size(), 2U);
  EXPECT_EQ(code(run(keeper_->member_promote(added->added, soon))), "precondition") << "it is not in sync";
  EXPECT_EQ(code(run(keeper_->member_remove(added->added, soon))), "ok");
  EXPECT_EQ(code(run(keeper_->member_remove(added->added, soon))), "not_found");
}

}  // namespace
}  // namespace hansa::meta::etcd::testing
