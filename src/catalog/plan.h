// The planners: one per row of the commit table. Each reads one snapshot and returns the exact compares, puts and
// deletes of one operation, or the refusal a client gets. Pure: the same snapshot and arguments give the same plan;
// nothing is written. Catalog::submit carries plans out, plans anew after a conflict, and passes a barrier before
// believing a refusal, so a planner may be called several times and must not keep what it saw.
//
// Rules in all of them: every key that is written is compared with its mod (0: absent), except `in/<name>`; pushes
// compare `repo/<name>` and put `in/<name>`, whatever removes compares both and puts `repo/<name>` (H5); every value
// carries the operation id (H8).
//
// Errors common to all: unavailable when the store was never founded (first start), and what the store reports.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "catalog/records.h"
#include "catalog/snapshot.h"
#include "io/time.h"
#include "meta/store.h"

namespace hansa::catalog {

inline constexpr std::size_t max_tags_per_commit = 100;
inline constexpr std::size_t max_sweep_records = 50;
inline constexpr std::uint64_t renew_age = 2;   // ticks: HEAD and mount renew what nothing holds from this age on
inline constexpr std::uint64_t sweep_age = 10;  // ticks: a sweep takes what nothing holds from this age on
inline constexpr std::size_t ticks_per_grace = 8;
inline constexpr std::size_t recent_ticks = 16;  // kept with every mod

struct Planning {
  Snapshot& view;
  std::string operation;   // id of this attempt's commit
  io::WallTime wall = {};  // for people only
};

struct Plan {
  std::optional<meta::Commit> commit;  // absent: nothing to do, the operation is done
  // References that are too large for the record; the catalogue supplies them to its view beside the commit.
  struct Supply {
    oci::RepositoryName repository;
    oci::Digest digest;
    std::shared_ptr<const oci::Manifest> manifest;
  };
  std::optional<Supply> supply;
};

// ---- pushes -----------------------------------------------------------------------------------------------------

// conflict when fewer than W receipts count (at most one tick old, their node active with that disk): renew them (H1).
struct LinkUpload {
  oci::RepositoryName repository;
  oci::Digest digest;
  std::uint64_t size = 0;
  std::vector<Receipt> receipts;
};
Result<Plan> plan_link(const Planning& planning, const LinkUpload& upload);

// not_found(blob) when the source does not have it (any more): open a session instead.
struct Mount {
  oci::RepositoryName repository;
  oci::RepositoryName from;
  oci::Digest digest;
};
Result<Plan> plan_mount(const Planning& planning, const Mount& mount);

// HEAD of a blob or a manifest by a caller who may push: re-puts what nothing holds at age >= renew_age (H6). The plan
// is empty in nearly all cases. not_found(blob) / not_found(manifest).
Result<Plan> plan_renew_blob(const Planning& planning, const oci::RepositoryName& name, const oci::Digest& digest);
Result<Plan> plan_renew_manifest(const Planning& planning, const oci::RepositoryName& name, const oci::Digest& digest);

// Errors: missing_reference(manifest) naming the first digest that is not there; precondition(manifest); whatever the
// callbacks refuse with; conflict for receipts as plan_link; too_many(tag) over max_tags_per_commit.
struct ManifestPut {
  oci::RepositoryName repository;
  oci::Digest digest;
  std::shared_ptr<const oci::Manifest> manifest;
  std::vector<oci::Tag> tags;
  std::vector<Receipt> receipts;  // of the body
  std::string user;
  std::optional<oci::Digest> if_match;  // every named tag must have this digest now
  bool if_none_match = false;           // no named tag (without tags: the manifest) may exist
  // Rights and immutability, decided in the snapshot and made true by the compares. `current`: what the tag shows now,
  // null if nothing. Absent callbacks allow everything.
  std::function<Result<void>(const oci::Tag&, const oci::Digest* current)> may_put_tag;
  std::function<Result<void>(bool exists)> may_put_manifest;  // asked once, also when tags are put
};
Result<Plan> plan_put_manifest(const Planning& planning, const ManifestPut& put);

// Puts the record of a manifest again with its references from the body (see View, unloaded). Empty if loaded.
Result<Plan> plan_load_references(const Planning& planning, const oci::RepositoryName& name, const oci::Digest& digest,
                                  std::shared_ptr<const oci::Manifest> manifest);

// ---- removals ---------------------------------------------------------------------------------------------------

// not_found(tag). `if_match`: precondition(tag) when it shows another digest.
Result<Plan> plan_delete_tag(const Planning& planning, const oci::RepositoryName& name, const oci::Tag& tag,
                             const std::optional<oci::Digest>& if_match = std::nullopt);
// not_found(manifest); referenced(manifest) while an index of the repository lists it. Tags beyond max_tags_per_commit
// are invisible at once and swept later (H13).
Result<Plan> plan_delete_manifest(const Planning& planning, const oci::RepositoryName& name, const oci::Digest& digest);
// not_found(blob); referenced(blob) while a manifest of the repository holds it or has this digest.
Result<Plan> plan_delete_blob(const Planning& planning, const oci::RepositoryName& name, const oci::Digest& digest);

struct TaskHold {  // leadership that every commit of a task compares
  std::string key;
  Revision create = 0;
};
// Removes those of `items` (at most max_sweep_records are looked at) that are still sweepable in this snapshot. Empty
// when none is.
Result<Plan> plan_sweep(const Planning& planning, const oci::RepositoryName& name, const std::vector<SweepItem>& items,
                        const SweepRules& rules, const std::optional<TaskHold>& task = std::nullopt);

// ---- members and the slow clock ---------------------------------------------------------------------------------

// Founds the catalogue: tick 1, layout 1 = {id} with W 1, node/<id>. exists when someone founded it already.
Result<Plan> plan_first_start(const Planning& planning, std::string_view id, const NodeRecord& node,
                              io::Duration tick_length);
// node/<id> and alive/<id> of a start or a join; addresses may have changed. A new disk, or a member that was gone,
// voids holds/<id>; a drain goes on. conflict while another process is alive as `id`.
Result<Plan> plan_node_start(const Planning& planning, std::string_view id, const NodeRecord& node,
                             meta::LeaseId lease = 0);
// Begins the tick after `current`; empty if someone else did. Only after one tick length measured on a monotonic clock.
Result<Plan> plan_tick(const Planning& planning, TickNumber current, io::Duration tick_length);

}  // namespace hansa::catalog
