// ViewFetch: where a member that was away too long gets a newer view (the store's history does not reach back to it any
// more): a copy of another member's file, so that etcd is not read whole by everybody who comes back.
//
// The stale view names the members and where they are. Its copy is believed as far as its file's checks go; the store
// then compares its head with etcd's at that very revision before anything is answered from it.
// Thread rule: the node's executor. Everything given outlives it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "io/disk.h"
#include "io/peer_network.h"
#include "meta/sqlite/database.h"
#include "node/node.h"

namespace hansa::node {

inline constexpr io::Duration view_copy_answer = std::chrono::seconds(30);  // until the first byte: the peer copies
inline constexpr io::Duration view_copy_stall = std::chrono::seconds(10);   // without a byte
inline constexpr std::string_view fetched_view_name = "view-fetched.db";

class ViewFetch {
 public:
  // `directory` may be null: the network knows by itself. `folder` takes the file.
  ViewFetch(io::Disk& disk, Logger& log, io::PeerNetwork& peers, PeerDirectory* directory, std::string self,
            std::string folder);

  // The path of a copy, which the caller removes. not_found: no member gave one.
  io::Task<Result<std::string>> fetch(std::unique_ptr<meta::sqlite::ReadTransaction> stale);

 private:
  struct Peer {
    io::NodeId id;
    std::string address;
  };
  Result<std::vector<Peer>> peers_of(std::unique_ptr<meta::sqlite::ReadTransaction> stale) const;
  void make_reachable(const std::vector<Peer>& peers);
  io::Task<Result<void>> copy_from(io::NodeId peer, std::string path);

  io::Disk& disk_;
  Logger& log_;
  io::PeerNetwork& peers_;
  PeerDirectory* directory_;
  const std::string self_;
  const std::string folder_;
};

}  // namespace hansa::node
