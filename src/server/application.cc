#include "server/application.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <sstream>

#include "api/api.h"
#include "api/distribution/distribution.h"
#include "io/asio/posix_disk.h"
#include "node/reserve.h"
#include "server/config/units.h"
#include "server/import.h"
#include "server/open_files.h"
#include "server/service_manager.h"
#include "server/version.h"

namespace hansa::server {
namespace {

constexpr int settle_ms = 150;                          // files rest for so long before they are read again
constexpr std::size_t max_htpasswd = 16 * 1024 * 1024;  // bytes

sigset_t handled_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&set, number);
  return set;
}

// A signal to end waits to be taken; run() takes it.
bool told_to_stop() {
  sigset_t pending;
  ::sigemptyset(&pending);
  ::sigpending(&pending);
  return ::sigismember(&pending, SIGINT) == 1 || ::sigismember(&pending, SIGTERM) == 1;
}

io::Task<void> start_into(node::Ports ports, node::Options options, Result<std::unique_ptr<node::Node>>* out) {
  *out = co_await node::Node::start(ports, std::move(options));
}

io::Task<void> close_scope(io::TaskScope* scope) {
  co_await scope->close();
}

io::Task<void> stop_node(node::Node* node) {
  co_await node->stop();
}

// The node's errors name files; this adds what to do.
Error explain_start(Error error, const std::string& root) {
  std::string advice;
  switch (error.code) {
    case ErrorCode::out_of_space: advice = "; make space on this disk"; break;
    case ErrorCode::io:
    case ErrorCode::not_found:
      advice = "; the folder must exist or be creatable, and be writable for this user (see storage.rootDirectory)";
      break;
    default: break;
  }
  error.message += advice;
  return std::move(error).with_context("cannot start on the data in " + root);
}

// What a reload cannot change.
bool needs_restart(const config::Config& a, const config::Config& b) {
  const auto tls = [](const config::Config& c) { return c.http.tls.value_or(http::TlsFiles{}); };
  const bool same_tls =
      tls(a).certificate == tls(b).certificate && tls(a).key == tls(b).key && tls(a).client_ca == tls(b).client_ca;
  return a.storage.root != b.storage.root || a.storage.gc != b.storage.gc || a.storage.gc_delay != b.storage.gc_delay ||
         a.storage.gc_interval != b.storage.gc_interval || a.storage.retention.delay != b.storage.retention.delay ||
         a.storage.retention.canonical != b.storage.retention.canonical ||
         a.storage.verify_every != b.storage.verify_every || a.http.address != b.http.address ||
         a.http.port != b.http.port || a.http.allow_origin != b.http.allow_origin ||
         a.http.transfer_timeout != b.http.transfer_timeout || a.http.limits != b.http.limits || !same_tls ||
         a.log_output != b.log_output || a.audit_output != b.audit_output || a.metrics_path != b.metrics_path ||
         a.scrub_interval != b.scrub_interval || a.cluster != b.cluster;
}

// Whether the users of `fresh` without its TLS, which a reload does not change, would let everybody in, though neither
// of the two files does so by itself.
bool opens_until_restart(const config::Http& now, const config::Http& fresh) {
  const bool fresh_has_login = !fresh.htpasswd.empty() || fresh.client_certificates();
  const bool now_has_login = !now.htpasswd.empty() || now.client_certificates();
  return now_has_login && fresh_has_login && fresh.htpasswd.empty() && !now.client_certificates();
}

}  // namespace

