// Backup, restore and recover with real etcd servers: Debian's 3.4 and a current one. A missing program skips the test.
#include "voters/backup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/wait.h"
#include "meta/etcd/grpc_channel.h"
#include "meta/etcd/testing/etcd_server.h"
#include "pki/cluster_folder.h"
#include "pki/files.h"
#include "sim/ports/contract_rigs_test.h"
#include "voters/renew_cluster.h"

namespace hansa::voters {
namespace {

using namespace std::chrono_literals;
using meta::etcd::ChannelSettings;

struct Kind {
  const char* name;
  std::string (*binary)();
};
void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.name;
}

template <class T>
std::string code(const Result<T>& result) {
  return result ? "ok" : describe(result.error());
}

class BackupTest : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    binary = GetParam().binary();
    if (binary.empty()) GTEST_SKIP() << "there is no etcd " << GetParam().name << " here";
    tool = std::string(GetParam().name) == "v34" ? "etcdctl" : binary.substr(0, binary.rfind('/')) + "/etcdutl";
    if (tool != "etcdctl" && meta::etcd::testing::program_at(tool).empty()) GTEST_SKIP() << "there is no " << tool;
  }
  void TearDown() override {
    for (const auto& settings : used) {
      const auto stopped = EtcdProcess(rig.disk(), rig.clock(), settings).stop(5s);
      EXPECT_TRUE(stopped) << describe(stopped.error());
    }
  }
  struct Machine {
    ClusterPlace place;
    EtcdSettings settings;
  };
  Machine machine(const std::string& name) {
    Machine out{
        .place = {.root = rig.folder() + "/" + name, .node = name, .disk = "disk-" + name, .hosts = {"localhost"}},
        .settings = {}};
    EXPECT_TRUE(rig.disk().make_directories(out.place.root));
    const auto paths = pki::cluster_paths(out.place.root);
    out.settings.binary = binary;
    out.settings.data_dir = out.place.root + "/etcd";
    out.settings.name = name;
    out.settings.host = "127.0.0.1";
    out.settings.client_port = static_cast<std::uint16_t>(meta::etcd::testing::free_port());
    out.settings.peer_port = static_cast<std::uint16_t>(meta::etcd::testing::free_port());
    out.settings.ca = paths.ca;
    out.settings.certificate = paths.certificate;
    out.settings.key = paths.key;
    used.push_back(out.settings);
    return out;
  }
  // A cluster of one, running.
  void found(const Machine& at, const std::string& nonce) {
    ASSERT_TRUE(write_new_cluster(rig.disk(), rig.clock(), rig.random(), at.place, at.settings, nonce));
    EtcdProcess process(rig.disk(), rig.clock(), at.settings);
    const auto started = process.start(EtcdStart::founding, at.settings.name + "=" + peer_url(at.settings));
    ASSERT_TRUE(started) << describe(started.error());
    ASSERT_TRUE(write_marker(rig.disk(), at.settings.data_dir, {"", at.place.disk, nonce}));
  }
  static ChannelSettings channel(const Machine& at) {
    return {.endpoint = client_url(at.settings),
            .tls = meta::etcd::ClientTls{at.settings.ca, at.settings.certificate, at.settings.key},
            .user = {},
            .password = {}};
  }
  template <class T>
  Result<T> run(io::Task<Result<T>> task) {
    Result<T> out = make_error(ErrorCode::internal, "it did not run");
    const auto body = [](io::Task<Result<T>> inner, Result<T>& to) -> io::Task<void> {
      to = co_await std::move(inner);
    };
    rig.run(body(std::move(task), out));
    return out;
  }
  // Once etcd answers. Puts when `value` is given; the value that is there then.
  Result<std::string> record(ChannelSettings at, std::string value = {}) {
    const auto body = [](std::shared_ptr<meta::etcd::Channel> wire, std::string put) -> io::Task<Result<std::string>> {
      for (int tries = 0; !(co_await wire->status(1s)) && tries < 100; ++tries) {
        HANSA_CO_CHECK(co_await io::sleep_for(50ms));
      }
      meta::etcd::TxnRequest txn;
      txn.success.push_back({.key = "hansa/head", .value = put});
      if (!put.empty()) HANSA_CO_CHECK(co_await wire->txn(txn, 3s));
      meta::etcd::RangeRequest request;
      request.key = "hansa/head";
      HANSA_CO_TRY(const auto got, co_await wire->range(request, 3s));
      co_return got.values.empty() ? std::string() : got.values.front().value;
    };
    HANSA_TRY(auto wire, runtime.channels()(at));
    return run(body(std::move(wire), std::move(value)));
  }
  Result<BackupInfo> take_backup(const Machine& at, const std::string& nonce, const std::string& file) {
    return run(backup(rig.disk(), rig.clock(),
                      {.channel = runtime.channels()(channel(at)).value(),
                       .maintenance = runtime.maintenance()(channel(at)).value(),
                       .cluster = nonce},
                      file));
  }

  sim::RealRig rig;
  meta::etcd::GrpcRuntime runtime;
  std::string binary;
  std::string tool;
  std::vector<EtcdSettings> used;
};

