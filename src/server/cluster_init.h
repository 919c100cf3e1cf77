// What makes this machine the first member of a cluster: init, restore, recover.
//
// init goes in this order, so that it may be broken off anywhere and run again: authority and certificate; etcd,
// founded anew; the records of hansa.db; cluster.json, which makes it true; hansa.db is put aside. etcd goes on
// running.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "server/config/config.h"

namespace hansa::server {

struct Founded {
  std::string join_url;
  std::uint64_t records = 0;  // taken over from the single node
};
// conflict: a server runs on this folder. exists: this machine is in a cluster already. unsupported: the configuration
// names an etcd of your own, which needs no init.
Result<Founded> init_cluster(const config::Config& config);

// hansa cluster restore FILE and recover (voters/backup.h): what the operator must know and do, a line each. Errors as
// above.
Result<std::vector<std::string>> restore_cluster(const config::Config& config, const std::string& file);
Result<std::vector<std::string>> recover_cluster(const config::Config& config);

}  // namespace hansa::server
