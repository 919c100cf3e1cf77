// What the operator asks of a cluster before touching it, decided from a picture that one node has of all members.
// Pure; the picture is a value. Answers are advice for people and scripts: safety never rests on them (H1, H4).
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "catalog/member_plan.h"
#include "cluster/history.h"
#include "cluster/membership.h"

namespace hansa::cluster {

struct MemberFigures {
  MemberState state;
  std::optional<catalog::HoldsRecord> holds;  // its mark; empty: none yet
};

struct StatusInput {
  std::string cluster;  // its name or nonce; empty: a single node
  std::string self;     // who answers
  std::vector<MemberFigures> members;
  catalog::LayoutRecord layout;
  catalog::Revision layout_mod = 0;
  catalog::Revision newest = 0;            // newest revision that is known
  std::set<std::string> needed_voters;     // nodes without whose voter there would be no quorum; none if not known
  std::vector<std::string> also_degraded;  // what others found, in words (voters, the metadata store)
  std::string metadata = "{}";             // JSON objects for status_json
  std::string voters = "{}";
  std::vector<History::Member> history;  // of the last minutes; empty: nobody counts
};

// Whether a member has, by its mark, all that the catalogue named when the newest layout began, `but` apart.
bool is_full(const StatusInput& input, const MemberFigures& member);
// Members of the layout that are active and alive: those whose receipts a push can have now.
std::vector<const MemberFigures*> serving(const StatusInput& input);

struct MayStop {
  bool may = false;
  std::string reason;  // why not; empty: it may
};
// Whether the others go on without `id`: pushes find their copies, every blob that it holds can be had from others,
// and the voters keep a quorum. Whoever is dead counts for nothing, so the answer never turns to yes because somebody
// died.
MayStop may_stop(std::string_view id, const StatusInput& input);

// What is not as it should be, in sentences; empty: all is well.
std::vector<std::string> degraded(const StatusInput& input);

// A rule that must be the same everywhere and is not. Members that publish no rules at all are left out.
struct Drift {
  std::string rule;
  std::vector<std::vector<std::string>> groups;  // members that agree; a rule that is absent is a value of its own
};
std::vector<Drift> drift(const StatusInput& input);

}  // namespace hansa::cluster
