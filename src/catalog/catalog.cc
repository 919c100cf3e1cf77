#include "catalog/catalog.h"

#include <algorithm>

#include "io/wait.h"

namespace hansa::catalog {

namespace {

constexpr std::size_t operation_id_bytes = 12;

Error ambiguous() {
  return make_error(ErrorCode::ambiguous,
                    "the metadata store did not say whether the change was made; look before repeating it");
}

// Whether a key that was planned as absent and is absent now proves that the commit never happened: only for keys that
// no request deletes (H8).
bool absence_proves(KeyKind kind) {
  switch (kind) {
    case KeyKind::repo:
    case KeyKind::link:
    case KeyKind::manifest:
    case KeyKind::tick:
    case KeyKind::layout:
    case KeyKind::node: return true;
    default: return false;
  }
}

std::string grave_of(std::string_view manifest_key) {
  std::string key("grave");
  key.append(manifest_key.substr(std::string_view("manifest").size()));
  return key;
}

}  // namespace

Catalog::Catalog(meta::MetadataStore& store, Read read, View& view, io::Clock& clock, io::Random& random, Logger& log)
    : store_(store), read_(std::move(read)), view_(view), clock_(clock), random_(random), log_(log) {}

Catalog::~Catalog() = default;

Result<std::unique_ptr<Catalog>> Catalog::open(meta::sqlite::Store& store, View& view, io::Clock& clock,
                                               io::Random& random, Logger& log) {
  HANSA_TRY(auto catalog, open(store, [&store] { return store.read(); }, view, clock, random, log));
  catalog->changes_ = &view.changes();
  return catalog;
}

Result<std::unique_ptr<Catalog>> Catalog::open(meta::MetadataStore& store, Read read, View& view, io::Clock& clock,
                                               io::Random& random, Logger& log) {
  std::unique_ptr<Catalog> catalog(new Catalog(store, std::move(read), view, clock, random, log));
  HANSA_CHECK(catalog->start());
  return catalog;
}

Result<void> Catalog::start() {
  Revision revision = 0;
  {
    HANSA_TRY(Snapshot now, snapshot());
    HANSA_TRY(const auto tick, now.tick());
    if (tick) newest_tick_.store(tick->record.number, std::memory_order_release);
    revision = now.revision();
  }
  const auto listener = [this](const meta::ChangeSet& changes) {
    for (const meta::Change& change : changes.changes) {
      if (change.now.key != keys::tick || change.deleted) continue;
      if (const auto tick = ticks_.decode(change.now.value)) {
        newest_tick_.store(tick->number, std::memory_order_release);
      }
    }
  };
  HANSA_TRY(subscription_, store_.follow(revision, listener));
  return {};
}

Result<Snapshot> Catalog::snapshot() {
  HANSA_TRY(auto read, read_());
  return Snapshot(std::move(read), ticks_);
}

io::Task<Result<meta::Fence>> Catalog::barrier() {
  const std::int64_t began = clock_.boot().since_boot.count();
  auto passed = co_await store_.barrier();
  if (passed) {
    std::int64_t known = last_barrier_.load();
    while (known < began && !last_barrier_.compare_exchange_weak(known, began)) {
    }
  }
  co_return passed;
}

bool Catalog::passed_within(io::Duration span) const {
  const std::int64_t began = last_barrier_.load();
  return began != never && clock_.boot().since_boot.count() - began <= span.count();
}

io::Task<Result<Submitted>> Catalog::submit(Planner planner, Weight weight) {
  bool fenced = false;  // a barrier begun after the request arrived has passed
  for (int attempt = 0; attempt < max_plan_attempts;) {
    const std::string operation = random_.hex(operation_id_bytes);
    Revision planned_at = 0;
    Result<Plan> plan = Plan{};
    auto look = [&]() -> Result<void> {
      HANSA_TRY(Snapshot now, snapshot());
      planned_at = now.revision();
      plan = planner(Planning{now, operation, clock_.wall()});
      return {};
    };
    if (weight == Weight::heavy) {
      HANSA_CO_CHECK(co_await io::blocking(io::Pool::metadata, std::move(look)));
    } else {
      HANSA_CO_CHECK(look());
    }
    if (!plan && !fenced) {
      HANSA_CO_CHECK(co_await barrier());
      fenced = true;
      continue;
    }
    if (!plan) co_return std::move(plan).error();
    if (!plan->commit) co_return Submitted{planned_at, false, operation};
    HANSA_CO_TRY(const meta::CommitOutcome outcome, co_await commit(*std::move(plan), planned_at));
    if (outcome.status == meta::CommitStatus::committed) co_return Submitted{outcome.revision, true, operation};
    if (outcome.status == meta::CommitStatus::unknown) co_return ambiguous();
    HANSA_CO_CHECK(co_await backoff(attempt));
    HANSA_CO_CHECK(co_await barrier());
    fenced = true;
    ++attempt;
  }
  co_return make_error(ErrorCode::unavailable, "the same records are being changed by many at once; try again later");
}

io::Task<Result<meta::CommitOutcome>> Catalog::commit(Plan plan, Revision planned_at) {
  View::Supply held;
  if (plan.supply) held = view_.supply(plan.supply->repository, plan.supply->digest, plan.supply->manifest);
  const auto outcome = co_await store_.commit(*plan.commit);
  if (!outcome && outcome.error().code == ErrorCode::out_of_space) {
    co_return co_await after_refusal(*std::move(plan.commit), planned_at, outcome.error());
  }
  if (!outcome) co_return outcome.error();
  if (outcome->status != meta::CommitStatus::unknown) co_return outcome;
  log_.warn("commit outcome unknown, settling", {{"operation", plan.commit->operation}});
  co_return co_await settle(*std::move(plan.commit), planned_at);
}

// The answer is final, but a full etcd may have carried the commit out before it gave it.
io::Task<Result<meta::CommitOutcome>> Catalog::after_refusal(meta::Commit commit, Revision planned_at, Error refusal) {
  const auto passed = co_await barrier();
  if (!passed) co_return meta::CommitOutcome{};
  HANSA_CO_TRY(const meta::CommitOutcome outcome, judge(commit, planned_at));
  if (outcome.status == meta::CommitStatus::committed) co_return outcome;
  co_return refusal;
}

io::Task<Result<meta::CommitOutcome>> Catalog::settle(meta::Commit commit, Revision planned_at) {
  const io::MonotonicTime began = clock_.monotonic();
  for (int attempt = 0; clock_.monotonic() - began < settle_within; ++attempt) {
    HANSA_CO_CHECK(co_await backoff(attempt));
    const auto again = co_await store_.commit(commit);
    // An error says that nothing happened this time; the first submission is still open.
    if (!again || again->status == meta::CommitStatus::unknown) continue;
    if (again->status == meta::CommitStatus::committed) co_return *again;
    const auto passed = co_await barrier();
    if (!passed) continue;
    co_return judge(commit, planned_at);
  }
  co_return meta::CommitOutcome{};
}

Result<meta::CommitOutcome> Catalog::judge(const meta::Commit& commit, Revision planned_at) {
  HANSA_TRY(Snapshot now, snapshot());
  const auto wrote = [&](std::string_view key) -> Result<bool> {
    HANSA_TRY(const auto value, now.get(key));
    return value != nullptr && written_by(value->value, commit.operation);
  };
  const meta::CommitOutcome committed{meta::CommitStatus::committed, now.revision()};
  HANSA_TRY(const bool last, wrote(meta::head_key));
  if (last) return committed;
  std::vector<std::string_view> written;
  for (const meta::Put& put : commit.puts) {
    written.push_back(put.key);
    HANSA_TRY(const bool mine, wrote(put.key));
    if (mine) return committed;
    if (split_key(put.key).kind != KeyKind::manifest) continue;
    HANSA_TRY(const bool buried, wrote(grave_of(put.key)));  // committed, then deleted
    if (buried) return committed;
  }
  written.insert(written.end(), commit.deletes.begin(), commit.deletes.end());
  for (const meta::Compare& compare : commit.compares) {
    if (compare.field != meta::Compare::Field::mod || std::ranges::find(written, compare.key) == written.end())
      continue;
    HANSA_TRY(const Revision mod, now.mod_of(compare.key));
    if (mod != compare.equals) continue;
    const KeyKind kind = split_key(compare.key).kind;
    if (mod == 0 && !absence_proves(kind)) continue;
    if (mod == 0 && kind == KeyKind::manifest) {
      HANSA_TRY(const Revision grave, now.mod_of(grave_of(compare.key)));
      if (grave > planned_at) continue;
    }
    return meta::CommitOutcome{meta::CommitStatus::conflict, 0};
  }
  return meta::CommitOutcome{};
}

io::Task<Result<void>> Catalog::backoff(int attempt) {
  const io::Duration most = std::min(max_backoff, base_backoff * (1 << std::min(attempt, 20)));
  const auto drawn = random_.below(static_cast<std::uint64_t>(most.count()));
  return io::sleep_for(io::Duration(static_cast<io::Duration::rep>(drawn)));
}

}  // namespace hansa::catalog
