#include "cluster/plan.h"

#include <algorithm>
#include <map>

namespace hansa::cluster {
namespace {

using Serving = std::vector<const MemberFigures*>;

const MemberFigures* find(const StatusInput& input, std::string_view id) {
  const auto found = std::ranges::find_if(input.members, [&](const auto& m) { return m.state.id.value() == id; });
  return found == input.members.end() ? nullptr : &*found;
}

MayStop no(std::string reason) {
  return {.may = false, .reason = std::move(reason)};
}

std::string counted(std::size_t have, std::uint64_t need) {
  return std::to_string(have) + " of " + std::to_string(need);
}

const std::string& id_of(const MemberFigures& member) {
  return member.state.id.value();
}

bool leaves_out(const MemberFigures& member, const oci::Digest& digest) {
  return std::ranges::binary_search(member.holds->but, digest);
}

// A blob that none of `full` holds, and that `leaver` may hold.
std::optional<oci::Digest> only_copy(const MemberFigures& leaver, const Serving& full) {
  for (const oci::Digest& digest : full.front()->holds->but) {
    const auto lacks = [&](const MemberFigures* other) { return leaves_out(*other, digest); };
    if (!std::ranges::all_of(full, lacks)) continue;
    if (!leaver.holds || !leaves_out(leaver, digest)) return digest;
  }
  return std::nullopt;
}

MayStop content_stays(const StatusInput& input, const MemberFigures& leaver, const Serving& others) {
  Serving full;
  const MemberFigures* filling = nullptr;
  for (const MemberFigures* other : others) {
    if (is_full(input, *other)) {
      full.push_back(other);
    } else {
      filling = other;
    }
  }
  const std::uint64_t need = input.layout.write_copies;
  if (full.size() < need || full.empty()) {
    return no("only " + counted(full.size(), need) + " needed others hold everything" +
              (filling != nullptr ? ": member " + id_of(*filling) + " is still filling" : ""));
  }
  if (const auto digest = only_copy(leaver, full)) {
    return no("no other member holds " + digest->text() + ", which it may hold");
  }
  return {.may = true, .reason = {}};
}

}  // namespace

bool is_full(const StatusInput& input, const MemberFigures& member) {
  if (!member.holds || member.holds->disk != member.state.record.disk) return false;
  const auto at = member.holds->at.find(input.layout.number);
  return at != member.holds->at.end() && at->second >= input.layout_mod;
}

std::vector<const MemberFigures*> serving(const StatusInput& input) {
  Serving out;
  for (const auto& member : input.members) {
    const auto& state = member.state;
    if (state.in_layout && state.alive && state.record.state == "active") out.push_back(&member);
  }
  return out;
}

MayStop may_stop(std::string_view id, const StatusInput& input) {
  const MemberFigures* leaver = find(input, id);
  if (leaver == nullptr) return no("there is no member " + std::string(id) + "; `hansa cluster status` lists them");
  if (input.needed_voters.contains(std::string(id))) {
    return no("its voter is needed: without it the metadata store has no quorum");
  }
  Serving others = serving(input);
  std::erase(others, leaver);
  const bool leaving = leaver->state.record.state == "draining";
  if (!leaver->state.in_layout && !leaving) return {.may = true, .reason = {}};
  if (others.empty()) return no("no other member is alive: pulls and pushes would stop");
  if (others.size() < input.layout.write_copies) {
    return no("pushes would wait: only " + counted(others.size(), input.layout.write_copies) +
              " needed members would be alive");
  }
  return content_stays(input, *leaver, others);
}

std::vector<std::string> degraded(const StatusInput& input) {
  std::vector<std::string> out;
  for (const auto& member : input.members) {
    if (!member.state.alive) out.push_back("member " + id_of(member) + " is dead: it gives no sign of life");
  }
  const std::size_t alive = serving(input).size();
  if (alive < input.layout.write_copies) {
    out.push_back("pushes wait: " + counted(alive, input.layout.write_copies) + " needed members are alive");
  }
  const bool cluster = !input.cluster.empty() || input.members.size() > 1;
  if (cluster && alive < catalog::durable_copies) {
    out.emplace_back("only one copy can be made; with two members everything lies on two disks");
  }
  for (const auto& member : input.members) {
    if (!cluster || !member.state.in_layout) continue;
    if (!is_full(input, member)) {
      out.push_back("member " + id_of(member) + " is filling: it does not hold everything yet");
    } else if (!member.holds->but.empty()) {
      out.push_back("member " + id_of(member) + " lacks " + std::to_string(member.holds->but.size()) +
                    " blobs that nobody could give it");
    }
  }
  out.insert(out.end(), input.also_degraded.begin(), input.also_degraded.end());
  return out;
}

std::vector<Drift> drift(const StatusInput& input) {
  std::set<std::string> rules;
  for (const auto& member : input.members) {
    for (const auto& [rule, hash] : member.state.record.settings) rules.insert(rule);
  }
  std::vector<Drift> out;
  for (const std::string& rule : rules) {
    std::map<std::optional<std::string>, std::vector<std::string>> by_value;
    for (const auto& member : input.members) {
      const auto& settings = member.state.record.settings;
      if (settings.empty()) continue;
      const auto found = settings.find(rule);
      const auto value = found == settings.end() ? std::nullopt : std::optional(found->second);
      by_value[value].push_back(id_of(member));
    }
    if (by_value.size() < 2) continue;
    Drift one{.rule = rule, .groups = {}};
    for (auto& [value, ids] : by_value) one.groups.push_back(std::move(ids));
    std::ranges::sort(one.groups);
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace hansa::cluster
