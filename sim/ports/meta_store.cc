#include "sim/ports/meta_store.h"

#include <algorithm>

#include "io/wait.h"

namespace hansa::sim {

using meta::Change;
using meta::ChangeSet;
using meta::Commit;
using meta::CommitOutcome;
using meta::CommitStatus;
using meta::KeyValue;
using meta::LeaseId;
using meta::Revision;

namespace {

Error down() {
  return make_error(ErrorCode::unavailable, "the metadata store does not answer; try again later");
}

}  // namespace

// ---- reading ----------------------------------------------------------------------------------------------------

class SimMetaStore::View final : public meta::Snapshot {
 public:
  explicit View(const SimMetaStore& store) : store_(store), revision_(store.revision_) {}
  Revision revision() const override { return revision_; }

  Result<std::unique_ptr<KeyValue>> get(std::string_view key) override {
    const auto known = store_.keys_.find(key);
    const Entry* entry = known == store_.keys_.end() ? nullptr : visible(known->second);
    return entry == nullptr ? std::unique_ptr<KeyValue>() : std::make_unique<KeyValue>(entry->record);
  }

  Result<std::vector<KeyValue>> range(std::string_view prefix, std::string_view after, std::size_t limit) override {
    std::vector<KeyValue> result;
    auto at = after >= prefix && !after.empty() ? store_.keys_.upper_bound(after) : store_.keys_.lower_bound(prefix);
    for (; at != store_.keys_.end() && at->first.starts_with(prefix) && result.size() < limit; ++at) {
      if (const Entry* entry = visible(at->second)) result.push_back(entry->record);
    }
    return result;
  }

 private:
  const Entry* visible(const Past& past) const {
    const auto later =
        std::ranges::upper_bound(past, revision_, {}, [](const Entry& entry) { return entry.record.mod; });
    if (later == past.begin() || std::prev(later)->deleted) return nullptr;
    return &*std::prev(later);
  }

