#include <algorithm>
#include <bit>

#include "catalog/plan_parts.h"

namespace hansa::catalog {

namespace {

// Keeps the last `recent_ticks`, then the fewer the older: of marks that are a to 2a ticks old those whose numbers a
// power of two divides, about a / recent_ticks. So an age is late by a tick in sixteen at most, whatever it is, and
// what was kept once is kept or dropped by its age alone.
std::vector<TickMark> thinned(const std::vector<TickMark>& past, TickNumber now) {
  std::vector<TickMark> kept;
  for (const TickMark& mark : past) {
    const TickNumber age = now - mark.number;
    const TickNumber every = std::bit_floor(std::max<TickNumber>(age / recent_ticks, 1));
    if (mark.number % every == 0) kept.push_back(mark);
  }
  return kept;
}

std::int64_t milliseconds(io::Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

}  // namespace

Result<Plan> plan_first_start(const Planning& planning, std::string_view id, const NodeRecord& node,
                              io::Duration tick_length) {
  HANSA_TRY(const auto tick, planning.view.tick());
  HANSA_TRY(const auto layout, planning.view.layout());
  HANSA_TRY(const auto self, planning.view.node(id));
  if (tick || layout || self) return make_error(ErrorCode::exists, "the catalogue was founded already: join it");
  TickRecord first;
  first.operation = planning.operation;
  first.number = 1;
  first.wall_ms = wall_ms(planning);
  first.length_ms = milliseconds(tick_length);
  LayoutRecord alone;
  alone.operation = planning.operation;
  alone.number = 1;
  alone.members.emplace_back(id);
  NodeRecord record = node;
  record.operation = planning.operation;
  Draft draft(planning.operation);
  draft.same(std::string(keys::tick), 0).put(std::string(keys::tick), encode(first));
  draft.same(std::string(keys::layout), 0).put(std::string(keys::layout), encode(alone));
  draft.same(keys::node(id), 0).put(keys::node(id), encode(record));
  return std::move(draft).plan();
}

Result<Plan> plan_node_start(const Planning& planning, std::string_view id, const NodeRecord& node,
                             meta::LeaseId lease) {
  HANSA_TRY(const Revision alive, planning.view.mod_of(keys::alive(id)));
  if (alive != 0) {
    return make_error(ErrorCode::conflict, "another process runs as node " + std::string(id) +
                                               "; stop it, or wait until its lease has run out");
  }
  HANSA_TRY(const auto before, planning.view.node(id));
  NodeRecord record = node;
  record.operation = planning.operation;
  if (before && record.extra.empty()) record.extra = before->record.extra;
  if (before && before->record.state == "draining") record.state = before->record.state;  // a restart ends no drain
  Draft draft(planning.operation);
  draft.same(keys::node(id), before ? before->mod : 0).put(keys::node(id), encode(record));
  AliveRecord first;
  first.operation = planning.operation;
  first.boot = node.boot;
  draft.same(keys::alive(id), 0).put(keys::alive(id), encode(first), lease);
  // Who left comes back as a new member: nothing is believed of its disk.
  if (!before || before->record.disk != node.disk || before->record.state == "gone") {
    HANSA_TRY(const Revision holds, planning.view.mod_of(keys::holds(id)));
    if (holds != 0) draft.same(keys::holds(id), holds).remove(keys::holds(id));
  }
  return std::move(draft).plan();
}

Result<Plan> plan_tick(const Planning& planning, TickNumber current, io::Duration tick_length) {
  HANSA_TRY(auto tick, need_tick(planning));
  if (tick.record.number != current) return Plan{};
  TickRecord next = std::move(tick.record);
  next.past.push_back({next.number, tick.mod, next.wall_ms, next.measured_ms});
  // Who passes the tick measured his own length of it, which a changed configuration may have made another one.
  next.measured_ms += std::min(next.length_ms, milliseconds(tick_length));
  next.operation = planning.operation;
  next.number += 1;
  next.wall_ms = wall_ms(planning);
  next.length_ms = milliseconds(tick_length);
  next.past = thinned(next.past, next.number);
  Draft draft(planning.operation);
  draft.same(std::string(keys::tick), tick.mod).put(std::string(keys::tick), encode(next));
  return std::move(draft).plan();
}

}  // namespace hansa::catalog
