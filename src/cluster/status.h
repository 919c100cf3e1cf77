// Status: the members of a cluster as one JSON document, for GET /v2/_hansa/cluster and `hansa cluster status --json`.
// A single node is one member. Names are stable; new ones may come. Times are not in it, sizes are bytes.
//
//   {"cluster": "nonce, empty for a single node", "self": "id of who answers",
//    "members": [{"id", "url", "peer", "role": "store", "state": "active|draining", "alive", "in_layout", "version",
//                 "disk_total", "disk_available", "requests", "uploads",      as it last said itself
//                 "applied",                      revision of its view, as it last said
//                 "lag",                          revisions between that and the newest that is known here
//                 "holds": {"layout", "revision", "left_out", "full"},        its mark; null: none yet
//                 "repair": {"owed", "owed_bytes",            blobs that it lacks and fetches, as it last said
//                            "fetched_bytes",                 for that since its start
//                            "seconds_left"},                 at the pace of late; null: nobody can say
//                 "may_stop", "may_stop_reason"}],                            the reason is empty if it may
//    "layout": {"number", "members": [ids], "write_copies", "revision"},
//    "revision": the newest that is known here,
//    "degraded": ["sentence"],
//    "drift": [{"rule": "accessControl", "groups": [["n1", "n2"], ["n3"]]}],  members that agree
//    "metadata": {}, "voters": {}}                                            of the store and of managed voters
#pragma once

#include <string>

#include "catalog/snapshot.h"
#include "cluster/plan.h"

namespace hansa::cluster {

// The picture that a view has. What it cannot know stays empty: needed_voters, also_degraded, metadata, voters. One
// member alone that asks itself is alive: a single node gives no sign of life.
Result<StatusInput> status_input(catalog::Snapshot& view, std::string cluster, std::string self);

// Pure. `metadata` and `voters` that are no JSON objects come out as {}.
std::string status_json(const StatusInput& input);

}  // namespace hansa::cluster
