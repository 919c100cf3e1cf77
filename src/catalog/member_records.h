// Records of members beside node/<id> (catalog/records.h): what they say of themselves while they live, what lies on
// their disks, and their counts of pulls.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "catalog/records.h"

namespace hansa::catalog {

// alive/<id>, leased. Figures are hints for choosing whom to ask and for people; never a ground for safety.
struct AliveRecord : RecordBase {
  std::string boot;            // nonce of the start that wrote it
  std::uint64_t requests = 0;  // under way
  std::uint64_t uploads = 0;   // open
  std::uint64_t disk_total = 0;
  std::uint64_t disk_available = 0;
  Revision applied = 0;                       // revision of its view
  std::uint64_t missing = 0;                  // blobs that it lacks and will fetch
  std::uint64_t missing_bytes = 0;            // of those, as far as the catalogue knows
  std::uint64_t filled_bytes = 0;             // fetched for that since its start
  std::optional<std::uint64_t> seconds_left;  // until nothing is missing; empty: nobody can say
  std::uint64_t sent = 0;                     // payload bytes to clients and peers since that start (io/traffic.h)
  std::uint64_t received = 0;                 // and from them
};

inline constexpr std::size_t max_but = 500;  // digests; a mark that would need more does not move

// holds/<id>: "all that the catalogue names at that revision and that layout gives this node lies fsynced on that disk,
// except `but`" (DESIGN 6.4).
struct HoldsRecord : RecordBase {
  std::string disk;
  std::uint64_t number = 0;              // rises with each mark of a disk, which knows it first (node/identity.h)
  std::map<std::uint64_t, Revision> at;  // by number of the layout
  std::vector<oci::Digest> but;          // ascending
};

// pulls/<node>/<batch>: counts of one node since its batch before.
struct PullCount {
  std::uint64_t pulls = 0;
  std::int64_t last_ms = 0;      // wall time
  std::int64_t measured_ms = 0;  // slow clock, never before the last pull (see measured_since); 0: not known
};
// By digest's text, or ":" + tag.
using PullCounts = std::map<std::string, PullCount>;
struct PullBatchRecord : RecordBase {
  std::map<std::string, PullCounts> repositories;
};
// folded/<node>: the newest batches that were folded, so that a batch whose commit was unknown is not put again.
struct FoldedRecord : RecordBase {
  std::vector<std::string> batches;
};

inline constexpr std::size_t max_stats_entries = 800;  // per repository; the ones pulled longest ago go first

// stats/<name>
struct StatsRecord : RecordBase {
  std::uint64_t pulls = 0;  // all, entries that went included
  std::int64_t last_ms = 0;
  PullCounts entries;
};

std::string encode(const AliveRecord& record);
std::string encode(const HoldsRecord& record);
std::string encode(const PullBatchRecord& record);
std::string encode(const FoldedRecord& record);
std::string encode(const StatsRecord& record);
Result<AliveRecord> decode_alive(std::string_view value);
Result<HoldsRecord> decode_holds(std::string_view value);
Result<PullBatchRecord> decode_pull_batch(std::string_view value);
Result<FoldedRecord> decode_folded(std::string_view value);
Result<StatsRecord> decode_stats(std::string_view value);

// Whether layout and mark say that the digest lies on that member's disk (design review, section 3). `since`: see
// Snapshot::since_of; 0: nothing names it, so nobody is held to it.
bool holds_digest(std::string_view id, const NodeRecord& node, const HoldsRecord& holds, const LayoutRecord& layout,
                  const oci::Digest& digest, Revision since);

}  // namespace hansa::catalog
