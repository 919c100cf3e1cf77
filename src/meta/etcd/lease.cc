#include <algorithm>

#include "meta/etcd/store_impl.h"

namespace hansa::meta::etcd {
namespace {

constexpr io::Duration lease_attempt = std::chrono::milliseconds(1000);
constexpr int keep_alives_per_ttl = 3;
constexpr int attempts_per_ttl = 4;  // so that another endpoint is asked in time where one is silent

// What the keeper and the holder of a lease share. Times in nanoseconds of the monotonic clock.
struct Life {
  std::atomic<std::int64_t> until{};
  std::atomic<bool> ended = false;    // etcd said so
  std::atomic<bool> dropped = false;  // the holder let it go
};

}  // namespace

class EtcdLease final : public Lease {
 public:
  EtcdLease(EtcdStore& store, LeaseId id, io::Duration ttl, io::MonotonicTime asked)
      : store_(store), id_(id), ttl_(ttl) {
    life_->until = (asked + ttl).since_origin.count();
  }
  ~EtcdLease() override {
    life_->dropped = true;
    if (!life_->ended) store_.end_lease(id_);
  }
  LeaseId id() const override { return id_; }
  bool alive() const override { return !life_->ended && store_.clock_.monotonic().since_origin.count() < life_->until; }

  void keep() {
    store_.executor_.post([store = &store_, id = id_, ttl = ttl_, life = life_] {
      if (!store->closed_) store->scope_.spawn("lease", keep_alive(store, id, ttl, life));
    });
  }

 private:
  static io::Task<void> keep_alive(EtcdStore* store, LeaseId id, io::Duration ttl, std::shared_ptr<Life> life) {
    constexpr io::Duration pause = std::chrono::milliseconds(100);  // all may refuse at once
    io::Duration rest = ttl / keep_alives_per_ttl;
    while (!life->dropped && !life->ended) {
      auto slept = co_await io::sleep_for(rest);
      if (!slept || life->dropped) co_return;
      rest = ttl / keep_alives_per_ttl;
      const io::MonotonicTime asked = store->clock_.monotonic();
      const auto channel = store->endpoints_.current();
      auto kept = co_await channel->lease_keep_alive(id, std::min(lease_attempt, ttl / attempts_per_ttl));
      if (kept) {
        life->until = (asked + std::min(*kept, ttl)).since_origin.count();
      } else if (kept.error().code == ErrorCode::not_found) {
        life->ended = true;
      } else if (kept.error().code == ErrorCode::cancelled) {
        co_return;
      } else {
        store->endpoints_.move_on(channel);
        rest = pause;
      }
    }
  }

  EtcdStore& store_;
  LeaseId id_;
  io::Duration ttl_;
  std::shared_ptr<Life> life_ = std::make_shared<Life>();
};

io::Task<Result<std::unique_ptr<Lease>>> EtcdStore::lease(io::Duration ttl) {
  HANSA_CO_CHECK(co_await admit());
  // etcd counts in whole seconds.
  const io::Duration whole =
      std::max<io::Duration>(std::chrono::ceil<std::chrono::seconds>(ttl), std::chrono::seconds(1));
  const io::MonotonicTime asked = clock_.monotonic();
  const auto call = [whole](Channel& channel, io::Duration deadline) { return channel.lease_grant(whole, deadline); };
  auto id = co_await endpoints_.read<LeaseId>(call);
  if (!id && Endpoints::another_may_help(id.error())) {
    set_reachable(false);
    co_return make_error(ErrorCode::unavailable, "the metadata store grants no lease now: " + id.error().message);
  }
  if (!id) co_return std::move(id).error();
  auto lease = std::make_unique<EtcdLease>(*this, *id, whole, asked);
  lease->keep();
  co_return std::unique_ptr<Lease>(std::move(lease));
}

void EtcdStore::end_lease(LeaseId lease) {
  if (closed_) return;
  ++revoking_;
  executor_.post([this, lease] {
    if (closed_) return;
    auto revoke = [](EtcdStore* store, LeaseId id) -> io::Task<void> {
      // What fails here ends by its time.
      auto revoked = co_await store->endpoints_.current()->lease_revoke(id, lease_attempt);
      if (!revoked) store->log_.debug("a lease ends by its time", {{"error", revoked.error().message}});
      --store->revoking_;
    };
    scope_.spawn("revoke", revoke(this, lease));
  });
}

}  // namespace hansa::meta::etcd
