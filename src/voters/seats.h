// Seats: who wants to be a voter of the managed etcd, and who may. One record seat/<node id>:
//
//   asked    the node wants a seat for this disk; what it had before under its name must go first (H3)
//   granted  etcd knows a new member (a learner) for it; the node may start etcd, empty, as that member
//   taken    the node has started it; only from here on it may be promoted
//
// A voter whose data is gone asks again and so gets a new member id; it never starts etcd under the old one. Values and
// pure planners, carried out through Catalog::submit.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "catalog/plan.h"

namespace hansa::voters {

struct SeatRecord : catalog::RecordBase {
  std::string state;     // asked, granted, taken
  std::string disk;      // nonce of the disk that wants it
  std::string peer_url;  // of etcd on that machine
  std::string client_url;
  std::string member;   // etcd's member id, hexadecimal; from granted on
  std::string initial;  // --initial-cluster of the start
};
struct Seat {
  std::string node;
  SeatRecord record;
  catalog::Revision mod = 0;
};

// etcd's member id as its own tools write it.
std::string member_text(std::uint64_t id);

std::string encode(const SeatRecord& record);
Result<SeatRecord> decode_seat(std::string_view value);
Result<std::vector<Seat>> read_seats(catalog::Snapshot& view);
Result<std::optional<Seat>> read_seat(catalog::Snapshot& view, const std::string& node);

// Puts seat/<node> as it is to be, if it still stands at `mod` (0: absent). conflict otherwise.
Result<catalog::Plan> plan_seat(const catalog::Planning& planning, const std::string& node, SeatRecord record,
                                catalog::Revision mod);

}  // namespace hansa::voters
