// Application: one running registry: real ports, a node, its listener, and what the operator may ask of it.
//
// start() brings everything up in order or explains what is in the way; run() serves until SIGINT or SIGTERM, and a
// member of a cluster for cluster.stopDelay longer, while /readyz says no; stop() drains and takes everything down in
// the reverse order. SIGHUP, or a change of the configuration, certificate, key or password file, reads them again:
// what is wrong is logged and the old ones stay in force.
// Lives on the main thread; signals must be blocked (block_signals) before the first thread starts.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "auth/basic_authenticator.h"
#include "http/server.h"
#include "io/asio/event_loops.h"
#include "io/disk.h"
#include "io/scope.h"
#include "io/traffic.h"
#include "metrics/server_metrics.h"
#include "node/node.h"
#include "server/cluster_parts.h"
#include "server/config/config.h"
#include "server/control.h"
#include "server/log.h"
#include "server/watch.h"

namespace hansa::server {

// Blocks SIGINT, SIGTERM and SIGHUP for this thread and all that it starts; SIGPIPE is ignored.
void block_signals();

// What the node makes of a configuration.
node::Options node_options(const config::Config& config);
// Reads the password file. config: it cannot be read.
Result<auth::AuthSettings> auth_settings(const config::Config& config, Logger& log);

class Application {
 public:
  // `clock` and `log` outlive it.
  // `join`: the URL of a cluster that this machine joins if it is in none yet; empty: none.
  Application(config::Config config, io::Clock& clock, ServerLog& log, std::string join = {});
  ~Application();

  Result<void> start();
  void run();
  void stop();

  std::uint16_t port() const { return server_->port(); }
  const config::Config& config() const { return config_; }

 private:
  void find_limits();
  Result<void> start_node();
  Result<void> import_layouts();
  Result<void> listen();
  Result<void> open_doors();
  metrics::NodeNumbers numbers();
  void stand_aside();
  void say(std::string_view state);  // to the service manager
  void reload();
  void reopen_logs();
  void accept_control();
  io::Task<Result<std::string>> cluster_command(std::string verb, std::string argument);
  void watch_files();

  config::Config config_;
  config::Limits limits_;  // in force
  io::Clock& clock_;
  ServerLog& log_;
  std::unique_ptr<ServerLog> audit_;  // null: none is kept
  std::unique_ptr<io::Random> random_;
  std::unique_ptr<io::Disk> disk_;
  io::Traffic traffic_;
  std::unique_ptr<io::asio::EventLoops> loops_;
  std::string join_;
  std::unique_ptr<ClusterParts> cluster_;  // null: a single node
  std::unique_ptr<node::Node> node_;
  std::unique_ptr<auth::BasicAuthenticator> authenticator_;
  std::unique_ptr<metrics::ServerMetrics> metrics_;
  std::atomic<bool> ready_ = false;
  std::unique_ptr<http::Server> server_;
  std::atomic<http::Server*> listening_ = nullptr;  // for the metrics, which are older
  std::unique_ptr<io::TaskScope> control_scope_;
  std::unique_ptr<ControlServices> control_services_;
  std::unique_ptr<ControlSocket> control_;
  std::unique_ptr<FileWatch> watch_;
};

}  // namespace hansa::server
