// ClusterFolder: what a member keeps on its disk about the cluster it belongs to: <root>/cluster/
//
//   cluster.json   the values below (mode 0600)
//   ca.crt ca.key  the cluster's certificate authority: every member is an equal and can issue (key: mode 0600)
//   node.crt node.key  this member's certificate, for serving and for calling; renewed in place before it ends
//
// Written by `hansa cluster init` on the first machine and by a join on every other. Files are replaced atomically and
// fsynced. Its absence means: this machine is in no cluster.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/disk.h"

namespace hansa::pki {

struct ClusterFolder {
  std::string cluster;                 // nonce of the cluster; a restore makes a new one
  std::string secret;                  // between members: MACs of peer requests, upload sessions, join tokens (hex)
  bool managed = false;                // Hansa keeps etcd itself (room voters)
  std::vector<std::string> endpoints;  // etcd's client URLs as last known: hints for the next start
  std::vector<std::string> peers;      // "host:port" of members' peer listeners, as last known
};

struct ClusterPaths {
  std::string folder;       // <root>/cluster
  std::string state;        // cluster.json
  std::string ca;           // PEM
  std::string ca_key;       // PEM
  std::string certificate;  // PEM
  std::string key;          // PEM
};
ClusterPaths cluster_paths(const std::string& root);

// nullopt: there is none. corrupt(file): it cannot be understood.
Result<std::optional<ClusterFolder>> read_cluster_folder(io::Disk& disk, const std::string& root);
Result<void> write_cluster_folder(io::Disk& disk, const std::string& root, const ClusterFolder& folder);

}  // namespace hansa::pki