  const SimMetaStore& store_;
  Revision revision_;
};

SimMetaStore::SimMetaStore(World& world, std::string_view name)
    : world_(world), executor_(world, name), random_(world.random(name)) {}
SimMetaStore::~SimMetaStore() = default;

Result<std::unique_ptr<meta::Snapshot>> SimMetaStore::snapshot() {
  if (!available_) return down();
  return std::unique_ptr<meta::Snapshot>(std::make_unique<View>(*this));
}

io::Task<Result<meta::Fence>> SimMetaStore::barrier() {
  HANSA_CO_CHECK(co_await io::sleep_for(delay()));
  if (!available_) co_return down();
  const Revision reached = revision_;
  HANSA_CO_CHECK(co_await io::sleep_for(delay()));
  // One who looks behind this sees that much at least, as do all who were told the same.
  co_return meta::Fence{.revision = reached, .round = static_cast<std::uint64_t>(reached) + 1};
}

// ---- commits ----------------------------------------------------------------------------------------------------

io::Duration SimMetaStore::delay() {
  const auto least = static_cast<std::uint64_t>(faults_.least_delay.count());
  const auto most = static_cast<std::uint64_t>(faults_.most_delay.count());
  return io::Duration(static_cast<io::Duration::rep>(random_.between(least, std::max(least, most))));
}

Fate SimMetaStore::draw_fate() {
  if (!fates_.empty()) {
    const Fate fate = fates_.front();
    fates_.pop_front();
    return fate;
  }
  constexpr std::uint64_t thousandths = 1000;
  std::uint64_t draw = random_.below(thousandths);
  const std::pair<unsigned, Fate> chances[] = {{faults_.unavailable, Fate::unavailable},
                                               {faults_.unknown_lost, Fate::unknown_lost},
                                               {faults_.unknown_applied, Fate::unknown_applied},
                                               {faults_.unknown_late, Fate::unknown_late}};
  for (const auto& [chance, fate] : chances) {
    if (draw < chance) return fate;
    draw -= chance;
  }
  return Fate::normal;
}

// The request travels, the store decides, the answer travels. A caller who is cancelled on the way still has sent it.
io::Task<Result<CommitOutcome>> SimMetaStore::commit(Commit commit) {
  HANSA_CO_CHECK(meta::check_limits(commit));
  using Completion = io::Completion<Result<CommitOutcome>>;
  auto wait = io::wait_for<Result<CommitOutcome>>([this, &commit](Completion completion) -> io::Work {
    executor_.start_timer(delay(), [this, commit = std::move(commit), completion] {
      auto outcome = meet(available_ ? draw_fate() : Fate::unavailable, commit);
      executor_.start_timer(delay(), [completion, outcome = std::move(outcome)] { completion.complete(outcome); });
    });
    return nullptr;
  });
  co_return co_await wait;
}

Result<CommitOutcome> SimMetaStore::meet(Fate fate, const Commit& commit) {
  const CommitOutcome unknown{.status = CommitStatus::unknown, .revision = 0};
  switch (fate) {
    case Fate::normal: return apply(commit);
    case Fate::unavailable: return down();
    case Fate::unknown_lost: return unknown;
    case Fate::unknown_applied: {
      const auto hidden = apply(commit);
      if (!hidden) world_.note("an unknown commit was refused");
      return unknown;
    }
    case Fate::unknown_late: {
      const auto most = static_cast<std::uint64_t>(faults_.most_late.count());
      const io::Duration late(static_cast<io::Duration::rep>(random_.between(0, most)));
      executor_.start_timer(late, [this, commit] {
        const auto hidden = apply(commit);
        if (!hidden) world_.note("a late commit was refused");
      });
      return unknown;
    }
  }
  HANSA_ASSERT(false, "every fate is handled");
}

const SimMetaStore::Entry* SimMetaStore::newest(const std::string& key) const {
  const auto known = keys_.find(key);
  return known == keys_.end() || known->second.back().deleted ? nullptr : &known->second.back();
}

bool SimMetaStore::holds(const meta::Compare& compare) const {
  const Entry* entry = newest(compare.key);
  if (entry == nullptr) return compare.equals == 0;
  const auto& record = entry->record;
  return compare.equals == (compare.field == meta::Compare::Field::create ? record.create : record.mod);
}

Result<CommitOutcome> SimMetaStore::apply(const Commit& commit) {
  const auto dead = [this](const meta::Put& put) { return put.lease != 0 && !leases_.contains(put.lease); };
  if (std::ranges::any_of(commit.puts, dead)) {
    return make_error(ErrorCode::invalid, "a put names a lease that has ended");
  }
  if (!std::ranges::all_of(commit.compares, [this](const auto& compare) { return holds(compare); })) {
    return CommitOutcome{.status = CommitStatus::conflict, .revision = 0};
  }
  return write(commit);
}

Change SimMetaStore::put(const meta::Put& put, Revision at) {
  const Entry* before = newest(put.key);
  Entry entry{.record = {put.key, put.value, at, at, 1}, .deleted = false, .lease = put.lease};
  if (before != nullptr) {
    entry.record.create = before->record.create;
    entry.record.version = before->record.version + 1;
  }
  keys_[put.key].push_back(entry);
  return {.now = entry.record, .deleted = false};
}

CommitOutcome SimMetaStore::write(const Commit& commit) {
  const Revision at = revision_ + 1;
  ChangeSet changes{.revision = at, .changes = {}};
  for (const auto& one : commit.puts) changes.changes.push_back(put(one, at));
  for (const auto& key : commit.deletes) {
    if (newest(key) == nullptr) continue;
    Change change{.now = {}, .deleted = true};
    change.now.key = key;
    change.now.mod = at;
    keys_[key].push_back({.record = change.now, .deleted = true, .lease = 0});
    changes.changes.push_back(std::move(change));
  }
  const std::string head = meta::head_value(commit.operation, changes.changes.size());
  changes.changes.push_back(put({.key = std::string(meta::head_key), .value = head, .lease = 0}, at));
  std::ranges::sort(changes.changes, {}, [](const Change& change) -> const std::string& { return change.now.key; });
  revision_ = at;
  publish(std::move(changes));
  return {.status = CommitStatus::committed, .revision = at};
}

// ---- the feed ---------------------------------------------------------------------------------------------------

class SimMetaStore::Following final : public meta::Subscription {
 public:
  Following(SimMetaStore& store, std::uint64_t id) : store_(store), id_(id) {}
  ~Following() override { store_.followers_.erase(id_); }

