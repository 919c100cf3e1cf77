#include "server/config/cluster.h"

#include "server/config/units.h"

namespace hansa::server::config {
namespace {

constexpr std::size_t hash_key_bytes = 16;
constexpr std::int64_t highest_port = 65535;
constexpr io::Duration longest_stop_delay = std::chrono::minutes(5);

bool is_any_address(const std::string& host) {
  return host.empty() || host == "0.0.0.0" || host == "::" || host == "[::]";
}

std::optional<ClusterTls> read_tls(const Reader& in, const std::string& path, Problems& problems) {
  if (!in.has(path)) return std::nullopt;
  ClusterTls tls{
      .certificate = in.text(path + ".cert"), .key = in.text(path + ".key"), .ca = in.text(path + ".cacert")};
  if (tls.certificate.empty() != tls.key.empty()) {
    problems.error(path, "needs cert and key together, or neither");
  }
  return tls;
}

std::uint16_t read_port(const Reader& in, const std::string& path, Problems& problems) {
  const std::int64_t port = in.integer(path);
  if (port > 0 && port <= highest_port) return static_cast<std::uint16_t>(port);
  problems.error(path, "must be a number from 1 to 65535");
  return 0;
}

std::uint64_t read_quota(const Reader& in, const std::string& path, Problems& problems) {
  constexpr std::int64_t least = 16LL * 1024 * 1024;
  const std::int64_t quota = in.integer(path);
  if (quota >= least) return static_cast<std::uint64_t>(quota);
  problems.error(path, "must be at least 16777216 bytes");
  return static_cast<std::uint64_t>(least);
}

// An address may be logged; what is secret has keys of its own.
void check_endpoint(const std::string& path, std::string_view endpoint, Problems& problems) {
  const std::size_t scheme = endpoint.find("://");
  if (scheme != std::string_view::npos) endpoint.remove_prefix(scheme + 3);
  const std::size_t at = endpoint.rfind('@');  // also behind a '/': a password may have one
  if (at == std::string_view::npos) return;
  problems.error(path, "has a user in the address of \"" + std::string(endpoint.substr(at + 1)) +
                           "\"; put the name into username and the password into password");
}

void read_etcd(const Reader& in, Cluster& out, Problems& problems) {
  const std::string base = "cluster.metadata.etcd";
  if (!in.has(base)) return;
  ClusterEtcd etcd;
  etcd.endpoints = in.texts(base + ".endpoints");
  if (etcd.endpoints.empty()) problems.error(base + ".endpoints", "is missing; name etcd's client addresses");
  for (const auto& endpoint : etcd.endpoints) check_endpoint(base + ".endpoints", endpoint, problems);
  etcd.prefix = in.text(base + ".prefix");
  if (!etcd.prefix.ends_with('/')) etcd.prefix += '/';
  etcd.user = in.text(base + ".username");
  etcd.password = in.text(base + ".password");
  etcd.quota = read_quota(in, base + ".quota", problems);
  etcd.tls = read_tls(in, base + ".tls", problems);
  out.etcd = std::move(etcd);
}

void read_managed(const Reader& in, Cluster& out, Problems& problems) {
  const std::string base = "cluster.metadata.managed";
  ClusterManaged& managed = out.managed;
  managed.binary = in.text(base + ".binary");
  managed.data_dir = in.text(base + ".dataDir");
  managed.client_port = read_port(in, base + ".clientPort", problems);
  managed.peer_port = read_port(in, base + ".peerPort", problems);
  if (managed.client_port == managed.peer_port) problems.error(base + ".peerPort", "must differ from clientPort");
  const std::int64_t voters = in.integer(base + ".voters");
  if (voters != 3 && voters != 5) problems.error(base + ".voters", "must be 3 or 5");
  managed.voters = voters == 5 ? 5 : 3;
  managed.quota = read_quota(in, base + ".quota", problems);
  managed.snapshot_interval = in.duration(base + ".snapshotInterval");
  if (managed.snapshot_interval < io::Duration::zero()) problems.error(base + ".snapshotInterval", "is negative");
  if (in.has(base) && out.etcd) {
    problems.error("cluster.metadata", "has both etcd and managed; keep the one that holds the metadata");
  }
}

void read_route(const Reader& in, Cluster& out, Problems& problems) {
  const std::string route = in.text("cluster.route");
  if (route == "proxy") {
    out.route = cluster::Route::proxy;
  } else if (route == "local") {
    out.route = cluster::Route::local;
  } else if (route != "redirect") {
    problems.error("cluster.route", "must be redirect, proxy or local, not \"" + route + "\"");
  }
}

void read_limits(const Reader& in, Cluster& out, Problems& problems) {
  // Less would stop a copy for longer than its source is waited for.
  constexpr std::int64_t least_rate = MiB;
  constexpr std::int64_t most_fills = 64;
  const std::int64_t rate = in.integer("cluster.limits.fillRate");
  if (rate != 0 && rate < least_rate) {
    problems.error("cluster.limits.fillRate", "must be 0 (no limit) or at least " + std::to_string(least_rate) +
                                                  " bytes a second, not " + std::to_string(rate));
  } else {
    out.fill_rate = static_cast<std::uint64_t>(rate);
  }
  const std::int64_t fills = in.integer("cluster.limits.fills");
  if (fills < 1 || fills > most_fills) {
    problems.error("cluster.limits.fills",
                   "must be 1 to " + std::to_string(most_fills) + ", not " + std::to_string(fills));
  } else {
    out.fills = static_cast<std::size_t>(fills);
  }
}

void read_members(const Reader& in, Cluster& out, Problems& problems) {
  out.members = in.texts("cluster.members");
  out.hash_key = in.text("cluster.hashKey");
  for (const auto& member : out.members) {
    if (!parse_host_port(member)) problems.error("cluster.members", "\"" + member + "\" must be host:port");
  }
  if (in.has("cluster.members") && out.members.empty()) problems.error("cluster.members", "names nobody");
  if (!out.hash_key.empty() && out.hash_key.size() != hash_key_bytes) {
    problems.error("cluster.hashKey", "must have exactly 16 characters, the same on all members");
  }
  if (!out.members.empty() && out.hash_key.empty() && !out.tls) {
    problems.error("cluster.hashKey", "is missing; members prove to each other who they are by it, or by cluster.tls");
  }
}

}  // namespace

std::optional<HostPort> parse_host_port(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  const auto port = parse_integer(std::string(text.substr(colon + 1)));
  if (!port || *port <= 0 || *port > highest_port) return std::nullopt;
  const std::string_view host = text.substr(0, colon);
  const bool bracketed = host.front() == '[' && host.back() == ']';
  if (!bracketed && host.find(':') != std::string_view::npos) return std::nullopt;
  return HostPort{.host = std::string(host), .port = static_cast<std::uint16_t>(*port)};
}

Cluster default_cluster(const ClusterDefaults& http) {
  Cluster out;
  const std::string host = is_any_address(http.address) ? "" : http.address;
  if (host.empty()) return out;
  out.url = (http.tls ? "https://" : "http://") + host + ":" + std::to_string(http.port);
  out.peer = host + ":" + std::to_string(http.port + 1);
  out.listen = host;
  return out;
}

Cluster read_cluster(const Reader& in, const ClusterDefaults& http, Problems& problems) {
  Cluster out = default_cluster(http);
  if (!in.has("cluster")) return out;
  out.configured = true;
  const std::string url = in.text("cluster.node.url");
  if (!url.empty()) out.url = url;
  if (!out.url.starts_with("http://") && !out.url.starts_with("https://")) {
    problems.error("cluster.node.url", "must be where clients reach this node, http(s)://host:port; http.address " +
                                           http.address + " does not say it");
  } else if (!url.empty()) {
    const std::string host_port = url.substr(url.find("//") + 2);
    const auto parsed = parse_host_port(host_port);
    const std::string host = parsed ? parsed->host : host_port.substr(0, host_port.find('/'));
    out.peer = host + ":" + std::to_string(http.port + 1);
    out.listen = host;
  }
  if (in.has("cluster.node.peer")) out.peer = in.text("cluster.node.peer");
  const auto peer = parse_host_port(out.peer);
  if (!peer) {
    problems.error("cluster.node.peer", "must be where the other members reach this node, host:port");
  } else {
    out.listen = peer->host;
  }
  if (in.has("cluster.node.listen")) out.listen = in.text("cluster.node.listen");
  out.tls = read_tls(in, "cluster.tls", problems);
  read_etcd(in, out, problems);
  read_managed(in, out, problems);
  read_members(in, out, problems);
  read_route(in, out, problems);
  read_limits(in, out, problems);
  out.max_staleness = in.duration("cluster.maxStaleness");
  if (out.max_staleness < io::Duration::zero()) problems.error("cluster.maxStaleness", "must not be negative");
  out.stop_delay = in.duration("cluster.stopDelay");
  if (out.stop_delay < io::Duration::zero() || out.stop_delay > longest_stop_delay) {
    problems.error("cluster.stopDelay", "must be from 0s to 5m");
  }
  return out;
}

}  // namespace hansa::server::config
