// Pieces that the planners share: building a commit whose every written key is compared, and the tick, layout and
// receipts of a push.
#pragma once

#include <string>
#include <vector>

#include "catalog/plan.h"

namespace hansa::catalog {

// Collects one commit. REQUIRES: each key is written once.
class Draft {
 public:
  explicit Draft(const std::string& operation) { commit_.operation = operation; }

  Draft& same(std::string key, Revision mod) {
    commit_.compares.push_back({std::move(key), mod, meta::Compare::Field::mod});
    return *this;
  }
  Draft& same_create(std::string key, Revision create) {
    commit_.compares.push_back({std::move(key), create, meta::Compare::Field::create});
    return *this;
  }
  Draft& put(std::string key, std::string value, meta::LeaseId lease = 0) {
    bytes_ += key.size() + value.size();
    commit_.puts.push_back({std::move(key), std::move(value), lease});
    return *this;
  }
  Draft& remove(std::string key) {
    bytes_ += key.size();
    commit_.deletes.push_back(std::move(key));
    return *this;
  }
  std::size_t bytes() const { return bytes_; }
  std::size_t writes() const { return commit_.puts.size() + commit_.deletes.size(); }
  Plan plan() && { return Plan{std::move(commit_), std::nullopt}; }

 private:
  meta::Commit commit_;
  std::size_t bytes_ = 0;
};

std::int64_t wall_ms(const Planning& planning);

// The tick record, or unavailable before the first start.
Result<Stored<TickRecord>> need_tick(const Planning& planning);

// Compares `tick`.
Result<void> compare_tick(const Planning& planning, Draft& draft);

// Compares `tick`, `layout` and node/<x> of the receipts that count; conflict when fewer than W do (H1, H4). Returns
// where the bytes lie: "node#disk".
Result<std::vector<std::string>> count_receipts(const Planning& planning, const std::vector<Receipt>& receipts,
                                                Draft& draft);

// A push or mount founds the repository if it has no record yet; otherwise nothing.
Result<void> found_repository(const Planning& planning, const oci::RepositoryName& name, Draft& draft);

// The gate as a push passes it: compares repo/<n> (putting it if absent) and puts in/<n> blindly.
Result<void> push_gate(const Planning& planning, const oci::RepositoryName& name, Draft& draft);

// The gate as a removal passes it: compares both doors and puts repo/<n>.
Result<void> removal_gate(const Planning& planning, const oci::RepositoryName& name, Draft& draft);

// Refuses while references are unloaded: who holds what is not known then (H15).
Result<void> need_loaded(const Planning& planning, const oci::RepositoryName& name);

}  // namespace hansa::catalog
