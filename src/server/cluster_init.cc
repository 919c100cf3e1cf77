#include "server/cluster_init.h"

#include <cstdio>

#include "io/asio/event_loops.h"
#include "io/asio/posix_disk.h"
#include "io/wait.h"
#include "meta/sqlite/store.h"
#include "pki/authority.h"
#include "pki/files.h"
#include "pki/join_token.h"
#include "server/cluster_parts.h"
#include "server/command_parts.h"
#include "voters/backup.h"
#include "voters/found.h"
#include "voters/process.h"

namespace hansa::server {
namespace {

constexpr std::size_t nonce_bytes = 16;
constexpr std::size_t secret_bytes = 32;
constexpr io::Duration etcd_patience = std::chrono::seconds(15);
constexpr std::string_view prefix = "hansa/";

struct Tools {
  std::unique_ptr<io::Clock> clock = io::asio::real_clock();
  std::unique_ptr<io::Random> random = io::asio::real_random();
  std::unique_ptr<io::Disk> disk = io::asio::posix_disk();
  std::unique_ptr<ServerLog> log;
};

Result<void> write_authority(Tools& tools, const config::Config& config, const std::string& node) {
  const auto paths = pki::cluster_paths(config.storage.root);
  HANSA_CHECK(tools.disk->make_directories(paths.folder));
  const io::WallTime now = tools.clock->wall();
  HANSA_TRY(const auto authority, pki::create_authority(now));
  HANSA_TRY(const std::string key, pki::make_key());
  HANSA_TRY(const std::string half, pki::public_key_of(key));
  HANSA_TRY(const auto chain, pki::issue_certificate(authority, {.node = node, .hosts = hosts_of(config)}, half, now));
  HANSA_CHECK(pki::replace_file(*tools.disk, paths.ca, authority.certificate, io::OpenMode::create));
  HANSA_CHECK(pki::replace_file(*tools.disk, paths.ca_key, authority.key, io::OpenMode::create_private));
  HANSA_CHECK(pki::replace_file(*tools.disk, paths.certificate, chain, io::OpenMode::create));
  return pki::replace_file(*tools.disk, paths.key, key, io::OpenMode::create_private);
}

// What an init that was broken off left is of no use: nothing refers to it.
Result<void> start_etcd(Tools& tools, voters::EtcdProcess& process, const node::Identity& identity,
                        const std::string& cluster) {
  HANSA_CHECK(process.stop(std::chrono::seconds(5)));
  HANSA_CHECK(tools.disk->make_directories(process.settings().data_dir));
  HANSA_CHECK(process.put_data_aside());
  HANSA_CHECK(voters::write_marker(*tools.disk, process.settings().data_dir,
                                   {.member = "", .disk = identity.disk, .cluster = cluster}));
  return process.start(voters::EtcdStart::founding,
                       process.settings().name + "=" + voters::peer_url(process.settings()));
}

io::Task<void> await_etcd(meta::etcd::Channel* channel, io::Clock* clock, Result<void>* out) {
  const io::MonotonicTime began = clock->monotonic();
  while (true) {
    auto read = co_await channel->range({.key = std::string(prefix), .end = {}}, std::chrono::seconds(1));
    if (read) {
      *out = Result<void>{};
      co_return;
    }
    *out = std::move(read).error();
    if (clock->monotonic() - began > etcd_patience) co_return;
    auto slept = co_await io::sleep_for(std::chrono::milliseconds(100));
    if (!slept) co_return;
  }
}

io::Task<void> copy(meta::MetadataStore* from, meta::etcd::Channel* to, Result<std::uint64_t>* out) {
  *out = co_await voters::copy_records(*from, *to, std::string(prefix));
}

Result<std::uint64_t> take_over(Tools& tools, const config::Config& config, const voters::EtcdSettings& etcd) {
  io::asio::EventLoops loops(1);
  Result<std::uint64_t> copied = std::uint64_t{0};
  {
    meta::etcd::GrpcRuntime runtime;
    meta::etcd::ChannelSettings settings;
    settings.endpoint = voters::client_url(etcd);
    settings.tls = meta::etcd::ClientTls{.ca = etcd.ca, .certificate = etcd.certificate, .key = etcd.key};
    HANSA_TRY(const auto channel, runtime.channels()(settings));
    Result<void> up;
    io::asio::run_and_wait(loops.executor(0), await_etcd(channel.get(), tools.clock.get(), &up));
    const std::string database = config.storage.root + "/hansa.db";
    const bool has_data = tools.disk->info(database).has_value();
    if (!up) {
      copied = std::move(up).error().with_context("etcd was started but does not answer");
    } else if (has_data) {
      meta::sqlite::StoreOptions options;
      options.database.path = database;
      auto store = meta::sqlite::Store::open(*tools.disk, *tools.clock, *tools.log, std::move(options), {});
      if (store) {
        io::asio::run_and_wait(loops.executor(0), copy(store->get(), channel.get(), &copied));
        (*store)->close();
      } else {
        copied = std::move(store).error();
      }
    }
  }
  loops.stop();
  return copied;
}

Result<void> put_database_aside(io::Disk& disk, const std::string& root) {
  for (const char* end : {"-wal", "-shm", ""}) {
    const std::string path = root + "/hansa.db" + end;
    if (!disk.info(path)) continue;
    HANSA_CHECK(disk.rename(path, path + ".before-cluster"));
  }
  return disk.sync_directory(root);
}

}  // namespace

Result<Founded> init_cluster(const config::Config& config) {
  if (config.cluster.etcd) {
    return make_error(ErrorCode::unsupported, Subject::config,
                      "cluster.metadata.etcd names an etcd of your own: the first member that starts founds the "
                      "cluster there; hansa serve CONFIG is enough");
  }
  if (config.cluster.peer.empty()) {
    return make_error(ErrorCode::invalid, Subject::config,
                      "http.address does not say where other members reach this machine; set cluster.node.url");
  }
  const std::string& root = config.storage.root;
  Tools tools;
  HANSA_TRY(tools.log, quiet_log(*tools.clock));
  HANSA_CHECK(tools.disk->make_directories(root));
  auto lock = tools.disk->lock(root);
  if (!lock && lock.error().code == ErrorCode::conflict) {
    return std::move(lock).error().with_context("stop the server that uses this folder first");
  }
  if (!lock) return std::move(lock).error();
  HANSA_TRY(const auto before, pki::read_cluster_folder(*tools.disk, root));
  if (before) {
    return make_error(ErrorCode::exists, "this machine is a member of a cluster already (" + root +
                                             "/cluster); hansa cluster token prints a join URL");
  }
  HANSA_TRY(const auto identity, node::prepare_identity(*tools.disk, *tools.random, root));
  const voters::EtcdSettings etcd = etcd_settings(config, identity.node);
  pki::ClusterFolder folder;
  folder.cluster = tools.random->hex(nonce_bytes);
  folder.secret = tools.random->hex(secret_bytes);
  folder.managed = true;
  folder.endpoints = {voters::client_url(etcd)};
  folder.peers = {config.cluster.peer};
  HANSA_CHECK(write_authority(tools, config, identity.node));
  voters::EtcdProcess process(*tools.disk, *tools.clock, etcd);
  HANSA_CHECK(start_etcd(tools, process, identity, folder.cluster));
  Founded out;
  auto records = take_over(tools, config, etcd);
  if (!records) {
    static_cast<void>(process.stop(std::chrono::seconds(5)).has_value());
    return std::move(records).error().with_context("the cluster is not founded");
  }
  out.records = *records;
  HANSA_CHECK(pki::write_cluster_folder(*tools.disk, root, folder));
  HANSA_CHECK(put_database_aside(*tools.disk, root));
  const auto paths = pki::cluster_paths(root);
  HANSA_TRY(const auto ca, pki::read_file(*tools.disk, paths.ca));
  HANSA_TRY(const auto fingerprint, pki::authority_fingerprint(ca));
  out.join_url = pki::join_url(config.cluster.peer, pki::make_join_token(folder.secret, fingerprint, token_generation,
                                                                         tools.clock->wall() + pki::join_token_life));
  return out;
}

namespace {

struct Place {
  std::unique_ptr<io::DirectoryLock> lock;
  voters::ClusterPlace place;
  voters::EtcdSettings etcd;
};

Result<Place> place_of(Tools& tools, const config::Config& config) {
  HANSA_TRY(tools.log, quiet_log(*tools.clock));
  HANSA_CHECK(tools.disk->make_directories(config.storage.root));
  Place out;
  auto lock = tools.disk->lock(config.storage.root);
  if (!lock) return std::move(lock).error().with_context("stop the server that uses this folder first");
  out.lock = std::move(*lock);
  HANSA_TRY(const auto identity, node::prepare_identity(*tools.disk, *tools.random, config.storage.root));
  out.place = {.root = config.storage.root, .node = identity.node, .disk = identity.disk, .hosts = hosts_of(config)};
  out.etcd = etcd_settings(config, identity.node);
  return out;
}

io::Task<void> recover_into(voters::RecoverPorts ports, voters::ClusterPlace place, voters::EtcdSettings settings,
                            Result<voters::NewCluster>* out) {
  *out = co_await voters::recover(std::move(ports), std::move(place), std::move(settings));
}

}  // namespace

Result<std::vector<std::string>> restore_cluster(const config::Config& config, const std::string& file) {
  Tools tools;
  HANSA_TRY(auto place, place_of(tools, config));
  // The tool stands beside the program: etcdutl from 3.5 on, etcdctl before.
  const auto slash = place.etcd.binary.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : place.etcd.binary.substr(0, slash + 1);
  const bool newer = tools.disk->info(folder + "etcdutl").has_value();
  HANSA_TRY(const auto made, voters::restore(*tools.disk, *tools.clock, *tools.random, std::move(place.place),
                                             std::move(place.etcd), folder + (newer ? "etcdutl" : "etcdctl"), file));
  return made.notes;
}

Result<std::vector<std::string>> recover_cluster(const config::Config& config) {
  Tools tools;
  HANSA_TRY(auto place, place_of(tools, config));
  io::asio::EventLoops loops(1);
  Result<voters::NewCluster> made = make_error(ErrorCode::internal, "the recovery did not run");
  {
    meta::etcd::GrpcRuntime runtime;
    voters::RecoverPorts ports{.disk = *tools.disk,
                               .clock = *tools.clock,
                               .random = *tools.random,
                               .channels = runtime.maintenance(),
                               .say = [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); }};
    io::asio::run_and_wait(loops.executor(0),
                           recover_into(std::move(ports), std::move(place.place), std::move(place.etcd), &made));
  }
  loops.stop();
  if (!made) return std::move(made).error();
  return made->notes;
}

}  // namespace hansa::server
