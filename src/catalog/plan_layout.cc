#include <algorithm>

#include "catalog/member_plan.h"
#include "catalog/plan_parts.h"

namespace hansa::catalog {

namespace {

using Node = Stored<NodeRecord>;

Error no_member(std::string_view id) {
  return make_error(ErrorCode::not_found,
                    "there is no member " + std::string(id) + "; `hansa cluster status` lists them");
}

Result<Node> need_node(const Planning& planning, std::string_view id) {
  HANSA_TRY(auto node, planning.view.node(id));
  if (!node || node->record.state == "gone") return no_member(id);
  return *std::move(node);
}

Result<Node> need_own_start(const Planning& planning, std::string_view id, std::string_view boot) {
  HANSA_TRY(auto node, need_node(planning, id));
  if (node.record.boot == boot) return node;
  return make_error(ErrorCode::conflict,
                    "another process was started as node " + std::string(id) +
                        " since this one; this one gives no receipts any more. Stop it, and give each its own folder");
}

Result<Stored<LayoutRecord>> need_layout(const Planning& planning) {
  HANSA_TRY(auto layout, planning.view.layout());
  if (!layout)
    return make_error(ErrorCode::unavailable, "the catalogue has no layout yet: the first start is not done");
  return *std::move(layout);
}

bool contains(const std::vector<std::string>& members, std::string_view id) {
  return std::ranges::find(members, id) != members.end();
}

}  // namespace

Result<Plan> plan_alive(const Planning& planning, std::string_view id, const AliveRecord& alive, meta::LeaseId lease) {
  HANSA_TRY(const auto node, need_own_start(planning, id, alive.boot));
  HANSA_TRY(const Revision before, planning.view.mod_of(keys::alive(id)));
  AliveRecord record = alive;
  record.operation = planning.operation;
  Draft draft(planning.operation);
  draft.same(keys::node(id), node.mod);
  draft.same(keys::alive(id), before).put(keys::alive(id), encode(record), lease);
  return std::move(draft).plan();
}

Result<Plan> plan_hold(const Planning& planning, std::string_view id, std::string_view boot, const HoldsRecord& mark) {
  HANSA_TRY(const auto node, need_own_start(planning, id, boot));
  if (node.record.disk != mark.disk) {
    return make_error(ErrorCode::conflict, "node " + std::string(id) + " is registered with another disk; restart it");
  }
  if (mark.but.size() > max_but) {
    return make_error(ErrorCode::too_many, "the mark of node " + std::string(id) + " would leave out " +
                                               std::to_string(mark.but.size()) + " blobs, over " +
                                               std::to_string(max_but));
  }
  HANSA_TRY(const auto before, planning.view.holds(id));
  HoldsRecord record = mark;
  record.operation = planning.operation;
  if (before && record.extra.empty()) record.extra = before->record.extra;
  Draft draft(planning.operation);
  draft.same(keys::node(id), node.mod);
  draft.same(keys::holds(id), before ? before->mod : 0).put(keys::holds(id), encode(record));
  return std::move(draft).plan();
}

Result<Plan> plan_drain(const Planning& planning, std::string_view id) {
  HANSA_TRY(auto node, need_node(planning, id));
  if (node.record.state == "draining") return Plan{};
  HANSA_TRY(const auto layout, need_layout(planning));
  std::size_t others = 0;
  Draft draft(planning.operation);
  for (const std::string& member : layout.record.members) {
    if (member == id) continue;
    HANSA_TRY(const auto record, planning.view.node(member));
    if (!record || record->record.state != "active") continue;
    draft.same(keys::node(member), record->mod);  // no two members drain because each relied on the other
    ++others;
  }
  if (others < durable_copies) {
    return make_error(ErrorCode::referenced,
                      "without node " + std::string(id) +
                          " fewer than two active members would hold everything; add "
                          "another first, or stop it and `hansa cluster forget` it to run with one copy");
  }
  node.record.state = "draining";
  node.record.operation = planning.operation;
  draft.same(keys::node(id), node.mod).put(keys::node(id), encode(node.record));
  return std::move(draft).plan();
}

namespace {

Error waits(std::string_view id, std::string why) {
  return make_error(ErrorCode::conflict, "node " + std::string(id) + " cannot leave yet: " + std::move(why));
}

using Marks = std::vector<std::tuple<std::string, NodeRecord, HoldsRecord>>;

// Every blob that a mark leaves out must be held by as many members of the layout as a push needs.
Result<void> check_left_out(const Planning& planning, std::string_view id, const LayoutRecord& layout,
                            const Marks& marks) {
  for (const auto& [member, ignored, mark] : marks) {
    for (const oci::Digest& digest : mark.but) {
      HANSA_TRY(const Revision since, planning.view.since_of(digest));
      if (since == 0) continue;
      const auto holders = std::ranges::count_if(marks, [&](const auto& other) {
        return holds_digest(std::get<0>(other), std::get<1>(other), std::get<2>(other), layout, digest, since);
      });
      if (static_cast<std::uint64_t>(holders) < layout.write_copies) {
        return waits(id, std::to_string(holders) + " of " + std::to_string(layout.write_copies) +
                             " needed members hold " + digest.text());
      }
    }
  }
  return {};
}

}  // namespace

Result<Plan> plan_leave(const Planning& planning, std::string_view id, const TaskHold& task) {
  HANSA_TRY(auto node, need_node(planning, id));
  if (node.record.state != "draining") return waits(id, "it is not draining");
  HANSA_TRY(const auto layout, need_layout(planning));
  if (contains(layout.record.members, id)) return waits(id, "the layout still counts on it");
  Draft draft(planning.operation);
  draft.same_create(task.key, task.create).same(std::string(keys::layout), layout.mod);
  Marks marks;
  for (const std::string& member : layout.record.members) {
    HANSA_TRY(auto other, planning.view.node(member));
    HANSA_TRY(auto mark, planning.view.holds(member));
    if (!other || other->record.state != "active") return waits(id, "member " + member + " is not active");
    if (!mark || mark->record.disk != other->record.disk) return waits(id, "member " + member + " is still filling");
    const auto at = mark->record.at.find(layout.record.number);
    if (at == mark->record.at.end() || at->second < layout.mod) {
      return waits(id, "member " + member + " does not hold everything yet");
    }
    draft.same(keys::node(member), other->mod).same(keys::holds(member), mark->mod);
    marks.emplace_back(member, std::move(other->record), std::move(mark->record));
  }
  HANSA_CHECK(check_left_out(planning, id, layout.record, marks));
  node.record.state = "gone";
  node.record.operation = planning.operation;
  draft.same(keys::node(id), node.mod).put(keys::node(id), encode(node.record));
  for (const std::string& key : {keys::holds(id), keys::alive(id)}) {
    HANSA_TRY(const Revision mod, planning.view.mod_of(key));
    if (mod != 0) draft.same(key, mod).remove(key);
  }
  return std::move(draft).plan();
}

Result<Plan> plan_forget(const Planning& planning, std::string_view id) {
  HANSA_TRY(auto node, need_node(planning, id));
  HANSA_TRY(const Revision alive, planning.view.mod_of(keys::alive(id)));
  if (alive != 0) {
    return make_error(ErrorCode::conflict, "node " + std::string(id) +
                                               " is alive; drain it instead, or stop it and wait for its lease to end");
  }
  HANSA_TRY(const auto layout, need_layout(planning));
  bool other = false;
  Draft draft(planning.operation);
  for (const std::string& member : layout.record.members) {
    if (member == id) continue;
    HANSA_TRY(const auto record, planning.view.node(member));
    if (!record || record->record.state != "active") continue;
    draft.same(keys::node(member), record->mod);
    other = true;
  }
  if (!other) return make_error(ErrorCode::referenced, "node " + std::string(id) + " is the only member left");
  node.record.state = "gone";
  node.record.operation = planning.operation;
  draft.same(keys::node(id), node.mod).put(keys::node(id), encode(node.record));
  draft.same(keys::alive(id), 0);
  HANSA_TRY(const Revision holds, planning.view.mod_of(keys::holds(id)));
  if (holds != 0) draft.same(keys::holds(id), holds).remove(keys::holds(id));
  return std::move(draft).plan();
}

namespace {

struct Due {  // the one change of the members
  const Member* leaves = nullptr;
  const Member* joins = nullptr;
  bool gone = false;  // who leaves was forgotten, or has left
};

// Whoever is gone goes first, then whoever drains, unless nobody would stay; then a newcomer, when nobody is owed.
Due due_change(const std::vector<Member>& nodes, const LayoutRecord& layout) {
  const auto inside = [&](const Member& node) { return contains(layout.members, node.id); };
  for (const Member& node : nodes) {
    if (inside(node) && node.record.state == "gone" && layout.members.size() > 1) return {&node, nullptr, true};
  }
  for (const Member& node : nodes) {
    if (inside(node) && node.record.state == "draining" && layout.members.size() > durable_copies) {
      return {&node, nullptr, false};
    }
  }
  for (const Member& node : nodes) {
    if (!inside(node) && node.record.state == "active" && node.record.role == "store") return {nullptr, &node, false};
  }
  return {};
}

// Whether every member of the layout holds all that the catalogue named when the layout began.
Result<bool> settled(const Planning& planning, const Stored<LayoutRecord>& layout) {
  for (const std::string& member : layout.record.members) {
    HANSA_TRY(const auto node, planning.view.node(member));
    HANSA_TRY(const auto mark, planning.view.holds(member));
    if (!node || !mark || mark->record.disk != node->record.disk) return false;
    const auto at = mark->record.at.find(layout.record.number);
    if (at == mark->record.at.end() || at->second < layout.mod) return false;
  }
  return true;
}

}  // namespace

Result<Plan> plan_layout_change(const Planning& planning, const TaskHold& task) {
  HANSA_TRY(auto layout, need_layout(planning));
  HANSA_TRY(const auto nodes, planning.view.nodes());
  const Due due = due_change(nodes, layout.record);
  const Member* changed = due.joins != nullptr ? due.joins : due.leaves;
  if (changed == nullptr) return Plan{};
  LayoutRecord next = layout.record;
  next.previous = layout.record.members;
  if (due.joins != nullptr) {
    next.members.push_back(changed->id);
  } else {
    std::erase(next.members, changed->id);
  }
  std::ranges::sort(next.members);
  // A live member goes, and a newcomer comes, only when the layout before is settled; one that is dead goes at once.
  const bool founding = layout.record.members.size() == 1;
  if (!due.gone && !founding) {
    HANSA_TRY(const bool ready, settled(planning, layout));
    if (!ready) return Plan{};
  }
  next.number += 1;
  next.write_copies = std::min<std::uint64_t>(durable_copies, next.members.size());
  next.operation = planning.operation;
  Draft draft(planning.operation);
  draft.same_create(task.key, task.create);
  draft.same(keys::node(changed->id), changed->mod);
  draft.same(std::string(keys::layout), layout.mod).put(std::string(keys::layout), encode(next));
  return std::move(draft).plan();
}

}  // namespace hansa::catalog
