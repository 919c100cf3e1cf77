#include "cluster/status.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cluster/members.h"

namespace hansa::cluster {
namespace {

using Json = nlohmann::json;

Json object_of(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  return json.is_object() ? json : Json::object();
}

Json mark_of(const StatusInput& input, const MemberFigures& member) {
  if (!member.holds) return nullptr;
  Json json = {{"layout", 0}, {"revision", 0}};
  if (!member.holds->at.empty()) {
    const auto& [layout, revision] = *member.holds->at.rbegin();
    json["layout"] = layout;
    json["revision"] = revision;
  }
  json["left_out"] = member.holds->but.size();
  Json digests = Json::array();
  for (const oci::Digest& digest : member.holds->but) {
    if (digests.size() == shown_digests) break;
    digests.push_back(digest.text());
  }
  json["left_out_digests"] = std::move(digests);
  json["full"] = is_full(input, member);
  return json;
}

Json repair_of(const MemberLoad& load) {
  return {{"owed", load.missing},
          {"owed_bytes", load.missing_bytes},
          {"fetched_bytes", load.filled_bytes},
          {"seconds_left", load.seconds_left ? Json(*load.seconds_left) : Json(nullptr)}};
}

Json member_of(const StatusInput& input, const MemberFigures& member) {
  const MemberState& state = member.state;
  const MayStop stop = may_stop(state.id.value(), input);
  return {{"id", state.id.value()},
          {"url", state.record.addresses.client},
          {"peer", state.record.addresses.peer},
          {"role", state.record.role},
          {"state", state.record.state},
          {"alive", state.alive},
          {"in_layout", state.in_layout},
          {"version", state.record.version},
          {"disk_total", state.load.disk_total},
          {"disk_available", state.load.disk_available},
          {"requests", state.load.requests},
          {"uploads", state.load.uploads},
          {"sent", state.load.sent},
          {"received", state.load.received},
          {"applied", state.load.applied},
          {"lag", input.newest - std::min(input.newest, state.load.applied)},
          {"holds", mark_of(input, member)},
          {"repair", repair_of(state.load)},
          {"may_stop", stop.may},
          {"may_stop_reason", stop.reason}};
}

Json drift_of(const StatusInput& input) {
  Json out = Json::array();
  for (const Drift& one : drift(input)) out.push_back({{"rule", one.rule}, {"groups", one.groups}});
  return out;
}

Json rates_of(const History::Rates& rates) {
  Json out = Json::array();
  for (const auto& rate : rates) out.push_back(rate ? Json(*rate) : Json(nullptr));
  return out;
}

Json history_of(const StatusInput& input) {
  Json members = Json::array();
  for (const auto& member : input.history) {
    members.push_back({{"id", member.id}, {"sent", rates_of(member.sent)}, {"received", rates_of(member.received)}});
  }
  const auto step = std::chrono::duration_cast<std::chrono::seconds>(history_step);
  return {{"step_seconds", step.count()}, {"members", std::move(members)}};
}

Result<MemberFigures> figures_of(catalog::Snapshot& view, catalog::Member entry, const catalog::LayoutRecord& layout) {
  MemberFigures figures;
  HANSA_TRY(figures.state, member_state(view, std::move(entry), layout));
  if (figures.state.holds) figures.holds = *figures.state.holds;
  return figures;
}

}  // namespace

Result<StatusInput> status_input(catalog::Snapshot& view, std::string cluster, std::string self) {
  StatusInput input;
  input.cluster = std::move(cluster);
  input.self = std::move(self);
  input.newest = view.revision();
  HANSA_TRY(auto layout, view.layout());
  if (layout) {
    input.layout = std::move(layout->record);
    input.layout_mod = layout->mod;
  }
  HANSA_TRY(auto nodes, view.nodes());
  for (auto& entry : nodes) {
    if (entry.record.state == "gone") continue;
    HANSA_TRY(MemberFigures figures, figures_of(view, std::move(entry), input.layout));
    // What this node shows now is newer than what it last said.
    if (figures.state.id.value() == input.self) figures.state.load.applied = view.revision();
    input.members.push_back(std::move(figures));
  }
  if (input.members.size() == 1 && input.members[0].state.id.value() == input.self) input.members[0].state.alive = true;
  return input;
}

std::string status_json(const StatusInput& input) {
  Json members = Json::array();
  for (const auto& member : input.members) members.push_back(member_of(input, member));
  const Json out = {{"cluster", input.cluster},
                    {"self", input.self},
                    {"members", std::move(members)},
                    {"layout",
                     {{"number", input.layout.number},
                      {"members", input.layout.members},
                      {"write_copies", input.layout.write_copies},
                      {"revision", input.layout_mod}}},
                    {"revision", input.newest},
                    {"degraded", degraded(input)},
                    {"drift", drift_of(input)},
                    {"metadata", object_of(input.metadata)},
                    {"voters", object_of(input.voters)},
                    {"history", history_of(input)}};
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace hansa::cluster
