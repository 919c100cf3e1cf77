#include "meta/sqlite/store.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "io/wait.h"
#include "meta/feed.h"
#include "meta/sqlite/log_check.h"
#include "meta/sqlite/vfs.h"
#include "meta/sqlite/writer.h"

namespace hansa::meta::sqlite {
namespace {

using CommitCompletion = io::Completion<Result<CommitOutcome>>;

class RealStore final : public Store {
 public:
  RealStore(io::Disk& disk, io::Clock& clock, Logger& log, StoreOptions options, std::vector<Projection*> projections)
      : options_(std::move(options)),
        vfs_(disk, clock),
        readers_(vfs_, options_.database),
        writer_(vfs_, options_.database, std::move(projections), log),
        feed_(std::make_shared<Feed>(options_.history, options_.history_bytes)) {}
  ~RealStore() override { close(); }

  Result<void> open() {
    HANSA_TRY(const bool unclean, vfs_.settle(options_.database.path));
    if (unclean && options_.database.full_sync) HANSA_CHECK(check_last_log());
    HANSA_CHECK(writer_.open(unclean));
    revision_ = writer_.revision();
    feed_->start_at(revision_);
    if (options_.own_thread) thread_ = std::thread([this] { serve(); });
    return {};
  }

  Result<std::unique_ptr<ReadTransaction>> read() override { return readers_.begin(); }
  Result<std::unique_ptr<Snapshot>> snapshot() override {
    HANSA_TRY(auto transaction, readers_.begin());
    return std::unique_ptr<Snapshot>(std::move(transaction));
  }
  // One file: what was acknowledged is visible.
  io::Task<Result<Fence>> barrier() override { co_return Fence{.revision = revision_.load(std::memory_order_acquire)}; }

  io::Task<Result<CommitOutcome>> commit(Commit commit) override;
  Result<std::unique_ptr<Subscription>> follow(Revision from, std::function<void(const ChangeSet&)> listener) override {
    return feed_->follow(from, std::move(listener));
  }
  io::Task<Result<std::unique_ptr<Lease>>> lease(io::Duration ttl) override;
  void close() override;

 private:
  class LocalLease;
  Result<void> check_last_log();
  struct Waiting {
    Commit commit;
    std::optional<CommitCompletion> completion;  // absent: nobody waits (end of a lease)
  };

  Result<void> enqueue(Waiting waiting);
  void end_lease(LeaseId id, io::Executor& executor);
  void serve();
  void drain();
  void drain_soon(io::Executor& executor);
  bool work_once();  // false: there was nothing to do
  bool leases_live(const Commit& commit) const;
  void drop_keys_of(LeaseId lease);
  bool carry_out(std::vector<Waiting>& group);

  StoreOptions options_;
  Vfs vfs_;
  ReaderPool readers_;
  Writer writer_;
  std::shared_ptr<Feed> feed_;
  std::atomic<Revision> revision_ = 0;

  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Waiting> queue_;
  std::vector<LeaseId> ended_leases_;
  std::set<LeaseId> live_leases_;
  LeaseId last_lease_ = 0;
  bool closing_ = false;
  std::vector<LeaseId> unfinished_leases_;  // of the writer: their keys could not be deleted yet
  std::mutex draining_;                     // one drain at a time (without an own thread)
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  std::thread thread_;
};

// Dropped before the store and before the executor of the task that asked for it.
class RealStore::LocalLease final : public Lease {
 public:
  LocalLease(RealStore& store, io::Executor& executor, LeaseId id) : store_(store), executor_(executor), id_(id) {}
  ~LocalLease() override { store_.end_lease(id_, executor_); }
  LeaseId id() const override { return id_; }
  bool alive() const override { return true; }

