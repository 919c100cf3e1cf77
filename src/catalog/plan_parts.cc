#include "catalog/plan_parts.h"

#include <algorithm>

namespace hansa::catalog {

std::int64_t wall_ms(const Planning& planning) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(planning.wall.time_since_epoch()).count();
}

Result<Stored<TickRecord>> need_tick(const Planning& planning) {
  HANSA_TRY(auto tick, planning.view.tick());
  if (!tick) return make_error(ErrorCode::unavailable, "the catalogue has no clock yet: the first start is not done");
  return *std::move(tick);
}

Result<void> compare_tick(const Planning& planning, Draft& draft) {
  HANSA_TRY(const auto tick, need_tick(planning));
  draft.same(std::string(keys::tick), tick.mod);
  return {};
}

Result<std::vector<std::string>> count_receipts(const Planning& planning, const std::vector<Receipt>& receipts,
                                                Draft& draft) {
  HANSA_TRY(const auto tick, need_tick(planning));
  HANSA_TRY(const auto layout, planning.view.layout());
  if (!layout)
    return make_error(ErrorCode::unavailable, "the catalogue has no layout yet: the first start is not done");
  draft.same(std::string(keys::tick), tick.mod);
  draft.same(std::string(keys::layout), layout->mod);
  std::vector<std::string> on;
  std::vector<std::string> counted;
  for (const Receipt& receipt : receipts) {
    if (receipt.tick + 1 < tick.record.number) continue;  // the byte sweep may have passed since
    if (std::ranges::find(counted, receipt.node) != counted.end()) continue;
    if (std::ranges::find(layout->record.members, receipt.node) == layout->record.members.end()) continue;
    HANSA_TRY(const auto node, planning.view.node(receipt.node));
    if (!node || node->record.disk != receipt.disk || node->record.state != "active") continue;
    draft.same(keys::node(receipt.node), node->mod);
    counted.push_back(receipt.node);
    on.push_back(receipt.node + "#" + receipt.disk);
  }
  if (counted.size() >= layout->record.write_copies) return on;
  return make_error(ErrorCode::conflict, Subject::blob,
                    std::to_string(counted.size()) + " of " + std::to_string(layout->record.write_copies) +
                        " needed copies are confirmed in this tick; confirm them again and repeat");
}

namespace {

// Compares repo/<n>; puts its first record if absent. Returns whether it put it.
Result<bool> compare_or_found(const Planning& planning, const oci::RepositoryName& name, Draft& draft) {
  HANSA_TRY(const Revision mod, planning.view.mod_of(keys::repo(name)));
  draft.same(keys::repo(name), mod);
  if (mod != 0) return false;
  RepositoryRecord record;
  record.operation = planning.operation;
  record.created_ms = wall_ms(planning);
  draft.put(keys::repo(name), encode(record));
  return true;
}

}  // namespace

Result<void> found_repository(const Planning& planning, const oci::RepositoryName& name, Draft& draft) {
  HANSA_TRY(const Revision mod, planning.view.mod_of(keys::repo(name)));
  if (mod != 0) return {};  // not compared: links do not pass the gate
  HANSA_CHECK(compare_or_found(planning, name, draft));
  return {};
}

Result<void> push_gate(const Planning& planning, const oci::RepositoryName& name, Draft& draft) {
  HANSA_CHECK(compare_or_found(planning, name, draft));
  draft.put(keys::in(name), encode_mark(planning.operation));
  return {};
}

Result<void> removal_gate(const Planning& planning, const oci::RepositoryName& name, Draft& draft) {
  HANSA_TRY(auto repository, planning.view.repository(name));
  if (!repository) repository.emplace();
  HANSA_TRY(const Revision in, planning.view.mod_of(keys::in(name)));
  draft.same(keys::repo(name), repository->mod).same(keys::in(name), in);
  repository->record.operation = planning.operation;
  draft.put(keys::repo(name), encode(repository->record));
  return {};
}

Result<void> need_loaded(const Planning& planning, const oci::RepositoryName& name) {
  HANSA_TRY(const auto state, planning.view.repository_state(name));
  if (!state || state->unloaded == 0) return {};
  return make_error(ErrorCode::unavailable, Subject::repository,
                    "repository " + name.text() + " is still loading what its manifests refer to; try again soon");
}

}  // namespace hansa::catalog
