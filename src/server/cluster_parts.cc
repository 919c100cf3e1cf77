#include "server/cluster_parts.h"

#include <algorithm>

#include "io/wait.h"
#include "oci/digest.h"
#include "pki/files.h"
#include "pki/join.h"
#include "pki/join_token.h"
#include "pki/mac.h"
#include "server/config/units.h"
#include "voters/backup.h"

namespace hansa::server {
namespace {

constexpr io::Duration join_again = std::chrono::seconds(1);
constexpr io::Duration care_interval = std::chrono::seconds(5);
// Each call has a limit of its own, longer for what takes longer: an fsync of a blob of many GiB.
constexpr io::Duration peer_answer_limit = std::chrono::hours(1);

io::Task<void> close_scope(io::TaskScope* scope) {
  co_await scope->close();
}

// One try; then a pause, so that the caller can look whether to go on.
io::Task<void> try_join(http::Client* client, pki::JoinUrl url, std::string request, Result<std::string>* out) {
  *out = co_await peer::call_join(*client, url.address, url.fingerprint, std::move(request));
  if (*out || out->error().code == ErrorCode::denied || out->error().code == ErrorCode::invalid) co_return;
  auto slept = co_await io::sleep_for(join_again);
  if (!slept) *out = std::move(slept).error();
}

io::Task<void> ask_voters(voters::ManagedEtcd* keeper, voters::OwnStart own, Result<void>* out) {
  *out = co_await keeper->fence(std::move(own), node::ClusterOptions().prefix);
}

node::VotersWord word_of(const voters::ManagedEtcd& keeper) {
  node::VotersWord word;
  const std::string json = keeper.status_json();
  if (json.empty()) return word;
  word.json = json;
  word.degraded = keeper.degraded();
  word.needed = keeper.needed();
  return word;
}

// What must be the same on all members, as this one's configuration had it at the start: shown where it is not.
std::map<std::string, std::string> rules_of(const config::Config& config) {
  const auto fingerprint = [](const std::string& text) {
    constexpr std::size_t shown = 16;  // hexadecimal digits: enough to tell two apart
    return oci::Digest::compute(oci::Algorithm::sha256, as_bytes(text)).hex().substr(0, shown);
  };
  const std::string access = config.http.policy ? config.http.policy->canonical() : "everyone may do everything";
  return {{"storage.gc", config.storage.gc ? "true" : "false"},
          {"storage.gcDelay", config::format_duration(config.storage.gc_delay)},
          {"storage.retention", fingerprint(config.storage.retention.canonical)},
          {"storage.gcInterval", config::format_duration(config.storage.gc_interval)},
          {"http.accessControl", fingerprint(access)}};
}

Error not_a_member(const std::string& root) {
  return make_error(
      ErrorCode::invalid, Subject::config,
      "this machine is in no cluster yet (there is no " + root +
          "/cluster), but the configuration has \"cluster\". Found one with: hansa cluster init CONFIG; or "
          "join one with: hansa serve --join URL CONFIG");
}

}  // namespace

Result<bool> is_member(io::Disk& disk, const config::Config& config, const std::string& join) {
  HANSA_TRY(const auto folder, pki::read_cluster_folder(disk, config.storage.root));
  if (folder || !join.empty() || config.cluster.etcd) return true;
  if (config.cluster.configured) return not_a_member(config.storage.root);
  return false;
}

voters::EtcdSettings etcd_settings(const config::Config& config, const std::string& node) {
  const auto paths = pki::cluster_paths(config.storage.root);
  const auto& managed = config.cluster.managed;
  const auto peer = config::parse_host_port(config.cluster.peer);
  voters::EtcdSettings out;
  out.binary = managed.binary;
  out.data_dir = managed.data_dir.empty() ? config.storage.root + "/etcd" : managed.data_dir;
  out.name = node;
  out.host = peer ? peer->host : "localhost";
  out.listen = config.cluster.listen;
  out.client_port = managed.client_port;
  out.peer_port = managed.peer_port;
  out.ca = paths.ca;
  out.certificate = paths.certificate;
  out.key = paths.key;
  out.quota = managed.quota;
  return out;
}

std::vector<std::string> hosts_of(const config::Config& config) {
  std::vector<std::string> out{"localhost", "127.0.0.1"};
  const auto peer = config::parse_host_port(config.cluster.peer);
  if (peer && std::ranges::find(out, peer->host) == out.end()) out.push_back(peer->host);
  return out;
}

Result<std::unique_ptr<ClusterParts>> ClusterParts::open(ClusterEnvironment environment, const config::Config& config,
                                                         const std::string& join, const std::function<bool()>& stop) {
  std::unique_ptr<ClusterParts> parts(new ClusterParts(environment, config));
  const std::string& root = config.storage.root;
  HANSA_TRY(parts->identity_, node::prepare_identity(environment.disk, environment.random, root));
  HANSA_TRY(parts->folder_, pki::read_cluster_folder(environment.disk, root));
  if (!parts->folder_ && !join.empty()) HANSA_CHECK(parts->join(join, stop));
  if (parts->folder_) {
    parts->secret_ = parts->folder_->secret;
  } else if (!config.cluster.hash_key.empty()) {
    parts->secret_ = pki::hmac_sha256_hex(config.cluster.hash_key, "hansa cluster secret");
  } else {
    return make_error(
        ErrorCode::invalid, Subject::config,
        "cluster.hashKey is missing; members on an etcd of your own prove to each other who they are by it");
  }
  HANSA_CHECK(parts->open_metadata(stop));
  parts->loaded_ = parts->certificates_now();
  HANSA_CHECK(parts->open_peers());
  return parts;
}

ClusterParts::~ClusterParts() = default;

Result<void> ClusterParts::join(const std::string& url, const std::function<bool()>& stop) {
  HANSA_TRY(const auto target, pki::parse_join_url(url));
  HANSA_TRY(const std::string key, pki::make_key());
  pki::JoinRequest request;
  request.token = target.token;
  request.node = identity_.node;
  HANSA_TRY(request.public_key, pki::public_key_of(key));
  request.hosts = hosts_of(config_);
  request.peer = config_.cluster.peer;
  request.url = config_.cluster.url;
  request.etcd_host = etcd_settings(config_, identity_.node).host;
  request.etcd_peer_port = config_.cluster.managed.peer_port;
  HANSA_TRY(const auto client, http::Client::make(e_.loops, {}));
  bool told = false;
  while (true) {
    Result<std::string> answer = make_error(ErrorCode::internal, "no answer");
    io::asio::run_until_told(e_.loops.executor(0), try_join(client.get(), target, encode(request), &answer), stop);
    if (answer) {
      HANSA_TRY(const auto joined, pki::decode_join_answer(*answer));
      HANSA_CHECK(pki::keep_join_answer(e_.disk, config_.storage.root, joined, key));
      e_.log.info("joined the cluster", {{"cluster", joined.folder.cluster}, {"node", identity_.node}});
      folder_ = joined.folder;
      return {};
    }
    if (answer.error().code == ErrorCode::cancelled) return std::move(answer).error();
    const bool final = answer.error().code == ErrorCode::denied || answer.error().code == ErrorCode::invalid;
    if (final) return std::move(answer).error().with_context("joining through " + target.address);
    if (!std::exchange(told, true)) {
      e_.log.warn("waiting for the cluster to answer", {{"member", target.address}, {"error", answer.error().message}});
    }
  }
}

Result<void> ClusterParts::open_metadata(const std::function<bool()>& stop) {
  runtime_ = std::make_unique<meta::etcd::GrpcRuntime>();
  if (config_.cluster.etcd) return {};
  voters::KeeperOptions options;
  options.etcd = etcd_settings(config_, identity_.node);
  options.node = identity_.node;
  options.disk = identity_.disk;
  options.cluster = folder_->cluster;
  options.voters = config_.cluster.managed.voters;
  options.endpoints = folder_->endpoints;
  options.snapshot_interval = config_.cluster.managed.snapshot_interval;
  options.snapshot_folder = pki::cluster_paths(config_.storage.root).folder + "/snapshots";
  HANSA_CHECK(mind_certificate());
  keeper_ = std::make_unique<voters::ManagedEtcd>(voters::ManagedEtcd::Ports{.disk = e_.disk,
                                                                             .clock = e_.clock,
                                                                             .log = e_.log,
                                                                             .maintenance = runtime_->maintenance(),
                                                                             .channels = runtime_->channels()},
                                                  std::move(options));
  HANSA_TRY(const bool ask, keeper_->must_ask());
  if (ask) {
    Result<void> asked = make_error(ErrorCode::internal, "nobody was asked");
    voters::OwnStart own{.node = identity_.node,
                         .disk = identity_.disk,
                         .boot = identity_.boot,
                         .next = identity_.next,
                         .at = identity_.at,
                         .marks = identity_.marks};
    io::asio::run_until_told(e_.loops.executor(0), ask_voters(keeper_.get(), std::move(own), &asked), stop);
    HANSA_CHECK(std::move(asked));
  }
  return keeper_->open();
}

Result<void> ClusterParts::open_peers() {
  const auto paths = pki::cluster_paths(config_.storage.root);
  peer::PeerOptions options;
  options.self = io::NodeId(identity_.node);
  options.secret = secret_;
  options.traffic = &e_.traffic;
  options.limits.answer_timeout = peer_answer_limit;
  if (folder_ && folder_->managed) {
    options.tls = peer::PeerTls{.ca = paths.ca, .certificate = paths.certificate, .key = paths.key};
  } else if (config_.cluster.tls) {
    const auto& tls = *config_.cluster.tls;
    options.tls = peer::PeerTls{.ca = tls.ca, .certificate = tls.certificate, .key = tls.key};
    options.identity_is_host = true;
  }
  HANSA_TRY(peers_, peer::HttpPeers::make(e_.loops, e_.random, std::move(options),
                                          [this](const io::NodeId& id) { return directory_.find(id); }));
  http::ServerOptions listen;
  const auto peer = config::parse_host_port(config_.cluster.peer);
  if (!peer) return make_error(ErrorCode::invalid, Subject::config, "cluster.node.peer is missing: host:port");
  listen.address = config_.cluster.listen;
  listen.port = peer->port;
  listen.tls = peers_->server_tls();
  listen.traffic = &e_.traffic;
  peer::JoinHandler join = [this](std::string request, std::string client) {
    return answer_join(std::move(request), std::move(client));
  };
  auto listening = http::listen(e_.loops, std::move(listen), peers_->handler(std::move(join)), e_.log);
  if (!listening) return std::move(listening).error().with_context("cluster.node.peer " + config_.cluster.peer);
  listener_ = std::move(*listening);
  return {};
}

node::ClusterOptions ClusterParts::options() const {
  node::ClusterOptions out;
  if (config_.cluster.etcd) {
    const auto& etcd = *config_.cluster.etcd;
    for (const auto& endpoint : etcd.endpoints) {
      meta::etcd::ChannelSettings settings;
      settings.endpoint = endpoint;
      settings.user = etcd.user;
      settings.password = etcd.password;
      if (etcd.tls) {
        settings.tls = meta::etcd::ClientTls{
            .ca = etcd.tls->ca, .certificate = etcd.tls->certificate, .key = etcd.tls->key, .issue = issue_};
      }
      out.endpoints.push_back(std::move(settings));
    }
    out.prefix = etcd.prefix;
    out.quota = etcd.quota;
  } else {
    out.endpoints = keeper_->endpoints();
    out.quota = config_.cluster.managed.quota;
  }
  if (keeper_) out.voters = [keeper = keeper_.get()] { return word_of(*keeper); };
  out.url = config_.cluster.url;
  out.peer = config_.cluster.peer;
  if (folder_) out.cluster = folder_->cluster;
  out.secret = secret_;
  out.rules = rules_of(config_);
  out.max_staleness = config_.cluster.max_staleness;
  out.route = config_.cluster.route;
  out.fill_rate = config_.cluster.fill_rate;
  out.fills = config_.cluster.fills;
  return out;
}

void ClusterParts::give(node::Ports& ports) {
  ports.peers = peers_.get();
  ports.directory = &directory_;
  ports.channels = runtime_->channels();
}

void ClusterParts::run(node::Node& node) {
  node_ = &node;
  scope_ = std::make_unique<io::TaskScope>(e_.loops.executor(0));
  if (keeper_) {
    // The start may have found that this is another disk than its files say.
    const auto now = node::read_identity(e_.disk, config_.storage.root);
    if (now && *now) keeper_->set_disk((*now)->disk);
  }
  e_.loops.executor(0).post([this, &node] {
    if (keeper_) {
      keeper_->run(*scope_, node.metadata(), node.catalogue(), [&node](std::vector<meta::etcd::ChannelSettings> now) {
        node.set_metadata_endpoints(std::move(now));
      });
    }
    scope_->spawn("care", care_loop());
  });
}

void ClusterParts::stop_listening() {
  if (listener_) listener_->stop();
  if (scope_) io::asio::run_and_wait(e_.loops.executor(0), close_scope(scope_.get()));
  scope_.reset();
  if (keeper_) keeper_->forget();
}

void ClusterParts::close_peers() {
  listener_.reset();
  peers_.reset();
}

void ClusterParts::stop() {
  keeper_.reset();
  runtime_.reset();
}

// ---- joins, certificates, hints ---------------------------------------------------------------------------------

Result<std::string> ClusterParts::join_url() const {
  if (!folder_ || !folder_->managed) {
    return make_error(ErrorCode::unsupported, Subject::request,
                      "a cluster on an etcd of your own has no join URLs: give the new machine the same configuration");
  }
  HANSA_TRY(const auto ca, pki::read_file(e_.disk, pki::cluster_paths(config_.storage.root).ca));
  HANSA_TRY(const auto fingerprint, pki::authority_fingerprint(ca));
  const auto token =
      pki::make_join_token(secret_, fingerprint, token_generation, e_.clock.wall() + pki::join_token_life);
  return pki::join_url(config_.cluster.peer, token);
}

io::Task<Result<std::string>> ClusterParts::answer_join(std::string text, std::string client) {
  if (!folder_ || !folder_->managed) {
    co_return make_error(ErrorCode::unsupported, Subject::request, "this cluster takes no machines by join URLs");
  }
  auto work = [this, &text]() -> Result<std::string> {
    HANSA_TRY(const auto request, pki::decode_join_request(text));
    const auto paths = pki::cluster_paths(config_.storage.root);
    pki::JoinTerms terms;
    {
      const std::lock_guard guard(folder_mutex_);
      terms.folder = *folder_;
    }
    terms.generation = token_generation;
    terms.etcd_quota = config_.cluster.managed.quota;
    terms.now = e_.clock.wall();
    HANSA_TRY(terms.authority.certificate, pki::read_file(e_.disk, paths.ca));
    HANSA_TRY(terms.authority.key, pki::read_file(e_.disk, paths.ca_key));
    terms.folder.endpoints = keeper_->known();
    HANSA_TRY(const auto answer, pki::answer_join(terms, request));
    return encode(answer);
  };
  auto answer = co_await io::blocking(io::Pool::auth, std::move(work));
  if (answer) {
    e_.log.info("a machine joins", {{"address", client}});
  } else {
    e_.log.warn("a machine may not join", {{"address", client}, {"error", answer.error().message}});
  }
  co_return answer;
}

io::Task<Result<std::string>> ClusterParts::backup(std::string file) {
  if (!file.starts_with('/')) {
    co_return make_error(ErrorCode::invalid, Subject::request, "name the backup's file by its whole path");
  }
  const auto endpoints = options().endpoints;
  voters::BackupSource source;
  HANSA_CO_TRY(source.channel, runtime_->channels()(endpoints.front()));
  HANSA_CO_TRY(source.maintenance, runtime_->maintenance()(endpoints.front()));
  source.prefix = options().prefix;
  source.cluster = folder_ ? folder_->cluster : "";
  HANSA_CO_TRY(const auto info, co_await voters::backup(e_.disk, e_.clock, std::move(source), file));
  co_return "the metadata up to revision " + std::to_string(info.revision) + " is in " + file + " (" +
      std::to_string(info.size) + " bytes); blobs are not in it";
}

// What the files of the peers' and of etcd's certificates hold, as one text. One that cannot be read is as if empty.
std::string ClusterParts::certificates_now() const {
  std::vector<std::string> files;
  if (folder_ && folder_->managed) {
    const auto paths = pki::cluster_paths(config_.storage.root);
    files = {paths.ca, paths.certificate, paths.key};
  }
  if (config_.cluster.tls) {
    files = {config_.cluster.tls->ca, config_.cluster.tls->certificate, config_.cluster.tls->key};
  }
  if (config_.cluster.etcd && config_.cluster.etcd->tls) {
    const auto& tls = *config_.cluster.etcd->tls;
    for (const auto& file : {tls.ca, tls.certificate, tls.key}) files.push_back(file);
  }
  std::string all;
  for (const auto& file : files) {
    const auto text = file.empty() ? Result<std::string>(std::string()) : pki::read_file(e_.disk, file);
    all += oci::Digest::compute(oci::Algorithm::sha256, as_bytes(text ? *text : std::string())).hex();
  }
  return all;
}

// Remembers where etcd is, for the next start; renews this member's certificate in time; and takes the certificates
// into use that the files hold now, whoever wrote them. What fails is tried again.
Result<void> ClusterParts::care() {
  if (folder_ && folder_->managed) {
    HANSA_CHECK(keep_endpoints());
    HANSA_CHECK(mind_certificate());
  }
  std::string now = certificates_now();
  if (now == loaded_) return {};
  HANSA_CHECK(peers_->reload_tls());
  HANSA_CHECK(listener_->reload_tls());
  ++issue_;
  if (keeper_) {
    keeper_->renew_channels();
  } else {
    node_->set_metadata_endpoints(options().endpoints);
  }
  loaded_ = std::move(now);
  e_.log.info("the certificates of this member were read again", {});
  return {};
}

Result<void> ClusterParts::keep_endpoints() {
  const auto known = keeper_->known();
  if (known == folder_->endpoints || known.empty()) return {};
  pki::ClusterFolder folder = *folder_;
  folder.endpoints = known;
  HANSA_CHECK(pki::write_cluster_folder(e_.disk, config_.storage.root, folder));
  const std::lock_guard guard(folder_mutex_);
  folder_->endpoints = known;
  return {};
}

// Whether it was renewed: in time, and when it does not name this machine as its configuration does now.
Result<bool> ClusterParts::mind_certificate() {
  const auto paths = pki::cluster_paths(config_.storage.root);
  HANSA_TRY(const auto pem, pki::read_file(e_.disk, paths.certificate));
  HANSA_TRY(const auto info, pki::inspect_certificate(pem));
  const auto hosts = hosts_of(config_);
  HANSA_TRY(const bool named, pki::names_all(pem, hosts));
  if (named && !pki::renewal_due(info, e_.clock.wall())) return false;
  pki::Authority authority;
  HANSA_TRY(authority.certificate, pki::read_file(e_.disk, paths.ca));
  HANSA_TRY(authority.key, pki::read_file(e_.disk, paths.ca_key));
  HANSA_TRY(const auto key, pki::read_file(e_.disk, paths.key));
  HANSA_TRY(const auto half, pki::public_key_of(key));
  HANSA_TRY(const auto fresh,
            pki::issue_certificate(authority, {.node = identity_.node, .hosts = hosts}, half, e_.clock.wall()));
  HANSA_CHECK(pki::replace_file(e_.disk, paths.certificate, fresh, io::OpenMode::create));
  e_.log.info("this member's certificate was renewed", {});
  return true;
}

io::Task<void> ClusterParts::care_loop() {
  while (true) {
    auto work = [this] { return care(); };
    auto cared = co_await io::blocking(io::Pool::auth, std::move(work));
    if (!cared) e_.log.error("the cluster's folder of this machine", {{"error", cared.error().message}});
    auto slept = co_await io::sleep_for(care_interval);
    if (!slept) co_return;
  }
}

}  // namespace hansa::server
