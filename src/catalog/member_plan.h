// Planners of what members do (commit table: signs of life, drain, leave, forget, layout, holds). Founding and starting
// stand in plan.h. Rules and errors as there.
#pragma once

#include <string_view>

#include "catalog/member_records.h"
#include "catalog/plan.h"

namespace hansa::catalog {

inline constexpr std::uint64_t durable_copies = 2;  // W with two members or more (P1)

// alive/<id> with new figures, or taken again under a new lease after it was lost. conflict when node/<id> shows
// another start than `alive.boot`: another process runs as this node, and this one must stop.
Result<Plan> plan_alive(const Planning& planning, std::string_view id, const AliveRecord& alive, meta::LeaseId lease);

// holds/<id>. conflict as plan_alive, and when node/<id> has another disk.
Result<Plan> plan_hold(const Planning& planning, std::string_view id, std::string_view boot, const HoldsRecord& mark);

// node/<id> becomes draining: none of its receipts counts from here on. Empty if it is. not_found: no such member.
// referenced: fewer than two active members would stay.
Result<Plan> plan_drain(const Planning& planning, std::string_view id);

// The end of a drain: node/<id> becomes gone, its mark and sign of life go. conflict, with the reason, unless the
// layout is without it and every member of the layout is active and holds all that it names since that layout, what
// its mark leaves out being held by W of them.
Result<Plan> plan_leave(const Planning& planning, std::string_view id, const TaskHold& task);

// The operator declares a dead member lost. conflict while it is alive; not_found: no such member. The layout follows
// by the task's holder, and only then may W become 1.
Result<Plan> plan_forget(const Planning& planning, std::string_view id);

// The next layout, if one is due; else empty. First out goes whoever is draining or gone, then in comes an active store
// member; one at a time. W = 2 once there are two members; it sinks to 1 only when the layout shrinks to one member
// because the operator forgot the other (state gone).
Result<Plan> plan_layout_change(const Planning& planning, const TaskHold& task);

}  // namespace hansa::catalog
