// Status: the members of a cluster as one JSON document, for GET /v2/_hansa/cluster and `hansa cluster status --json`.
// A single node is one member. Names are stable; new ones may come. Times are not in it, sizes are bytes.
//
//   {"cluster": "nonce, empty for a single node", "self": "id of who answers",
//    "members": [{"id", "url", "peer", "role": "store", "state": "active|draining", "alive", "in_layout", "version",
//                 "disk_total", "disk_available", "requests", "uploads",      as it last said itself
//                 "sent", "received",             bytes of bodies since its start
//                 "applied",                      revision of its view, as it last said
//                 "lag",                          revisions between that and the newest that is known here
//                 "holds": {"layout", "revision", "left_out", "left_out_digests", "full"},  its mark; null: none
//                 "repair": {"owed", "owed_bytes",            blobs that it lacks and fetches, as it last said
//                            "fetched_bytes",                 for that since its start
//                            "seconds_left"},                 at the pace of late; null: nobody can say
//                 "may_stop", "may_stop_reason"}],                            the reason is empty if it may
//    "layout": {"number", "members": [ids], "write_copies", "revision"},
//    "revision": the newest that is known here,
//    "degraded": ["sentence"],
//    "drift": [{"rule": "accessControl", "groups": [["n1", "n2"], ["n3"]]}],  members that agree
//    "metadata": {}, "voters": {},                                            of the store and of managed voters
//    "history": {"step_seconds", "members": [{"id", "sent": [], "received": []}]}}
//
// "left_out_digests" are the first shown_digests of those that "left_out" counts. "history" has what each member moved
// in the last minutes, in bytes per second, step by step, the newest step last; null: not known.
#pragma once

#include <string>

#include "catalog/snapshot.h"
#include "cluster/plan.h"

namespace hansa::cluster {

inline constexpr std::size_t shown_digests = 20;  // of those that a mark leaves out

// The picture that a view has. What it cannot know stays empty: needed_voters, also_degraded, metadata, voters. One
// member alone that asks itself is alive: a single node gives no sign of life.
Result<StatusInput> status_input(catalog::Snapshot& view, std::string cluster, std::string self);

// Pure. `metadata` and `voters` that are no JSON objects come out as {}.
std::string status_json(const StatusInput& input);

}  // namespace hansa::cluster
