// TaskLeader: leadership of one background task, held by a lease on the record task/<name>, so that in a cluster one
// node at a time does it. Never for safety alone: every commit of the task compares the record's create revision.
//
// Use from one task at a time. The store and the catalogue outlive it; dropping it ends the lease.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "catalog/catalog.h"
#include "meta/store.h"

namespace hansa::upkeep {

class TaskLeader {
 public:
  TaskLeader(meta::MetadataStore& store, catalog::Catalog& catalog, std::string name)
      : store_(store), catalog_(catalog), key_(catalog::keys::task(name)) {}

  // The leadership, taken if it is free. Empty while another node holds it.
  io::Task<Result<std::optional<catalog::TaskHold>>> hold();
  // Lets it go, so that another node can take it: for who has nothing to do, or cannot. Not while hold() runs.
  void release();

 private:
  meta::MetadataStore& store_;
  catalog::Catalog& catalog_;
  std::string key_;
  std::unique_ptr<meta::Lease> lease_;
  std::optional<catalog::TaskHold> held_;
};

}  // namespace hansa::upkeep
