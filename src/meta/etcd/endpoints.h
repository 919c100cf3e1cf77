// Endpoints: the channels to etcd's members, the one in use, and how to go on to another. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "io/wait.h"
#include "meta/etcd/channel.h"

namespace hansa::meta::etcd {

inline constexpr io::Duration attempt_deadline = std::chrono::milliseconds(800);  // of one endpoint

class Endpoints {
 public:
  explicit Endpoints(ChannelFactory channels) : channels_(std::move(channels)) {}

  // Channels to endpoints that were known already are kept, the one in use stays in use if it is still there.
  // invalid(config): one of them cannot be used; the old ones stay.
  Result<void> set(const std::vector<ChannelSettings>& settings);
  std::size_t size() const;
  std::shared_ptr<Channel> current() const;
  std::vector<std::shared_ptr<Channel>> all() const;
  // This one from now on, if it is still known.
  void use(const std::shared_ptr<Channel>& channel);
  // What the etcd at this endpoint said of its version. Whether linearizable reads there can be trusted: it said so,
  // and none of the others said otherwise (it may be their leader that a read goes by).
  void note_reads(const std::shared_ptr<Channel>& channel, bool linearizable);
  bool trusts(const Channel& channel) const;
  // A channel of its own to the endpoint in use, for a watch (T3).
  Result<std::shared_ptr<Channel>> separate() const;
  // `failed` does not serve: another is in use from now on, unless that happened already.
  void move_on(const std::shared_ptr<Channel>& failed);

  // A read: tried on every endpoint in turn, each for attempt_deadline at most.
  template <class T, class Call>
  io::Task<Result<T>> read(Call call) {
    Error last = make_error(ErrorCode::unavailable, "no endpoint of etcd is known");
    const std::size_t tries = size();
    for (std::size_t i = 0; i < tries; ++i) {
      const auto channel = current();
      Result<T> reply = co_await call(*channel, attempt_deadline);
      if (reply || !another_may_help(reply.error())) co_return reply;
      last = std::move(reply).error();
      move_on(channel);
    }
    co_return last;
  }

  // Worth another endpoint? For a write only where nothing was proposed (unavailable).
  static bool another_may_help(const Error& error) {
    return error.code == ErrorCode::unavailable || error.code == ErrorCode::ambiguous;
  }

 private:
  ChannelFactory channels_;
  mutable std::mutex mutex_;
  std::vector<ChannelSettings> settings_;
  std::vector<std::shared_ptr<Channel>> open_;
  std::map<const Channel*, bool> linearizable_;  // of those in open_ that said so
  std::size_t current_ = 0;
};

}  // namespace hansa::meta::etcd
