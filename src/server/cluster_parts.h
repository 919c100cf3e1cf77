// ClusterParts: what a server needs to be a member of a cluster, beside the node: this machine's folder of the cluster,
// the way to etcd (and etcd itself, where Hansa keeps it), the network of peers and its listener.
//
// open() -> [node starts with what this gives] -> run(node) -> ... -> stop_listening() -> [node stops] -> close_peers()
// -> [the loops end] -> stop().
// Main thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "http/server.h"
#include "io/asio/event_loops.h"
#include "io/disk.h"
#include "io/scope.h"
#include "io/traffic.h"
#include "meta/etcd/grpc_channel.h"
#include "node/identity.h"
#include "node/node.h"
#include "peer/http_peers.h"
#include "pki/cluster_folder.h"
#include "server/config/config.h"
#include "voters/keeper.h"

namespace hansa::server {

inline constexpr std::uint64_t token_generation = 1;  // of join tokens; all have this one

struct ClusterEnvironment {
  io::Disk& disk;
  io::Clock& clock;
  io::Random& random;
  io::asio::EventLoops& loops;
  Logger& log;
  io::Traffic& traffic;
};

// Whether this machine is, or is to be, a member of a cluster.
Result<bool> is_member(io::Disk& disk, const config::Config& config, const std::string& join);

// The keeper's settings for this machine: where its etcd would lie and listen.
voters::EtcdSettings etcd_settings(const config::Config& config, const std::string& node);
// Host names and addresses by which a machine is reached, for its certificate.
std::vector<std::string> hosts_of(const config::Config& config);

class ClusterParts {
 public:
  // `join`: a join URL, empty: none. It waits for an answer as long as `stop` does not say so.
  static Result<std::unique_ptr<ClusterParts>> open(ClusterEnvironment environment, const config::Config& config,
                                                    const std::string& join, const std::function<bool()>& stop);
  ~ClusterParts();

  node::ClusterOptions options() const;
  void give(node::Ports& ports);
  void run(node::Node& node);
  void stop_listening();
  void close_peers();  // while the loops run
  void stop();         // after them

  // A URL with which another machine may join, good for a day. unsupported: the cluster has no authority of its own.
  Result<std::string> join_url() const;
  // Writes a backup of the metadata to `file` and <file>.json; says what it is of.
  io::Task<Result<std::string>> backup(std::string file);

 private:
  ClusterParts(ClusterEnvironment environment, const config::Config& config) : e_(environment), config_(config) {}
  Result<void> join(const std::string& url, const std::function<bool()>& stop);
  Result<void> open_metadata(const std::function<bool()>& stop);
  Result<void> open_peers();
  io::Task<Result<std::string>> answer_join(std::string request, std::string client);
  io::Task<void> care_loop();
  Result<void> care();
  Result<void> keep_endpoints();
  std::string certificates_now() const;
  Result<bool> mind_certificate();

  ClusterEnvironment e_;
  const config::Config& config_;
  node::Identity identity_;
  std::optional<pki::ClusterFolder> folder_;
  std::mutex folder_mutex_;     // of what changes in it: the endpoints
  std::string loaded_;          // certificates_now() of those in use
  std::uint64_t issue_ = 0;     // of the certificates for etcd
  node::Node* node_ = nullptr;  // from run() on
  std::string secret_;
  std::unique_ptr<meta::etcd::GrpcRuntime> runtime_;
  std::unique_ptr<voters::ManagedEtcd> keeper_;
  node::PeerDirectory directory_;
  std::unique_ptr<peer::HttpPeers> peers_;
  std::unique_ptr<http::Server> listener_;
  std::unique_ptr<io::TaskScope> scope_;
};

}  // namespace hansa::server