void block_signals() {
  const sigset_t set = handled_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

node::Options node_options(const config::Config& config) {
  node::Options options;
  options.root = config.storage.root;
  options.gc = config.storage.gc;
  options.gc_delay = config.storage.gc_delay;
  options.gc_interval = config.storage.gc_interval;
  options.untagged_grace = config.storage.retention.delay;
  options.retention = config.storage.retention.rules;
  options.verify_every = config.storage.verify_every;
  options.scrub_interval = config.scrub_interval.value_or(io::Duration::zero());
  options.reserve = node::default_reserve;
  return options;
}

Result<auth::AuthSettings> auth_settings(const config::Config& config, Logger& log) {
  auth::AuthSettings settings;
  settings.realm = config.http.realm;
  settings.fail_delay = config.http.fail_delay;
  settings.client_certificates = config.http.client_certificates();
  settings.policy = config.http.policy;
  if (config.http.htpasswd.empty()) return settings;
  const std::string& path = config.http.htpasswd;
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  if (stream.is_open() && stream.peek() != std::ifstream::traits_type::eof()) text << stream.rdbuf();
  if (!stream.is_open() || stream.bad() || text.str().size() > max_htpasswd) {
    return make_error(
        ErrorCode::io, Subject::config,
        "http.auth.htpasswd.path: cannot read " + path + "; check that the file exists and its permissions");
  }
  settings.users = auth::Htpasswd::parse(text.str());
  for (const auto& warning : settings.users->warnings()) log.warn("htpasswd", {{"file", path}, {"warning", warning}});
  return settings;
}

Application::Application(config::Config config, io::Clock& clock, ServerLog& log, std::string join)
    : config_(std::move(config)), clock_(clock), log_(log), join_(std::move(join)) {}

Application::~Application() {
  stop();
}

Result<void> Application::start() {
  for (const auto& warning : config_.warnings) log_.warn("configuration", {{"file", config_.file}, {"key", warning}});
  if (!config_.audit_output.empty()) {
    HANSA_TRY(audit_, ServerLog::open(clock_, {.level = LogLevel::info, .file = config_.audit_output, .text = false}));
  }
  find_limits();
  random_ = io::asio::real_random();
  disk_ = io::asio::posix_disk();
  HANSA_TRY(auto settings, auth_settings(config_, log_));
  authenticator_ = std::make_unique<auth::BasicAuthenticator>(clock_, *random_, std::move(settings));
  loops_ = std::make_unique<io::asio::EventLoops>();
  HANSA_CHECK(start_node());
  HANSA_CHECK(import_layouts());
  HANSA_CHECK(listen());
  return open_doors();
}

// The limits in force; what the system does not allow is said, and said louder if somebody asked for it.
void Application::find_limits() {
  const std::uint64_t files = raise_open_files();
  limits_ = fit(config_.http.limits, files);
  if (limits_ == config_.http.limits) return;
  const std::string_view text = "the limit of open files allows fewer connections or uploads; raise it (LimitNOFILE)";
  const LogFields fields = {{"open_files", files}, {"connections", limits_.connections}, {"uploads", limits_.uploads}};
  if (config_.http.limits == config::Limits{}) {
    log_.info(text, fields);
  } else {
    log_.warn(text, fields);
  }
}

Result<void> Application::start_node() {
  node::Ports ports{.disk = *disk_,
                    .clock = clock_,
                    .random = *random_,
                    .executor = loops_->executor(0),
                    .log = log_,
                    .traffic = &traffic_};
  node::Options options = node_options(config_);
  options.max_uploads = limits_.uploads;
  options.max_uploads_per_client = limits_.uploads_per_client;
  options.max_upload_bytes = limits_.upload_bytes;
  options.max_upload_bytes_per_client = limits_.upload_bytes_per_client;
  HANSA_TRY(const bool member, is_member(*disk_, config_, join_));
  if (member) {
    const ClusterEnvironment environment{
        .disk = *disk_, .clock = clock_, .random = *random_, .loops = *loops_, .log = log_, .traffic = traffic_};
    HANSA_TRY(cluster_, ClusterParts::open(environment, config_, join_, told_to_stop));
    cluster_->give(ports);
    options.cluster = cluster_->options();
  }
  Result<std::unique_ptr<node::Node>> started = make_error(ErrorCode::internal, "the node did not start");
  io::asio::run_until_told(loops_->executor(0), start_into(ports, std::move(options), &started), told_to_stop);
  if (!started && started.error().code == ErrorCode::cancelled) return std::move(started).error();
  if (!started) return explain_start(std::move(started).error(), config_.storage.root);
  node_ = std::move(*started);
  if (cluster_) cluster_->run(*node_);
  return {};
}

Result<void> Application::import_layouts() {
  ImportOptions options{.source = config_.storage.root, .repository = {}, .copy = false};
  return import_at_start(node_->registry(), loops_->executor(0), options, log_);
}

Result<void> Application::listen() {
  metrics_ = std::make_unique<metrics::ServerMetrics>(metrics::BuildInfo{
      .version = std::string(version), .spec_version = std::string(config::spec_version), .commit = ""});
  metrics_->set_source([this] { return numbers(); });
  api::Services services{.registry = node_->registry(),
                         .authenticator = *authenticator_,
                         .metrics = *metrics_,
                         .log = log_,
                         .clock = clock_,
                         .live = {},
                         .ready = [this] { return ready_.load(); },
                         .started = [this] { return ready_.load(); },
                         .options = {.allow_origin = config_.http.allow_origin, .metrics_path = config_.metrics_path},
                         .cluster = [this] { return node_->cluster_status(); },
                         .audit = audit_.get()};
  http::ServerOptions options;
  options.address = config_.http.address;
  options.port = config_.http.port;
  options.tls = config_.http.tls;
  options.limits.transfer_timeout = config_.http.transfer_timeout;
  options.limits.connections = limits_.connections;
  options.limits.connections_per_client = limits_.connections_per_client;
  options.traffic = &traffic_;
  http::Handler handler = api::make_handler(std::move(services), api::distribution::routes());
  HANSA_TRY(server_, http::listen(*loops_, std::move(options), std::move(handler), log_));
  listening_ = server_.get();
  ready_ = true;
  return {};
}

Result<void> Application::open_doors() {
  control_scope_ = std::make_unique<io::TaskScope>(loops_->executor(0));
  control_services_ = std::make_unique<ControlServices>(ControlServices{
      .node = *node_, .clock = clock_, .log = log_, .cluster = [this](std::string verb, std::string argument) {
        return cluster_command(std::move(verb), std::move(argument));
      }});
  HANSA_TRY(control_, ControlSocket::open(config_.storage.root));
  HANSA_TRY(watch_, FileWatch::open());
  watch_files();
  return {};
}

metrics::NodeNumbers Application::numbers() {
  const node::Status status = node_->status();
  metrics::NodeNumbers out{.ready = status.ready,
                           .uploads = status.uploads,
                           .uploads_refused = status.refused_uploads.all,
                           .uploads_refused_clients = status.refused_uploads.of_clients,
                           .repositories = status.repositories,
                           .manifests = status.manifests,
                           .swept_blobs = status.swept_blobs,
                           .expired_tags = status.expired_tags,
                           .corrupt_blobs = status.corrupt_blobs,
                           .disk_total = status.disk_total,
                           .disk_available = status.disk_available,
                           .members = status.members,
                           .members_alive = status.members_alive,
                           .redirects = status.redirects};
  out.copies = {.missing = status.repair.owed + status.repair.but,
                .missing_bytes = status.repair.bytes,
                .left_out = status.repair.but,
                .filled = status.repair.filled,
                .filled_bytes = status.repair.filled_bytes,
                .fetched = status.fetched_blobs,
                .fetched_bytes = status.fetched_bytes};
  if (status.metadata) {
    const auto& store = *status.metadata;
    out.metadata = metrics::MetadataNumbers{.reachable = store.reachable,
                                            .alarm = !store.alarm.empty(),
                                            .view_lag = store.target - std::min(store.target, store.applied),
                                            .barriers = store.barriers,
                                            .engine_reads = store.barrier_reads,
                                            .commits = store.commits,
                                            .unknown_commits = store.unknown,
                                            .resyncs = store.resyncs,
                                            .view_differences = status.view_differences,
                                            .size = store.db_size};
  }
  if (const http::Server* server = listening_.load()) {
    const auto counters = server->counters();
    out.connections = counters.connections;
    out.connections_accepted = counters.accepted;
    out.connections_refused = counters.refused;
    out.connections_refused_clients = counters.refused_clients;
  }
  return out;
}

void Application::watch_files() {
  watch_->add({config_.file, config_.http.htpasswd});
  if (config_.http.tls) {
    watch_->add({config_.http.tls->certificate, config_.http.tls->key, config_.http.tls->client_ca});
  }
}

void Application::reload() {
  if (!config_.file.empty()) {
    auto fresh = config::load(config_.file);
    if (!fresh) {
      log_.error("the configuration is not read again; the old one stays in force", {{"error", fresh.error().message}});
    } else {
      if (needs_restart(config_, *fresh)) {
        log_.warn("some changes of the configuration need a restart; they are not in force yet",
                  {{"file", config_.file}});
      }
      if (opens_until_restart(config_.http, fresh->http)) {
        log_.error(
            "the new way of logging in needs a restart; until then the old users and rights stay in force, for "
            "without them everybody could do everything",
            {{"file", config_.file}});
      } else {
        config_.http.policy = fresh->http.policy;
        config_.http.realm = fresh->http.realm;
        config_.http.htpasswd = fresh->http.htpasswd;
        config_.http.fail_delay = fresh->http.fail_delay;
      }
      config_.log_level = fresh->log_level;
      log_.set_level(config_.log_level);
    }
  }
  if (auto settings = auth_settings(config_, log_)) {
    authenticator_->replace(std::move(*settings));
  } else {
    log_.error("the users are not read again; the old ones stay in force", {{"error", settings.error().message}});
  }
  if (config_.http.tls) {
    const auto reloaded = server_->reload_tls();
    if (!reloaded) {
      log_.error("the certificate is not read again; the old one stays in force",
                 {{"error", reloaded.error().message}});
    }
  }
  watch_files();
  log_.info("loaded new configuration settings", {{"file", config_.file}});
}

void Application::reopen_logs() {
  for (ServerLog* log : {&log_, audit_.get()}) {
    if (log == nullptr) continue;
    if (const auto reopened = log->reopen(); !reopened) {
      log_.error("the log is not opened anew", {{"error", reopened.error().message}});
    }
  }
}

io::Task<Result<std::string>> Application::cluster_command(std::string verb, std::string argument) {
  if (verb == "status") co_return co_await node_->cluster_status();
  if (verb == "token" && cluster_) co_return cluster_->join_url();
  if (verb == "backup" && cluster_) co_return co_await cluster_->backup(std::move(argument));
  co_return co_await node_->cluster_operation(std::move(verb), std::move(argument));
}

void Application::accept_control() {
  const int connection = control_->accept();
  if (connection < 0) return;
  loops_->executor(0).post(
      [this, connection] { control_scope_->spawn("control", serve_control(connection, *control_services_)); });
}

void Application::say(std::string_view state) {
  if (auto told = tell_service_manager(state); !told) {
    log_.warn("the service manager cannot be told", {{"state", state}, {"error", told.error().message}});
  }
}

void Application::run() {
  const sigset_t set = handled_signals();
  const int signals = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  say("READY=1");
  std::array<pollfd, 3> waits{{{.fd = signals, .events = POLLIN, .revents = 0},
                               {.fd = control_->descriptor(), .events = POLLIN, .revents = 0},
                               {.fd = watch_->descriptor(), .events = POLLIN, .revents = 0}}};
  bool changed = false;
  bool delay = false;  // told by SIGTERM; who presses Ctrl-C does not want to wait
  while (true) {
    const int ready = ::poll(waits.data(), waits.size(), changed ? settle_ms : -1);
    if (ready < 0 && errno != EINTR) break;
    if (ready == 0 && std::exchange(changed, false)) reload();
    if (ready <= 0) continue;
    signalfd_siginfo signal{};
    if ((waits[0].revents & POLLIN) != 0 && ::read(signals, &signal, sizeof signal) == sizeof signal) {
      if (signal.ssi_signo != SIGHUP) {
        delay = signal.ssi_signo == SIGTERM;
        break;
      }
      changed = false;
      reopen_logs();
      reload();
    }
    if ((waits[1].revents & POLLIN) != 0) accept_control();
    if ((waits[2].revents & POLLIN) != 0) changed = watch_->take() || changed;
  }
  ::close(signals);
  say("STOPPING=1");
  if (delay) stand_aside();
  log_.info("shutting down: requests under way may finish", {});
}

// Everything is answered for a while, but /readyz says no: balancers find out before a connection is refused (P12).
// Another signal ends it.
void Application::stand_aside() {
  const io::Duration delay = config_.cluster.stop_delay;
  if (!cluster_ || delay == io::Duration::zero() || node_->status().members_alive < 2) return;
  log_.info("stopping soon: /readyz says no, requests are still taken",
            {{"cluster.stopDelay", config::format_duration(delay)}});
  ready_ = false;
  node_->stand_aside();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(delay);
  const timespec limit{.tv_sec = seconds.count(), .tv_nsec = (delay - seconds).count()};
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM}) ::sigaddset(&set, number);
  ::sigtimedwait(&set, nullptr, &limit);
}

void Application::stop() {
  ready_ = false;
  if (server_) server_->stop();
  listening_ = nullptr;
  control_.reset();
  if (control_scope_) io::asio::run_and_wait(loops_->executor(0), close_scope(control_scope_.get()));
  control_scope_.reset();
  if (cluster_) cluster_->stop_listening();
  if (node_) io::asio::run_and_wait(loops_->executor(0), stop_node(node_.get()));
  if (cluster_) cluster_->close_peers();
  if (loops_) loops_->stop();
  // The handler names the services, so it goes before them.
  server_.reset();
  node_.reset();
  if (cluster_) cluster_->stop();
  cluster_.reset();
  loops_.reset();
}

}  // namespace hansa::server
