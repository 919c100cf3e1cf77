// Planners of the counters of pulls (commit table: counters). A node puts what it counted as batches,
// pulls/<node>/<id>; one task folds batches into stats/<name> and deletes them in the same commit, so nothing counts
// twice. Rules and errors as in plan.h.
//
// A batch whose commit was unknown is put again under the same id: folded/<node>, which every put compares and every
// fold writes, names the batches that went already, and stops a first attempt that arrives late.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "catalog/member_records.h"
#include "catalog/plan.h"

namespace hansa::catalog {

inline constexpr std::size_t max_batch_bytes = 64 * 1024;  // of one batch's record
inline constexpr std::size_t max_folded = 32;              // ids kept per node; a node has one batch under way
// Of one fold, so that it fits a commit whatever the records' sizes.
inline constexpr std::size_t max_fold_batches = 25;
inline constexpr std::size_t max_fold_repositories = 60;
inline constexpr std::size_t max_fold_bytes = 192 * 1024;  // once reached, no further repository

using PullsOf = std::map<std::string, PullCounts>;  // by repository

// One pull, into counts that are to be put: of the digest and, if it was asked for by one, of the tag.
void add_pulls(PullsOf& to, const std::string& repository, const std::string& digest, const std::string& tag,
               const PullCount& count);

// Takes as much out of `pending` as one batch may have. REQUIRES: pending is not empty.
PullBatchRecord take_batch(PullsOf& pending);

// Puts the batch. Empty if it was put or folded already. too_many over max_batch_bytes.
Result<Plan> plan_pulls(const Planning& planning, std::string_view node, std::string_view batch,
                        const PullBatchRecord& counts);

// Folds the first batches; of one that is too wide, what fits, and leaves the rest of it. Empty when there is none.
Result<Plan> plan_fold(const Planning& planning, const TaskHold& task);

}  // namespace hansa::catalog
