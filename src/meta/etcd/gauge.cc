// Where the view stands, and the feed's thread.
#include "meta/etcd/store_impl.h"

namespace hansa::meta::etcd {

ViewGauge::State ViewGauge::state() const {
  const std::lock_guard guard(mutex_);
  return state_;
}

void ViewGauge::set(State state) {
  std::vector<Done> ready;
  Revision revision = 0;
  {
    const std::lock_guard guard(mutex_);
    state_ = std::move(state);
    if (state_.loading) return;
    revision = state_.revision;
    const auto take = [&ready](auto& queue, std::uint64_t reached) {
      const auto end = queue.upper_bound(reached);
      for (auto at = queue.begin(); at != end; ++at) ready.push_back(std::move(at->second));
      queue.erase(queue.begin(), end);
    };
    take(versions_, state_.head.version);
    take(revisions_, state_.revision);
  }
  for (const auto& done : ready) done.complete(revision);
}

void ViewGauge::fail(const Error& error) {
  std::multimap<std::uint64_t, Done> versions;
  std::multimap<std::uint64_t, Done> revisions;
  {
    const std::lock_guard guard(mutex_);
    versions.swap(versions_);
    revisions.swap(revisions_);
  }
  for (const auto& [target, done] : versions) done.complete(error);
  for (const auto& [target, done] : revisions) done.complete(error);
}

io::Task<Result<Revision>> ViewGauge::wait(std::multimap<std::uint64_t, Done>* queue, std::uint64_t target,
                                           bool version) {
  auto wait = io::wait_for<Result<Revision>>([&](Done done) -> io::Work {
    std::optional<Revision> reached;
    {
      const std::lock_guard guard(mutex_);
      const std::uint64_t now = version ? state_.head.version : state_.revision;
      if (state_.loading || now < target) {
        queue->emplace(target, done);
      } else {
        reached = state_.revision;
      }
    }
    if (reached) done.complete(*reached);
    // A wait that ended stays in the queue until its target is reached; completing it again does nothing.
    return [done] { done.complete(make_error(ErrorCode::cancelled, "the wait for the view was cancelled")); };
  });
  co_return co_await wait;
}

io::Task<Result<Revision>> ViewGauge::wait_version(std::uint64_t version) {
  return wait(&versions_, version, true);
}

io::Task<Result<Revision>> ViewGauge::wait_revision(Revision revision) {
  return wait(&revisions_, revision, false);
}

FeedThread::FeedThread(bool own) : own_(own) {
  if (own_) thread_ = std::thread([this] { serve(); });
}

FeedThread::~FeedThread() {
  {
    const std::lock_guard guard(mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void FeedThread::post(io::Work work) {
  {
    const std::lock_guard guard(mutex_);
    queue_.push_back(std::move(work));
  }
  wake_.notify_one();
}

void FeedThread::serve() {
  while (true) {
    io::Work work;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace hansa::meta::etcd
