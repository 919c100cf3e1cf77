// Members: the Membership of a node's own view: read again when a node, a sign of life, a mark or the layout changed.
// Thread-safe; a view that cannot be read leaves the last picture.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "catalog/catalog.h"
#include "cluster/membership.h"

namespace hansa::cluster {

class Members final : public Membership {
 public:
  // `store` and `catalog` outlive it.
  static Result<std::unique_ptr<Members>> open(meta::MetadataStore& store, catalog::Catalog& catalog, io::NodeId self);

  const io::NodeId& self() const override { return self_; }
  std::vector<MemberState> members() const override;

 private:
  Members(catalog::Catalog& catalog, io::NodeId self) : catalog_(catalog), self_(std::move(self)) {}
  Result<std::vector<MemberState>> look() const;

  catalog::Catalog& catalog_;
  const io::NodeId self_;
  mutable std::atomic<std::uint64_t> changes_ = 1;
  mutable std::mutex mutex_;
  mutable std::uint64_t seen_ = 0;
  mutable std::vector<MemberState> members_;
  std::unique_ptr<meta::Subscription> subscription_;  // last: ends before what its listener uses
};

// One member as this view shows it.
Result<MemberState> member_state(catalog::Snapshot& view, catalog::Member entry, const catalog::LayoutRecord& layout);

}  // namespace hansa::cluster
