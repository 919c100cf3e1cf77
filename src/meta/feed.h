// Feed: the newest change sets of a store and who follows them. Thread-safe; listeners run under its lock, in order, so
// that ending a subscription waits for its last call.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "meta/store.h"

namespace hansa::meta {

// Followers begin at a view's newest revision, so what a feed keeps need only bridge the moment in which they do.
inline constexpr std::size_t default_history = 10'000;  // change sets
inline constexpr std::size_t default_history_bytes = 4UL * 1024 * 1024;

class Feed : public std::enable_shared_from_this<Feed> {
 public:
  // What is kept for followers that begin in the past: so many change sets, as far as they take no more than `bytes`.
  Feed(std::size_t limit, std::size_t limit_bytes) : limit_(limit), limit_bytes_(limit_bytes) {}

  void publish(ChangeSet changes) {
    const std::lock_guard guard(mutex_);
    for (auto& [id, listener] : listeners_) listener(changes);
    newest_ = changes.revision;
    bytes_ += size_of(changes);
    history_.push_back(std::move(changes));
    while (history_.size() > limit_ || bytes_ > limit_bytes_) {
      bytes_ -= size_of(history_.front());
      before_ = history_.front().revision;
      history_.pop_front();
    }
  }
  void start_at(Revision revision) {
    const std::lock_guard guard(mutex_);
    before_ = newest_ = revision;
  }
  // The store was read anew: listeners hear what that changed, and the history begins after it. Its revision may be
  // lower than the last.
  void restart(const ChangeSet& changes) {
    const std::lock_guard guard(mutex_);
    history_.clear();
    bytes_ = 0;
    before_ = newest_ = changes.revision;
    if (changes.changes.empty()) return;
    for (auto& [id, listener] : listeners_) listener(changes);
  }

  Revision newest() {
    const std::lock_guard guard(mutex_);
    return newest_;
  }

  // range: `from` is outside what is kept.
  Result<std::unique_ptr<Subscription>> follow(Revision from, std::function<void(const ChangeSet&)> listener) {
    const std::lock_guard guard(mutex_);
    if (from < before_ || from > newest_) {
      return make_error(ErrorCode::range, "revision " + std::to_string(from) +
                                              " is outside the history that is kept (" + std::to_string(before_) +
                                              " to " + std::to_string(newest_) + ")");
    }
    for (const auto& changes : history_) {
      if (changes.revision > from) listener(changes);
    }
    listeners_.emplace(++last_id_, std::move(listener));
    return std::unique_ptr<Subscription>(std::make_unique<Follower>(shared_from_this(), last_id_));
  }

 private:
  class Follower final : public Subscription {
   public:
    Follower(std::shared_ptr<Feed> feed, std::size_t id) : feed_(std::move(feed)), id_(id) {}
    ~Follower() override {
      const std::lock_guard guard(feed_->mutex_);
      feed_->listeners_.erase(id_);
    }

   private:
    std::shared_ptr<Feed> feed_;
    std::size_t id_;
  };

  static std::size_t size_of(const ChangeSet& changes) {
    std::size_t bytes = sizeof changes;
    for (const auto& change : changes.changes) bytes += sizeof change + change.now.key.size() + change.now.value.size();
    return bytes;
  }

  std::size_t limit_;
  std::size_t limit_bytes_;
  std::size_t bytes_ = 0;
  std::mutex mutex_;
  std::map<std::size_t, std::function<void(const ChangeSet&)>> listeners_;
  std::size_t last_id_ = 0;
  std::deque<ChangeSet> history_;
  Revision before_ = 0;  // of the last change set that is not kept any more
  Revision newest_ = 0;
};

}  // namespace hansa::meta
