#include "upkeep/task_leader.h"

namespace hansa::upkeep {
namespace {

constexpr io::Duration lease_ttl = std::chrono::seconds(10);

// task/<name> with the lease, if nobody has it.
catalog::Planner taking(std::string key, meta::LeaseId lease) {
  return [key = std::move(key), lease](const catalog::Planning& planning) -> Result<catalog::Plan> {
    HANSA_TRY(const auto present, planning.view.mod_of(key));
    if (present != 0) return make_error(ErrorCode::exists, "another node leads " + key);
    meta::Commit commit{.operation = planning.operation, .compares = {}, .puts = {}, .deletes = {}};
    commit.compares.push_back({.key = key, .equals = 0});
    commit.puts.push_back({.key = key, .value = catalog::encode_mark(planning.operation), .lease = lease});
    return catalog::Plan{.commit = std::move(commit), .supply = std::nullopt};
  };
}

}  // namespace

io::Task<Result<std::optional<catalog::TaskHold>>> TaskLeader::hold() {
  if (held_ && lease_->alive()) co_return held_;
  release();
  HANSA_CO_TRY(lease_, co_await store_.lease(lease_ttl));
  auto taken = co_await catalog_.submit(taking(key_, lease_->id()));
  if (!taken) {
    lease_.reset();
    if (taken.error().code == ErrorCode::exists) co_return std::optional<catalog::TaskHold>{};
    co_return taken.error();
  }
  HANSA_CO_TRY(auto view, catalog_.snapshot());
  HANSA_CO_TRY(const auto record, view.get(key_));
  // A view that lags does not show it yet: then it was created by the commit itself.
  const bool shown = record != nullptr && catalog::written_by(record->value, taken->operation);
  held_ = catalog::TaskHold{.key = key_, .create = shown ? record->create : taken->revision};
  co_return held_;
}

void TaskLeader::release() {
  held_.reset();
  lease_.reset();
}

}  // namespace hansa::upkeep
