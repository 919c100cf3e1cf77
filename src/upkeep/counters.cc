#include "upkeep/counters.h"

#include "io/wait.h"

namespace hansa::upkeep {
namespace {

std::int64_t milliseconds(io::WallTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

}  // namespace

std::size_t Counters::Hash::operator()(const PulledRef& key) const noexcept {
  const std::hash<std::string_view> text;
  return std::hash<oci::Digest>{}(key.digest) ^ (text(key.repository) * 31) ^ (text(key.tag) * 17);
}

Counters::Counters(Ports ports) : ports_(std::move(ports)), leader_(ports_.store, ports_.catalog, "pulls") {}

void Counters::count_pull(const oci::RepositoryName& repository, const oci::Digest& digest, const oci::Tag* tag) {
  const PulledRef key{repository.text(), digest, tag != nullptr ? std::string_view(tag->text()) : std::string_view()};
  const std::int64_t now = milliseconds(ports_.clock.wall());
  Shard& shard = shards_[std::hash<oci::Digest>{}(digest) % shards_.size()];
  const std::lock_guard guard(shard.mutex);
  auto found = shard.counts.find(key);
  if (found == shard.counts.end()) {
    if (shard.counts.size() >= max_counted) {
      ++not_counted_;
      return;
    }
    found = shard.counts.emplace(Pulled{repository.text(), digest, std::string(key.tag)}, catalog::PullCount{}).first;
  }
  ++found->second.pulls;
  found->second.last_ms = now;
}

// Into pending_; forgets what was not pulled since the gathering before.
void Counters::gather() {
  for (Shard& shard : shards_) {
    const std::lock_guard guard(shard.mutex);
    for (auto entry = shard.counts.begin(); entry != shard.counts.end();) {
      if (entry->second.pulls == 0) {
        entry = shard.counts.erase(entry);
        continue;
      }
      catalog::add_pulls(pending_, entry->first.repository, entry->first.digest.text(), entry->first.tag,
                         entry->second);
      entry->second.pulls = 0;
      ++entry;
    }
  }
}

void Counters::next_batch() {
  under_way_ = Batch{.id = ports_.boot + "-" + std::to_string(++last_batch_), .record = catalog::take_batch(pending_)};
}

io::Task<Result<void>> Counters::flush() {
  if (!under_way_ && pending_.empty()) gather();
  for (std::size_t i = 0; i < max_flush_batches; ++i) {
    if (!under_way_ && pending_.empty()) break;
    if (!under_way_) next_batch();
    catalog::Planner plan = [node = ports_.node, batch = *under_way_](const catalog::Planning& planning) {
      return plan_pulls(planning, node, batch.id, batch.record);
    };
    auto put = co_await ports_.catalog.submit(std::move(plan));
    if (!put) co_return std::move(put).error();
    under_way_.reset();
  }
  co_return Result<void>{};
}

io::Task<Result<void>> Counters::fold() {
  {
    HANSA_CO_TRY(auto view, ports_.catalog.snapshot());
    HANSA_CO_TRY(const auto first, view.pull_batches(1));
    if (first.empty()) co_return Result<void>{};
  }
  for (int i = 0; i < max_folds; ++i) {
    HANSA_CO_TRY(const auto task, co_await leader_.hold());
    if (!task) co_return Result<void>{};
    catalog::Planner plan = [task](const catalog::Planning& planning) { return plan_fold(planning, *task); };
    HANSA_CO_TRY(const auto folded, co_await ports_.catalog.submit(std::move(plan)));
    if (!folded.changed) break;
  }
  co_return Result<void>{};
}

void Counters::run(io::TaskScope& scope) {
  scope.spawn("put pulls", flush_loop());
  scope.spawn("fold pulls", fold_loop());
}

io::Task<void> Counters::flush_loop() {
  while (true) {
    auto slept = co_await io::sleep_for(flush_interval);
    if (!slept) co_return;
    auto put = co_await flush();
    if (put) continue;
    if (put.error().code == ErrorCode::cancelled) co_return;
    ports_.log.debug("the counted pulls could not be put; they are kept", {{"error", put.error().message}});
  }
}

io::Task<void> Counters::fold_loop() {
  while (true) {
    auto slept = co_await io::sleep_for(fold_interval);
    if (!slept) co_return;
    auto folded = co_await fold();
    if (folded) continue;
    if (folded.error().code == ErrorCode::cancelled) co_return;
    ports_.log.debug("the counted pulls could not be folded", {{"error", folded.error().message}});
  }
}

}  // namespace hansa::upkeep
