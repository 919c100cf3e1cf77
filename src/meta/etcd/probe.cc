// Whether etcd answers: what lets requests fail fast while it is away, and the probe that finds out when it is back.
#include <algorithm>

#include "meta/etcd/store_impl.h"

namespace hansa::meta::etcd {
namespace {

constexpr io::Duration healthy_probe_interval = std::chrono::seconds(5);
constexpr io::Duration probe_attempt = std::chrono::milliseconds(500);

// etcd found that its members' data differs, and refuses all else from then on.
bool says_corrupt(const StatusReply& status) {
  return std::ranges::any_of(status.errors, [](const auto& text) { return text.find("CORRUPT") != std::string::npos; });
}

constexpr std::string_view corrupt_store =
    "etcd says that its members' data differs (alarm CORRUPT) and refuses reads and writes; replace the member that is "
    "wrong, or restore: see docs/operations/cluster.md";

bool is_refusal(const Error& error) {
  return error.code == ErrorCode::unsupported || error.code == ErrorCode::unauthenticated ||
         error.code == ErrorCode::denied;
}

}  // namespace

void EtcdStore::set_reachable(bool reachable) {
  std::vector<io::Completion<Result<bool>>> waiting;
  bool changed = false;
  {
    const std::lock_guard guard(health_mutex_);
    changed = health_.reachable != reachable;
    health_.reachable = reachable;
    if (reachable) waiting.swap(wait_reachable_);
    if (reachable) refusal_.reset();
    if (!reachable && probe_rests_) waiting.push_back(*std::exchange(probe_rests_, std::nullopt));
  }
  for (const auto& one : waiting) one.complete(true);
  if (changed && reachable) log_.info("the metadata store answers");
  if (changed && !reachable) log_.warn("the metadata store does not answer");
}

void EtcdStore::suspect() {
  std::optional<io::Completion<Result<bool>>> rests;
  {
    const std::lock_guard guard(health_mutex_);
    rests.swap(probe_rests_);
  }
  if (rests) rests->complete(true);
}

std::optional<Result<void>> EtcdStore::admitted() const {
  if (closed_) return make_error(ErrorCode::unavailable, "this node is stopping");
  const std::lock_guard guard(health_mutex_);
  if (refusal_) return *refusal_;
  if (health_.reachable) return Result<void>{};
  return std::nullopt;
}

io::Task<Result<void>> EtcdStore::admit() {
  if (auto known = admitted()) co_return *std::move(known);
  auto wait = io::wait_for<Result<bool>>([this](io::Completion<Result<bool>> done) -> io::Work {
    const std::lock_guard guard(health_mutex_);
    if (health_.reachable) {
      done.complete(true);
      return nullptr;
    }
    std::erase_if(wait_reachable_, [](const auto& one) { return one.is_done(); });
    wait_reachable_.push_back(done);
    return [done] { done.complete(make_error(ErrorCode::cancelled, "the wait for the metadata was cancelled")); };
  });
  auto waiting = [](auto waited) -> io::Task<Result<bool>> { co_return co_await waited; };
  auto reached = co_await io::with_deadline(options_.fast_fail, waiting(std::move(wait)));
  if (reached) co_return Result<void>{};
  if (reached.error().code == ErrorCode::cancelled) co_return std::move(reached).error();
  co_return make_error(ErrorCode::unavailable, "the metadata store cannot be reached now; try again later");
}

io::Task<void> EtcdStore::probe_loop() {
  while (true) {
    auto probed = co_await probe();
    if (!probed && probed.error().code == ErrorCode::cancelled) co_return;
    set_reachable(probed.has_value());
    if (!probed && is_refusal(probed.error())) {
      const std::lock_guard guard(health_mutex_);
      refusal_ = probed.error();
    }
    if (!probed) log_.debug("the metadata store does not answer", {{"error", probed.error().message}});
    auto rested = co_await rest(probed.has_value());
    if (!rested) co_return;
  }
}

// Long while all is well; a barrier or commit that fails ends that.
io::Task<Result<void>> EtcdStore::rest(bool well) {
  if (well) {
    auto wait = io::wait_for<Result<bool>>([this](io::Completion<Result<bool>> done) -> io::Work {
      const std::lock_guard guard(health_mutex_);
      if (!health_.reachable) done.complete(true);
      probe_rests_ = done;
      return [done] { done.complete(make_error(ErrorCode::cancelled, "the probe's rest was cancelled")); };
    });
    auto waiting = [](auto waited) -> io::Task<Result<bool>> { co_return co_await waited; };
    auto woken = co_await io::with_deadline(healthy_probe_interval, waiting(std::move(wait)));
    if (!woken && woken.error().code == ErrorCode::timeout) co_return Result<void>{};
    if (!woken) co_return std::move(woken).error();
  }
  co_return co_await io::sleep_for(options_.probe_interval);
}

// The endpoint in use; when it does not serve, all others at once, so that one that hangs costs no time.
io::Task<Result<void>> EtcdStore::probe() {
  const auto in_use = endpoints_.current();
  auto answered = co_await probe_at(in_use);
  if (answered) learn(*answered);
  if (answered) co_return Result<void>{};
  if (!Endpoints::another_may_help(answered.error())) co_return std::move(answered).error();
  ProbeAll all;
  io::TaskScope scope(executor_);
  for (auto& other : endpoints_.all()) {
    if (other != in_use) scope.spawn("probe one", probe_into(std::move(other), &all, &scope));
  }
  co_await scope.join();
  if (!all.found) co_return all.last ? *all.last : answered.error();
  endpoints_.use(all.found);
  learn(all.status);
  co_return Result<void>{};
}

io::Task<void> EtcdStore::probe_into(std::shared_ptr<Channel> channel, ProbeAll* all, io::TaskScope* scope) {
  auto answered = co_await probe_at(channel);
  if (all->found) co_return;
  if (answered) {
    all->found = std::move(channel);
    all->status = *std::move(answered);
    scope->cancel();
  } else {
    all->last = std::move(answered).error();
  }
}

// Whether it answers a linearizable read; what it says of itself is noted.
io::Task<Result<StatusReply>> EtcdStore::probe_at(std::shared_ptr<Channel> channel) {
  HANSA_CO_TRY(StatusReply status, co_await channel->status(probe_attempt));
  const ServerVersion version = parse_version(status.version);
  if (version < oldest_version) {
    co_return make_error(ErrorCode::unsupported, "etcd " + status.version + " is too old; Hansa needs 3.4 or newer");
  }
  endpoints_.note_reads(channel, reads_are_linearizable(version));
  HANSA_CO_CHECK(co_await channel->range({.key = key(head_key), .end = {}}, probe_attempt));
  co_return status;
}

void EtcdStore::learn(const StatusReply& status) {
  const bool by_log = !endpoints_.trusts(*endpoints_.current());
  by_log_ = by_log;
  note([&](StoreHealth& health) {
    health.version = status.version;
    health.db_size = status.db_size;
    const auto limit = static_cast<double>(options_.quota_bytes) * options_.quota_limit;
    health.out_of_space = static_cast<double>(status.db_size) >= limit;
    health.barrier_by_log = by_log;
  });
  if (by_log && !std::exchange(told_version_, true)) {
    log_.warn(
        "linearizable reads of this etcd, or of a member of it, can be stale, so each barrier goes through its log; "
        "use "
        "3.4.42, 3.5.28, 3.6.9 or newer",
        {{"version", status.version}});
  }
  if (says_corrupt(status)) raise("corrupt", corrupt_store);
}

}  // namespace hansa::meta::etcd
