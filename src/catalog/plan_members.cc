#include <algorithm>

#include "catalog/plan_parts.h"

namespace hansa::catalog {

namespace {

constexpr std::int64_t hour_ms = 60LL * 60 * 1000;
constexpr std::int64_t day_ms = 24 * hour_ms;
constexpr std::int64_t hourly_for_ms = 2 * day_ms;
constexpr std::int64_t daily_for_ms = 400 * day_ms;

// Keeps the last `recent_ticks`, then one an hour for two days, then one a day for 400 days. Ages stay lower bounds
// whatever is dropped, so that wall times choose here is safe.
std::vector<TickMark> thinned(const std::vector<TickMark>& past, std::int64_t now_ms) {
  std::vector<TickMark> kept;
  std::int64_t hour = -1;
  std::int64_t day = -1;
  const std::size_t recent_from = past.size() > recent_ticks ? past.size() - recent_ticks : 0;
  for (std::size_t i = 0; i < past.size(); ++i) {
    const TickMark& mark = past[i];
    const std::int64_t since = now_ms - mark.wall_ms;
    const bool new_hour = mark.wall_ms / hour_ms != std::exchange(hour, mark.wall_ms / hour_ms);
    const bool new_day = mark.wall_ms / day_ms != std::exchange(day, mark.wall_ms / day_ms);
    const bool wanted = (since < hourly_for_ms && new_hour) || (since < daily_for_ms && new_day);
    if (i >= recent_from || wanted) kept.push_back(mark);
  }
  // A clock that jumps may keep too many; the oldest go.
  constexpr std::size_t most = recent_ticks + 48 + 400;
  if (kept.size() > most) kept.erase(kept.begin(), kept.end() - most);
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
  next.past = thinned(next.past, next.wall_ms);
  Draft draft(planning.operation);
  draft.same(std::string(keys::tick), tick.mod).put(std::string(keys::tick), encode(next));
  return std::move(draft).plan();
}

}  // namespace hansa::catalog
