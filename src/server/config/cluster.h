// The part "cluster" of a configuration. A node takes part in a cluster if its configuration says so or if its data
// folder holds <root>/cluster (made by `hansa cluster init` or by a join).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cluster/route.h"
#include "io/time.h"
#include "server/config/check.h"
#include "server/config/reader.h"

namespace hansa::server::config {

struct ClusterTls {
  std::string certificate;  // PEM files
  std::string key;
  std::string ca;
  bool operator==(const ClusterTls&) const = default;
};

struct ClusterEtcd {
  std::vector<std::string> endpoints;
  std::string prefix = "hansa/";  // ends with '/'
  std::string user;
  std::string password;
  std::uint64_t quota = 2ULL * 1024 * 1024 * 1024;  // bytes
  std::optional<ClusterTls> tls;
  bool operator==(const ClusterEtcd&) const = default;
};

struct ClusterManaged {
  std::string binary = "/usr/bin/etcd";
  std::string data_dir;  // empty: <root>/etcd
  std::uint16_t client_port = 5379;
  std::uint16_t peer_port = 5380;
  std::size_t voters = 3;
  std::uint64_t quota = 2ULL * 1024 * 1024 * 1024;  // bytes
  io::Duration snapshot_interval = std::chrono::hours(1);
  bool operator==(const ClusterManaged&) const = default;
};

struct Cluster {
  bool configured = false;  // the file has "cluster"
  std::string url;          // where clients reach this node
  std::string peer;         // where members reach it, host:port
  std::string listen;       // address of the peers' listener; its port is that of `peer`
  std::optional<ClusterEtcd> etcd;
  ClusterManaged managed;
  std::vector<std::string> members;  // host:port of the members' HTTP ports, as zot writes them
  std::string hash_key;
  std::optional<ClusterTls> tls;
  io::Duration max_staleness = std::chrono::hours(1);
  cluster::Route route = cluster::Route::redirect;
  std::uint64_t fill_rate = 0;                        // bytes a second for copies that nobody waits for; 0: no limit
  std::size_t fills = 4;                              // such copies at a time
  io::Duration stop_delay = std::chrono::seconds(5);  // balancers see /readyz fail before anything is refused
  bool operator==(const Cluster&) const = default;
};

struct ClusterDefaults {
  std::string address;  // http.address
  std::uint16_t port = 0;
  bool tls = false;
};

// What a file without "cluster" has.
Cluster default_cluster(const ClusterDefaults& http);
Cluster read_cluster(const Reader& in, const ClusterDefaults& http, Problems& problems);

// "host:port" taken apart; an IPv6 host stands in brackets. nullopt: it is not that.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};
std::optional<HostPort> parse_host_port(std::string_view text);

}  // namespace hansa::server::config
