// ClusterSide: what makes a node a member: who the others are, this node's sign of life and mark, copies of blobs on
// other members, the verbs that it serves to them, and the care for its view. Owned by the node, in whose order of
// start and stop it takes part:
//
//   open() -> take_part() -> join_blobs() -> serve() -> run() ... end()
//
// Thread rule: the node's executor; status() and operation() from any executor.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cluster/copies.h"
#include "cluster/holder.h"
#include "cluster/member_driver.h"
#include "cluster/members.h"
#include "cluster/status.h"
#include "node/identity.h"
#include "node/node.h"
#include "node/traffic_watch.h"
#include "node/view_exchange.h"
#include "registry/service.h"
#include "upkeep/task_leader.h"

namespace hansa::node {

class ClusterSide {
 public:
  // All outlive it.
  struct Parts {
    Ports& ports;
    const Options& options;
    meta::etcd::Store& store;
    catalog::Catalog& catalog;
    const Identity& identity;
    std::function<io::Task<Result<std::uint64_t>>()> number_mark;  // Holder::Ports
    std::function<bool()> files_believed;                          // Holder::Ports
  };
  static Result<std::unique_ptr<ClusterSide>> open(Parts parts);

  // Registers this start as node/<id> (see MemberDriver::start).
  io::Task<Result<void>> take_part(catalog::NodeRecord record);
  // `scope`: where fetches run.
  void join_blobs(blob::BlobStore& blobs, io::TaskScope& scope);
  // The bytes of a blob were found damaged; any thread.
  void note_lost(const oci::Digest& digest) {
    if (holder_) holder_->note_lost(digest);
  }
  cluster::HolderProgress repair() const { return holder_ ? holder_->progress() : cluster::HolderProgress(); }
  registry::ClusterParts parts_of_registry();
  void serve(registry::RegistryService& registry);
  void run(io::TaskScope& scope);
  // See Node::stand_aside().
  void stand_aside() { pulses_->stand_aside(); }
  // Nothing is answered to peers any more; the sign of life ends.
  void end();

  std::size_t member_count() const { return member_count_; }
  struct MemberCount {
    std::size_t all = 1;
    std::size_t alive = 1;
  };
  MemberCount count_members() const;
  struct Fetched {
    std::uint64_t blobs = 0;
    std::uint64_t bytes = 0;
  };
  Fetched fetched() const {
    return copies_ ? Fetched{.blobs = copies_->fetched_blobs(), .bytes = copies_->fetched_bytes()} : Fetched();
  }
  std::uint64_t redirects() const { return sources_ ? sources_->redirects() : 0; }
  std::uint64_t view_differences() const { return exchange_ ? exchange_->differences() : 0; }
  bool displaced() const { return driver_->displaced(); }
  io::Task<Result<std::string>> status();
  io::Task<Result<std::string>> operation(std::string verb, std::string id);

 private:
  explicit ClusterSide(Parts parts) : p_(parts), layout_task_(parts.store, parts.catalog, "layout") {}
  catalog::AliveRecord load();
  std::optional<std::string> address_of(const io::NodeId& id) const;
  std::vector<cluster::History::Said> others() const;
  Result<cluster::StatusInput> picture();
  io::Task<Result<std::string>> may_stop(std::string id);
  io::Task<Result<std::string>> drain(std::string id);
  io::Task<Result<std::string>> forget(std::string id);

  Parts p_;
  upkeep::TaskLeader layout_task_;
  std::unique_ptr<cluster::Members> members_;
  std::unique_ptr<cluster::MemberDriver> driver_;
  std::unique_ptr<cluster::Copies> copies_;
  std::unique_ptr<cluster::Pulses> pulses_;
  std::unique_ptr<cluster::Relays> relays_;
  std::unique_ptr<cluster::Sources> sources_;
  std::unique_ptr<cluster::Holder> holder_;
  std::unique_ptr<ViewExchange> exchange_;
  std::unique_ptr<TrafficWatch> traffic_;  // null: nobody counts
  registry::RegistryService* registry_ = nullptr;
  std::string boot_;
  std::atomic<std::size_t> member_count_ = 1;
};

}  // namespace hansa::node