 private:
  SimMetaStore& store_;
  std::uint64_t id_;
};

void SimMetaStore::publish(ChangeSet changes) {
  for (const auto& [id, follower] : followers_) deliver(id, changes);
  history_.push_back(std::move(changes));
}

void SimMetaStore::deliver(std::uint64_t id, const ChangeSet& changes) {
  constexpr std::uint64_t thousandths = 1000;
  if (random_.below(thousandths) < faults_.lost_change) return;
  send(id, changes);
  if (random_.below(thousandths) < faults_.repeated_change) send(id, changes);
}

void SimMetaStore::send(std::uint64_t id, const ChangeSet& changes) {
  auto& follower = followers_.at(id);
  // Never before or with the one sent earlier.
  follower.last_due = std::max(follower.last_due + io::Duration(1), world_.now() + delay());
  executor_.start_timer(follower.last_due - world_.now(), [this, id, changes] {
    const auto known = followers_.find(id);
    if (known != followers_.end()) known->second.listener(changes);
  });
}

Result<std::unique_ptr<meta::Subscription>> SimMetaStore::follow(Revision from,
                                                                 std::function<void(const ChangeSet&)> listener) {
  if (!available_) return down();
  if (from < compacted_ || from > revision_) {
    return make_error(ErrorCode::range, "revision " + std::to_string(from) + " is outside the history that is kept (" +
                                            std::to_string(compacted_) + " to " + std::to_string(revision_) + ")");
  }
  const std::uint64_t id = ++last_follower_;
  followers_.emplace(id, Follower{.listener = std::move(listener), .last_due = {}});
  for (const auto& changes : history_) {
    if (changes.revision > from) deliver(id, changes);
  }
  return std::unique_ptr<meta::Subscription>(std::make_unique<Following>(*this, id));
}

void SimMetaStore::compact(Revision revision) {
  compacted_ = std::min(std::max(compacted_, revision), revision_);
  while (!history_.empty() && history_.front().revision <= compacted_) history_.pop_front();
}

// ---- leases -----------------------------------------------------------------------------------------------------

class SimMetaStore::HeldLease final : public meta::Lease {
 public:
  HeldLease(SimMetaStore& store, LeaseId id, io::Duration ttl) : store_(store), id_(id), ttl_(ttl) {}
  ~HeldLease() override { store_.end_lease_after(id_, ttl_); }
  LeaseId id() const override { return id_; }
  bool alive() const override { return store_.leases_.contains(id_); }

 private:
  SimMetaStore& store_;
  LeaseId id_;
  io::Duration ttl_;
};

void SimMetaStore::end_lease_after(LeaseId lease, io::Duration ttl) {
  executor_.start_timer(ttl, [this, lease] { expire(lease); });
}

void SimMetaStore::expire(LeaseId lease) {
  if (leases_.erase(lease) == 0) return;
  Commit commit{.operation = "lease-end", .compares = {}, .puts = {}, .deletes = {}};
  for (const auto& [key, past] : keys_) {
    if (!past.back().deleted && past.back().lease == lease) commit.deletes.push_back(key);
  }
  if (!commit.deletes.empty()) write(commit);
}

io::Task<Result<std::unique_ptr<meta::Lease>>> SimMetaStore::lease(io::Duration ttl) {
  HANSA_CO_CHECK(co_await io::sleep_for(delay()));
  if (!available_) co_return down();
  const LeaseId id = ++last_lease_;
  leases_.insert(id);
  co_return std::unique_ptr<meta::Lease>(std::make_unique<HeldLease>(*this, id, ttl));
}

}  // namespace hansa::sim
