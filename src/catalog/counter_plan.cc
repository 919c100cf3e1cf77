#include "catalog/counter_plan.h"

#include <algorithm>
#include <tuple>

#include "catalog/plan_parts.h"

namespace hansa::catalog {
namespace {

constexpr std::size_t entry_overhead = 80;       // of JSON around one count, its numbers included
constexpr std::size_t repository_overhead = 16;  // around one repository
constexpr std::size_t record_overhead = 256;     // around all: format, operation

std::size_t bytes_of(const PullCounts& counts) {
  std::size_t bytes = 0;
  for (const auto& [reference, count] : counts) bytes += reference.size() + entry_overhead;
  return bytes;
}

bool is_tag(const std::string& reference) {
  return reference.starts_with(':');
}

void merge(PullCount& to, const PullCount& from) {
  to.pulls += from.pulls;
  to.last_ms = std::max(to.last_ms, from.last_ms);
  to.measured_ms = std::max(to.measured_ms, from.measured_ms);
}

// The entries pulled longest ago go first.
void trim(StatsRecord& stats) {
  if (stats.entries.size() <= max_stats_entries) return;
  std::vector<std::tuple<std::int64_t, std::int64_t, std::string>> by_age;
  for (const auto& [reference, count] : stats.entries) {
    by_age.emplace_back(count.measured_ms, count.last_ms, reference);
  }
  std::ranges::sort(by_age);
  by_age.resize(stats.entries.size() - max_stats_entries);
  for (const auto& [measured, last, reference] : by_age) stats.entries.erase(reference);
}

void add(StatsRecord& stats, const PullCounts& counts) {
  for (const auto& [reference, count] : counts) {
    merge(stats.entries[reference], count);
    if (!is_tag(reference)) stats.pulls += count.pulls;  // a pull by tag is counted for both, and is one pull
    stats.last_ms = std::max(stats.last_ms, count.last_ms);
  }
}

class Fold {
 public:
  Fold(const Planning& planning, const TaskHold& task) : planning_(planning), draft_(planning.operation) {
    draft_.same_create(task.key, task.create);
  }

  // Whether the whole batch was taken; else the fold is full.
  Result<bool> take(PullBatch batch) {
    auto& repositories = batch.record.repositories;
    while (!repositories.empty()) {
      const auto first = repositories.begin();
      HANSA_TRY(const bool taken, take_repository(first->first, first->second));
      if (!taken) break;
      repositories.erase(first);
    }
    const std::string key = keys::pulls(batch.node, batch.batch);
    draft_.same(key, batch.mod);
    if (!repositories.empty()) {
      batch.record.operation = planning_.operation;
      draft_.put(key, encode(batch.record));
      return false;
    }
    draft_.remove(key);
    HANSA_CHECK(note_folded(batch));
    return true;
  }

  Plan plan() && {
    for (auto& [key, entry] : stats_) {
      trim(entry.record);
      entry.record.operation = planning_.operation;
      draft_.same(key, entry.mod).put(key, encode(entry.record));
    }
    for (auto& [node, entry] : folded_) {
      entry.record.operation = planning_.operation;
      draft_.same(keys::folded(node), entry.mod).put(keys::folded(node), encode(entry.record));
    }
    return std::move(draft_).plan();
  }

 private:
  template <class Record>
  struct Entry {
    Record record;
    Revision mod = 0;  // 0: to be made
  };

  Result<bool> take_repository(const std::string& name, const PullCounts& counts) {
    if (bytes_ >= max_fold_bytes) return false;
    const auto parsed = oci::RepositoryName::parse(name);
    if (!parsed) return true;  // nothing has that name
    const std::string key = keys::stats(*parsed);
    auto found = stats_.find(key);
    if (found == stats_.end()) {
      if (stats_.size() >= max_fold_repositories) return false;
      HANSA_TRY(auto stored, planning_.view.stats(*parsed));
      Entry<StatsRecord> entry;
      if (stored) entry = {std::move(stored->record), stored->mod};
      bytes_ += bytes_of(entry.record.entries) + record_overhead;
      found = stats_.emplace(key, std::move(entry)).first;
    }
    add(found->second.record, counts);
    bytes_ += bytes_of(counts);
    return true;
  }

  Result<void> note_folded(const PullBatch& batch) {
    auto found = folded_.find(batch.node);
    if (found == folded_.end()) {
      HANSA_TRY(auto stored, planning_.view.folded(batch.node));
      Entry<FoldedRecord> entry;
      if (stored) entry = {std::move(stored->record), stored->mod};
      found = folded_.emplace(batch.node, std::move(entry)).first;
    }
    auto& batches = found->second.record.batches;
    batches.push_back(batch.batch);
    if (batches.size() > max_folded) batches.erase(batches.begin());
    return {};
  }

  const Planning& planning_;
  Draft draft_;
  std::map<std::string, Entry<StatsRecord>> stats_;  // by key
  std::map<std::string, Entry<FoldedRecord>> folded_;
  std::size_t bytes_ = 0;
};

}  // namespace

void add_pulls(PullsOf& to, const std::string& repository, const std::string& digest, const std::string& tag,
               const PullCount& count) {
  PullCounts& counts = to[repository];
  merge(counts[digest], count);
  if (!tag.empty()) merge(counts[":" + tag], count);
}

PullBatchRecord take_batch(PullsOf& pending) {
  PullBatchRecord batch;
  std::size_t bytes = record_overhead;
  while (!pending.empty()) {
    const auto repository = pending.begin();
    PullCounts& counts = repository->second;
    bytes += repository->first.size() + repository_overhead;
    while (!counts.empty()) {
      bytes += counts.begin()->first.size() + entry_overhead;
      if (bytes > max_batch_bytes) return batch;
      batch.repositories[repository->first].insert(counts.extract(counts.begin()));
    }
    pending.erase(repository);
  }
  return batch;
}

Result<Plan> plan_pulls(const Planning& planning, std::string_view node, std::string_view batch,
                        const PullBatchRecord& counts) {
  const std::string key = keys::pulls(node, batch);
  HANSA_TRY(const Revision present, planning.view.mod_of(key));
  if (present != 0) return Plan{};
  HANSA_TRY(const auto folded, planning.view.folded(node));
  if (folded && std::ranges::find(folded->record.batches, batch) != folded->record.batches.end()) return Plan{};
  PullBatchRecord record = counts;
  record.operation = planning.operation;
  HANSA_TRY(const auto tick, planning.view.tick());
  // All were pulled before this tick ends.
  const std::int64_t measured = tick ? tick->record.measured_ms + tick->record.length_ms : 0;
  for (auto& [repository, pulled] : record.repositories) {
    for (auto& [reference, count] : pulled) count.measured_ms = measured;
  }
  std::string value = encode(record);
  if (value.size() > max_batch_bytes) {
    return make_error(ErrorCode::too_many, "a batch of counted pulls of " + std::to_string(value.size()) +
                                               " bytes is over " + std::to_string(max_batch_bytes));
  }
  Draft draft(planning.operation);
  draft.same(keys::folded(node), folded ? folded->mod : 0);
  draft.same(key, 0).put(key, std::move(value));
  return std::move(draft).plan();
}

Result<Plan> plan_fold(const Planning& planning, const TaskHold& task) {
  HANSA_TRY(auto batches, planning.view.pull_batches(max_fold_batches));
  if (batches.empty()) return Plan{};
  Fold fold(planning, task);
  for (PullBatch& batch : batches) {
    HANSA_TRY(const bool whole, fold.take(std::move(batch)));
    if (!whole) break;
  }
  return std::move(fold).plan();
}

}  // namespace hansa::catalog
