#include "meta/sqlite/store.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "io/wait.h"
#include "meta/sqlite/vfs.h"
#include "meta/sqlite/writer.h"

namespace hansa::meta::sqlite {
namespace {

using CommitCompletion = io::Completion<Result<CommitOutcome>>;

// Who follows, and the newest change sets. Listeners run under the lock, so that ending one waits for its last call.
class Feed {
 public:
  explicit Feed(std::size_t limit) : limit_(limit) {}

  void publish(ChangeSet changes) {
    const std::lock_guard guard(mutex_);
    for (auto& [id, listener] : listeners_) listener(changes);
    newest_ = changes.revision;
    history_.push_back(std::move(changes));
    while (history_.size() > limit_) history_.pop_front();
  }
  void start_at(Revision revision) { newest_ = revision; }

  Result<std::size_t> follow(Revision from, std::function<void(const ChangeSet&)> listener) {
    const std::lock_guard guard(mutex_);
    const Revision oldest = history_.empty() ? newest_ : history_.front().revision - 1;
    if (from < oldest || from > newest_) {
      return make_error(ErrorCode::range, "revision " + std::to_string(from) +
                                              " is outside the history that is kept (" + std::to_string(oldest) +
                                              " to " + std::to_string(newest_) + ")");
    }
    for (const auto& changes : history_) {
      if (changes.revision > from) listener(changes);
    }
    listeners_.emplace(++last_id_, std::move(listener));
    return last_id_;
  }
  void end(std::size_t id) {
    const std::lock_guard guard(mutex_);
    listeners_.erase(id);
  }

 private:
  std::size_t limit_;
  std::mutex mutex_;
  std::map<std::size_t, std::function<void(const ChangeSet&)>> listeners_;
  std::size_t last_id_ = 0;
  std::deque<ChangeSet> history_;
  Revision newest_ = 0;
};

class FeedSubscription final : public Subscription {
 public:
  FeedSubscription(std::shared_ptr<Feed> feed, std::size_t id) : feed_(std::move(feed)), id_(id) {}
  ~FeedSubscription() override { feed_->end(id_); }

 private:
  std::shared_ptr<Feed> feed_;
  std::size_t id_;
};

class RealStore final : public Store {
 public:
  RealStore(io::Disk& disk, io::Clock& clock, Logger& log, StoreOptions options, std::vector<Projection*> projections)
      : options_(std::move(options)),
        vfs_(disk, clock),
        readers_(vfs_, options_.database),
        writer_(vfs_, options_.database, std::move(projections), log),
        feed_(std::make_shared<Feed>(options_.history)) {}
  ~RealStore() override { close(); }

  Result<void> open() {
    HANSA_CHECK(writer_.open());
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
  io::Task<Result<Revision>> barrier() override { co_return revision_.load(std::memory_order_acquire); }

  io::Task<Result<CommitOutcome>> commit(Commit commit) override;
  Result<std::unique_ptr<Subscription>> follow(Revision from, std::function<void(const ChangeSet&)> listener) override {
    HANSA_TRY(const auto id, feed_->follow(from, std::move(listener)));
    return std::unique_ptr<Subscription>(std::make_unique<FeedSubscription>(feed_, id));
  }
  io::Task<Result<std::unique_ptr<Lease>>> lease(io::Duration ttl) override;
  void close() override;

 private:
  class LocalLease;
  struct Waiting {
    Commit commit;
    std::optional<CommitCompletion> completion;  // absent: nobody waits (end of a lease)
  };

  Result<void> enqueue(Waiting waiting);
  void end_lease(LeaseId id);
  void serve();
  void drain();
  bool take_group(std::vector<Waiting>& group);
  void carry_out(std::vector<Waiting>& group);

  StoreOptions options_;
  Vfs vfs_;
  ReaderPool readers_;
  Writer writer_;
  std::shared_ptr<Feed> feed_;
  std::atomic<Revision> revision_ = 0;
  std::atomic<LeaseId> last_lease_ = 0;

  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Waiting> queue_;
  std::vector<LeaseId> ended_leases_;
  bool closing_ = false;
  std::mutex draining_;  // one drain at a time (without an own thread)
  std::thread thread_;
};

// Lives as long as its object: a lease of this process needs no clock.
class RealStore::LocalLease final : public Lease {
 public:
  LocalLease(RealStore& store, LeaseId id) : store_(store), id_(id) {}
  ~LocalLease() override { store_.end_lease(id_); }
  LeaseId id() const override { return id_; }
  bool alive() const override { return true; }

 private:
  RealStore& store_;
  LeaseId id_;
};

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
        // With the store's own thread there is nothing to start. A commit that was handed in is not withdrawn.
        if (queued && !options_.own_thread) executor->run_blocking(io::Pool::metadata, [this] { drain(); });
        return nullptr;
      });
  co_return co_await wait;
}

io::Task<Result<std::unique_ptr<Lease>>> RealStore::lease(io::Duration) {
  co_return std::unique_ptr<Lease>(std::make_unique<LocalLease>(*this, ++last_lease_));
}

void RealStore::end_lease(LeaseId id) {
  {
    const std::lock_guard guard(mutex_);
    ended_leases_.push_back(id);
    work_.notify_one();
  }
  // Without a thread of its own the next commit ends it too.
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
  std::vector<Waiting> group;
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return closing_ || !queue_.empty() || !ended_leases_.empty(); });
    if (!take_group(group)) return;
    lock.unlock();
    carry_out(group);
    group.clear();
    lock.lock();
  }
}

void RealStore::drain() {
  const std::lock_guard one(draining_);
  std::vector<Waiting> group;
  while (true) {
    std::unique_lock lock(mutex_);
    if (!take_group(group) || group.empty()) return;
    lock.unlock();
    carry_out(group);
    group.clear();
  }
}

// With mutex_ held. False: closed, and nothing is left to do.
bool RealStore::take_group(std::vector<Waiting>& group) {
  for (const LeaseId lease : std::exchange(ended_leases_, {})) {
    auto keys = writer_.leased_keys(lease);
    if (!keys || keys->empty()) continue;  // after an error the next start drops them
    Commit commit{.operation = "lease-end", .compares = {}, .puts = {}, .deletes = std::move(*keys)};
    if (commit.deletes.size() < max_writes) group.push_back({std::move(commit), std::nullopt});
  }
  while (!queue_.empty() && group.size() < options_.max_group) {
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return !group.empty() || !closing_;
}

void RealStore::carry_out(std::vector<Waiting>& group) {
  if (group.empty()) return;
  std::vector<Commit> commits;
  commits.reserve(group.size());
  for (auto& waiting : group) commits.push_back(std::move(waiting.commit));
  auto outcomes = writer_.apply(commits);
  revision_.store(writer_.revision(), std::memory_order_release);
  for (auto& outcome : outcomes) {
    if (outcome.changes.revision != 0) feed_->publish(std::move(outcome.changes));
  }
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (group[i].completion) group[i].completion->complete(std::move(outcomes[i].result));
  }
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