TEST_P(BackupTest, ABareMachineGoesOnFromABackupAsANewClusterThatRefusesTheOld) {
  const Machine old = machine("old");
  ASSERT_NO_FATAL_FAILURE(found(old, "before"));
  ASSERT_EQ(record(channel(old), "kept").value(), "kept");
  const std::string file = rig.folder() + "/snapshot";
  const auto info = take_backup(old, "before", file);
  ASSERT_TRUE(info) << describe(info.error());
  EXPECT_EQ(info->head, "kept");
  EXPECT_EQ(encode(decode_backup(pki::read_file(rig.disk(), file + ".json").value()).value()), encode(*info));

  const Machine bare = machine("bare");
  const auto made = restore(rig.disk(), rig.clock(), rig.random(), bare.place, bare.settings, tool, file);
  ASSERT_TRUE(made) << describe(made.error());
  EXPECT_NE(made->cluster, "before");
  EXPECT_EQ(read_marker(rig.disk(), bare.settings.data_dir).value()->cluster, made->cluster);
  ASSERT_TRUE(EtcdProcess(rig.disk(), rig.clock(), bare.settings).start(EtcdStart::again, {}));
  EXPECT_EQ(code(record(channel(bare))), "ok");
  EXPECT_EQ(record(channel(bare)).value_or("none"), "kept");
  ChannelSettings stranger = channel(old);  // though it knows the new authority
  stranger.endpoint = client_url(bare.settings);
  stranger.tls->ca = bare.settings.ca;
  EXPECT_FALSE(run(runtime.maintenance()(stranger).value()->status(1s)));
  const auto again = restore(rig.disk(), rig.clock(), rig.random(), bare.place, bare.settings, tool, file);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::exists);
}

TEST_P(BackupTest, ADamagedBackupIsRefusedBeforeAnythingIsWritten) {
  const Machine old = machine("old");
  ASSERT_NO_FATAL_FAILURE(found(old, "before"));
  ASSERT_TRUE(record(channel(old), "kept"));
  const std::string file = rig.folder() + "/snapshot";
  ASSERT_TRUE(take_backup(old, "before", file));
  {
    auto damaged = rig.disk().open(file, io::OpenMode::write).value();
    std::byte one{};
    ASSERT_TRUE(damaged->read(5000, Bytes(&one, 1)));
    one ^= std::byte{1};
    ASSERT_TRUE(damaged->write(5000, ConstBytes(&one, 1)));
  }
  const Machine bare = machine("bare");
  const auto made = restore(rig.disk(), rig.clock(), rig.random(), bare.place, bare.settings, tool, file);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::corrupt);
  EXPECT_FALSE(rig.disk().info(bare.settings.data_dir));
  EXPECT_FALSE(rig.disk().info(bare.place.root + "/cluster"));
}

TEST_P(BackupTest, ASurvivingVoterGoesOnAloneAndRefusesTheOthers) {
  const Machine one = machine("one");
  ASSERT_NO_FATAL_FAILURE(found(one, "before"));
  ASSERT_TRUE(record(channel(one), "kept"));
  const auto wire = runtime.maintenance()(channel(one)).value();
  // A second voter that never comes takes the quorum away.
  const std::string absent = "https://127.0.0.1:" + std::to_string(meta::etcd::testing::free_port());
  ASSERT_TRUE(run(wire->member_add(absent, false, 5s)));
  ASSERT_FALSE(record(channel(one), "lost"));
  for (const char* name : {"node.crt", "node.key"}) {  // what a member of before has
    const auto text = pki::read_file(rig.disk(), one.place.root + "/cluster/" + name).value();
    ASSERT_TRUE(pki::replace_file(rig.disk(), rig.folder() + "/" + name, text, io::OpenMode::create));
  }

  std::vector<std::string> steps;
  const RecoverPorts ports{.disk = rig.disk(),
                           .clock = rig.clock(),
                           .random = rig.random(),
                           .channels = runtime.maintenance(),
                           .say = [&steps](const std::string& step) { steps.push_back(step); }};
  const auto made = run(recover(ports, one.place, one.settings));
  ASSERT_TRUE(made) << describe(made.error());
  EXPECT_GE(steps.size(), 4U);
  EXPECT_EQ(pki::read_cluster_folder(rig.disk(), one.place.root).value()->cluster, made->cluster);
  const auto marker = read_marker(rig.disk(), one.settings.data_dir).value();
  EXPECT_EQ(marker->cluster, made->cluster);
  EXPECT_FALSE(marker->member.empty());
  EXPECT_EQ(record(channel(one), "after").value_or("none"), "after");
  const std::string folder = rig.folder();
  const ChannelSettings stranger{
      .endpoint = client_url(one.settings),
      .tls = meta::etcd::ClientTls{one.settings.ca, folder + "/node.crt", folder + "/node.key"},
      .user = {},
      .password = {}};
  EXPECT_FALSE(run(runtime.maintenance()(stranger).value()->status(1s)));
}

TEST_P(BackupTest, DataFromAnotherDiskAreNothingToRecoverFrom) {
  const Machine one = machine("one");
  ASSERT_NO_FATAL_FAILURE(found(one, "before"));
  const RecoverPorts ports{.disk = rig.disk(),
                           .clock = rig.clock(),
                           .random = rig.random(),
                           .channels = runtime.maintenance(),
                           .say = [](const std::string&) {}};
  auto elsewhere = one.place;
  elsewhere.disk = "another";
  EXPECT_EQ(run(recover(ports, elsewhere, one.settings)).error().code, ErrorCode::precondition);
  ASSERT_TRUE(write_marker(rig.disk(), one.settings.data_dir, {"", one.place.disk, "another"}));
  EXPECT_EQ(run(recover(ports, one.place, one.settings)).error().code, ErrorCode::precondition);
}

INSTANTIATE_TEST_SUITE_P(Etcd, BackupTest,
                         testing::Values(Kind{"v34", meta::etcd::testing::debian_etcd},
                                         Kind{"v36", meta::etcd::testing::current_etcd}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace hansa::voters
