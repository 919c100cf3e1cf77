// Membership: who the members are, as this node's view shows them. Liveness is a hint for choosing whom to ask, never a
// ground for safety: receipts count by the compares of their commit (H1, H4).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "catalog/member_records.h"
#include "catalog/records.h"
#include "io/peer_network.h"

namespace hansa::cluster {

struct MemberLoad {            // as the member last put it into alive/<id>
  std::uint64_t requests = 0;  // under way
  std::uint64_t uploads = 0;   // open
  std::uint64_t disk_total = 0;
  std::uint64_t disk_available = 0;
  std::uint64_t applied = 0;  // revision of its view
  // What it lacks and fetches (catalog::AliveRecord).
  std::uint64_t missing = 0;
  std::uint64_t missing_bytes = 0;
  std::uint64_t filled_bytes = 0;
  std::optional<std::uint64_t> seconds_left;
  std::uint64_t sent = 0;      // payload bytes since its start
  std::uint64_t received = 0;  // likewise
};

struct MemberState {
  io::NodeId id;
  catalog::NodeRecord record;
  bool alive = false;      // its lease stands
  bool in_layout = false;  // of the newest layout: its receipts count
  MemberLoad load;
  std::shared_ptr<const catalog::HoldsRecord> holds;  // its mark; null: none yet
};

class Membership {
 public:
  virtual ~Membership() = default;
  virtual const io::NodeId& self() const = 0;
  // All members that are not gone, in the order of their ids. Cheap, any thread.
  virtual std::vector<MemberState> members() const = 0;
};

}  // namespace hansa::cluster