 private:
  RealStore& store_;
  io::Executor& executor_;
  LeaseId id_;
};

// Before SQLite reads it, which would end it at the damage without a word.
Result<void> RealStore::check_last_log() {
  const std::string path = options_.database.path + "-wal";
  HANSA_TRY(auto log, vfs_.disk().open(path, io::OpenMode::write));
  HANSA_TRY(auto database, vfs_.disk().open(options_.database.path, io::OpenMode::read));
  HANSA_TRY(const LogUse use, check_log(*log, *database, path));
  if (use == LogUse::read) return {};
  HANSA_CHECK(empty_log(*log));
  return log->sync();
}

Result<void> RealStore::enqueue(Waiting waiting) {
  const std::lock_guard guard(mutex_);
  if (closing_) return make_error(ErrorCode::unavailable, "the metadata store is closed");
  if (queue_.size() >= options_.max_waiting) {
    return make_error(ErrorCode::too_many, "too many metadata commits wait; try again later");
  }
  queue_.push_back(std::move(waiting));
  work_.notify_one();
  return {};
}

io::Task<Result<CommitOutcome>> RealStore::commit(Commit commit) {
  HANSA_CO_CHECK(check_limits(commit));
  io::TaskContext& context = co_await io::current_context();
  auto wait = io::wait_for<Result<CommitOutcome>>(
      [this, &commit, executor = &context.executor()](CommitCompletion completion) -> io::Work {
        auto queued = enqueue({std::move(commit), completion});
        if (!queued) completion.complete(queued.error());
        if (queued) drain_soon(*executor);  // A commit that was handed in is not withdrawn.
        return nullptr;
      });
  co_return co_await wait;
}

io::Task<Result<std::unique_ptr<Lease>>> RealStore::lease(io::Duration) {
  io::TaskContext& context = co_await io::current_context();
  LeaseId id = 0;
  {
    const std::lock_guard guard(mutex_);
    id = ++last_lease_;
    live_leases_.insert(id);
  }
  co_return std::unique_ptr<Lease>(std::make_unique<LocalLease>(*this, context.executor(), id));
}

void RealStore::end_lease(LeaseId id, io::Executor& executor) {
  {
    const std::lock_guard guard(mutex_);
    live_leases_.erase(id);
    ended_leases_.push_back(id);
    work_.notify_one();
  }
  drain_soon(executor);
}

// The store's own thread was woken already; without one it is the executor's work, which may outlive the store.
void RealStore::drain_soon(io::Executor& executor) {
  if (options_.own_thread) return;
  executor.run_blocking(io::Pool::metadata, [this, alive = std::weak_ptr(alive_)] {
    if (alive.lock()) drain();
  });
}

void RealStore::close() {
  {
    const std::lock_guard guard(mutex_);
    closing_ = true;
    work_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void RealStore::serve() {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [this] { return closing_ || !queue_.empty() || !ended_leases_.empty(); });
    }
    if (!work_once()) return;
  }
}

void RealStore::drain() {
  const std::lock_guard one(draining_);
  while (work_once()) {
  }
}

bool RealStore::work_once() {
  std::vector<Waiting> group;
  std::vector<LeaseId> ended;
  {
    const std::lock_guard guard(mutex_);
    ended = std::exchange(ended_leases_, {});
    while (!queue_.empty() && group.size() < options_.max_group) {
      group.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    if (ended.empty() && group.empty()) return false;
    // A commit under a lease is let in only while the lease lives: its end then comes in a later turn.
    std::erase_if(group, [this](const Waiting& waiting) {
      const bool refused = !leases_live(waiting.commit);
      if (refused) waiting.completion->complete(make_error(ErrorCode::invalid, "a put names a lease that has ended"));
      return refused;
    });
  }
  ended.insert(ended.end(), unfinished_leases_.begin(), unfinished_leases_.end());
  unfinished_leases_.clear();
  for (const LeaseId lease : ended) drop_keys_of(lease);
  carry_out(group);
  return true;
}

bool RealStore::leases_live(const Commit& commit) const {
  return std::ranges::all_of(commit.puts,
                             [this](const Put& put) { return put.lease == 0 || live_leases_.contains(put.lease); });
}

void RealStore::drop_keys_of(LeaseId lease) {
  auto keys = writer_.leased_keys(lease);
  if (!keys) return unfinished_leases_.push_back(lease);
  while (!keys->empty()) {
    const std::size_t count = std::min(keys->size(), max_writes - 1);
    Commit commit{.operation = "lease-end", .compares = {}, .puts = {}, .deletes = {}};
    commit.deletes.assign(keys->end() - static_cast<std::ptrdiff_t>(count), keys->end());
    keys->resize(keys->size() - count);
    std::vector<Waiting> group;
    group.push_back({std::move(commit), std::nullopt});
    if (!carry_out(group)) return unfinished_leases_.push_back(lease);
  }
}

// Whether all were carried out, be it with a conflict.
bool RealStore::carry_out(std::vector<Waiting>& group) {
  std::vector<Commit> commits;
  commits.reserve(group.size());
  for (auto& waiting : group) commits.push_back(std::move(waiting.commit));
  if (commits.empty()) return true;
  auto outcomes = writer_.apply(commits);
  revision_.store(writer_.revision(), std::memory_order_release);
  for (auto& outcome : outcomes) {
    if (outcome.changes.revision != 0) feed_->publish(std::move(outcome.changes));
  }
  bool all = true;
  for (std::size_t i = 0; i < group.size(); ++i) {
    auto& result = outcomes[i].result;
    if (!result || result->status == CommitStatus::unknown) all = false;
    if (group[i].completion) group[i].completion->complete(std::move(result));
  }
  return all;
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(io::Disk& disk, io::Clock& clock, Logger& log, StoreOptions options,
                                           std::vector<Projection*> projections) {
  const std::string path = options.database.path;
  auto store = std::make_unique<RealStore>(disk, clock, log, std::move(options), std::move(projections));
  auto opened = store->open();
  if (!opened) {
    Error error = std::move(opened).error();
    if (error.code == ErrorCode::corrupt) {
      error.message = "the database " + path + " is damaged and was left as it is; restore it from a backup (" +
                      error.message + ")";
    }
    return error;
  }
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace hansa::meta::sqlite
