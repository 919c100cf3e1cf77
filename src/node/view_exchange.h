// What members do with each other's views (traps T11 and T13): each minute all compare hash sums, since a view that
// went wrong silently would answer wrongly for ever. Of those that stand at the same version of `head` and differ the
// fewer load their views anew from the truth, and one after the other where they are as many: a view that is loading
// answers nothing. A member also hands out a copy of its file to who was away too long (view_fetch.h).
//
// Verbs served: view.copy, view.sums (cluster/peer_dispatch.h). Everything given outlives it. Loops run in the node's
// scope; nothing here is on a request's path.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "base/log.h"
#include "cluster/membership.h"
#include "cluster/peer_dispatch.h"
#include "io/disk.h"
#include "io/random.h"
#include "meta/etcd/store.h"

namespace hansa::node {

inline constexpr io::Duration compare_views_every = std::chrono::minutes(1);
inline constexpr io::Duration view_sums_deadline = std::chrono::seconds(30);
inline constexpr std::size_t max_view_copies = 2;  // served at the same time; more are too_many

class ViewExchange {
 public:
  ViewExchange(io::Disk& disk, io::Random& random, Logger& log, io::PeerNetwork& peers,
               const cluster::Membership& members, meta::etcd::Store& store, std::string folder);

  void serve(cluster::PeerDispatch& dispatch);
  // Compares with the peers for as long as the task lives.
  io::Task<void> compare_loop();
  // Copies that an earlier process left. Blocks; before the node serves.
  static void remove_leftovers(io::Disk& disk, const std::string& folder);
  // Differences found since the start.
  std::uint64_t differences() const { return differences_; }

 private:
  io::Task<Result<io::PeerResponse>> answer_copy();
  io::Task<Result<io::PeerResponse>> answer_sums();
  io::Task<Result<void>> compare();
  io::Task<Result<meta::etcd::ViewSums>> ask(io::NodeId peer);

  io::Disk& disk_;
  io::Random& random_;
  Logger& log_;
  io::PeerNetwork& peers_;
  const cluster::Membership& members_;
  meta::etcd::Store& store_;
  std::string folder_;
  std::atomic<std::size_t> copies_ = 0;
  std::atomic<std::uint64_t> differences_ = 0;
  bool differed_ = false;  // at the last look
};

// The sums as a peer sends them, and back. corrupt: not understood.
std::string encode_sums(const meta::etcd::ViewSums& sums);
Result<meta::etcd::ViewSums> decode_sums(std::string_view text);
// Prefixes in which two views differ; empty also when they stand at different versions and cannot be compared.
std::vector<std::string> differing(const meta::etcd::ViewSums& mine, const meta::etcd::ViewSums& theirs);
// Whether this member is to load its view anew, after it was compared with these. `differed_before`: at the last look
// too, so that it is its turn where nobody can say who is wrong.
bool is_to_load(const std::string& self, const meta::etcd::ViewSums& mine,
                const std::map<std::string, meta::etcd::ViewSums>& theirs, bool differed_before);

}  // namespace hansa::node
