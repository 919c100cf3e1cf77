#include "meta/etcd/store.h"

#include <algorithm>

#include "meta/etcd/store_impl.h"

namespace hansa::meta::etcd {

Error view_loading() {
  return make_error(ErrorCode::unavailable, "this node's view of the metadata is being loaded; try again soon");
}

EtcdStore::EtcdStore(io::Disk& disk, io::Clock& clock, io::Random& random, Logger& log, io::Executor& executor,
                     ChannelFactory channels, StoreOptions options, std::unique_ptr<sqlite::Replica> replica)
    : disk_(disk),
      clock_(clock),
      random_(random),
      log_(log),
      executor_(executor),
      options_(std::move(options)),
      replica_(std::move(replica)),
      endpoints_(std::move(channels)),
      feed_(std::make_shared<Feed>(options_.history, options_.history_bytes)),
      feed_thread_(options_.own_thread),
      scope_(executor) {}

EtcdStore::~EtcdStore() = default;

Result<void> EtcdStore::start() {
  HANSA_CHECK(endpoints_.set(options_.endpoints));
  const auto position = replica_->position();
  feed_->start_at(position.revision);
  if (!position.origin.empty()) cluster_ = std::strtoull(position.origin.c_str(), nullptr, 10);
  note([&position](StoreHealth& health) { health.applied = position.revision; });
  executor_.post([this] {
    scope_.spawn("probe", probe_loop());
    scope_.spawn("barrier", barrier_loop());
    scope_.spawn("follow", follow_loop());
    scope_.spawn("ends", ends_loop());
  });
  return {};
}

io::Task<Result<void>> EtcdStore::ready() {
  bool told = false;
  while (true) {
    auto passed = co_await barrier();
    if (passed) co_return Result<void>{};
    const ErrorCode code = passed.error().code;
    const bool wait = code == ErrorCode::unavailable || code == ErrorCode::too_many || code == ErrorCode::timeout;
    if (!wait) co_return std::move(passed).error();
    if (!std::exchange(told, true)) {
      log_.warn("waiting for the metadata store", {{"error", passed.error().message}});
    }
    HANSA_CO_CHECK(co_await io::sleep_for(options_.probe_interval));
  }
}

Result<std::unique_ptr<sqlite::ReadTransaction>> EtcdStore::read() {
  if (gauge_.state().loading) return view_loading();
  return replica_->read();
}

Result<std::unique_ptr<Snapshot>> EtcdStore::snapshot() {
  HANSA_TRY(auto view, read());
  return std::unique_ptr<Snapshot>(std::move(view));
}

Result<std::unique_ptr<Subscription>> EtcdStore::follow(Revision from, std::function<void(const ChangeSet&)> listener) {
  // A snapshot may show what the feed tells in the next moment: the listener then hears it once more.
  // The file itself says how far the view is: its position is told a moment after the commit.
  const auto view = replica_->read();
  if (view && from <= (*view)->revision()) from = std::min(from, feed_->newest());
  return feed_->follow(from, std::move(listener));
}

Revision EtcdStore::mod_in_view(const std::string& name) {
  return gauge_.state().loading ? 0 : replica_mod(name);
}

// ---- commits ----------------------------------------------------------------------------------------------------

io::Task<Result<CommitOutcome>> EtcdStore::commit(Commit commit) {
  HANSA_CO_CHECK(check_limits(commit));
  if (health().out_of_space && grows(commit)) {
    co_return make_error(
        ErrorCode::out_of_space,
        "the metadata store is nearly full (etcd's quota); delete what is not needed, or raise the quota");
  }
  HANSA_CO_CHECK(co_await admit());
  const auto mod_of = [this](const std::string& name) { return mod_in_view(name); };
  TxnRequest request = to_transaction(commit, options_.prefix, mod_of);
  note([](StoreHealth& health) { ++health.commits; });
  HANSA_CO_TRY(const CommitOutcome outcome, co_await send(std::move(request)));
  if (outcome.status == CommitStatus::unknown) note([](StoreHealth& health) { ++health.unknown; });
  if (outcome.status == CommitStatus::committed) {
    // So that whoever wrote sees it in this node's view; a view that lags is no failure of the commit.
    auto seen = co_await io::with_deadline(options_.view_wait, gauge_.wait_revision(outcome.revision));
    if (!seen) log_.debug("the view lags behind a commit of this node", {{"revision", outcome.revision}});
  }
  co_return outcome;
}

// Never twice: only where nothing was proposed another endpoint is asked.
io::Task<Result<CommitOutcome>> EtcdStore::send(TxnRequest request) {
  Error last = make_error(ErrorCode::unavailable, "no endpoint of etcd is known");
  for (std::size_t i = 0; i < endpoints_.size(); ++i) {
    const auto channel = endpoints_.current();
    auto reply = co_await channel->txn(request, std::min(attempt_deadline, options_.commit_deadline));
    if (reply && reply->succeeded) co_return CommitOutcome{CommitStatus::committed, reply->header.revision};
    if (reply) co_return CommitOutcome{CommitStatus::conflict, 0};
    last = std::move(reply).error();
    if (last.code == ErrorCode::ambiguous || last.code == ErrorCode::cancelled) {
      endpoints_.move_on(channel);
      suspect();
      log_.warn("a commit's outcome is unknown", {{"error", last.message}});
      co_return CommitOutcome{CommitStatus::unknown, 0};
    }
    if (last.code == ErrorCode::not_found) {
      co_return make_error(ErrorCode::invalid, "a put names a lease that has ended");
    }
    if (last.code == ErrorCode::out_of_space) note([](StoreHealth& health) { health.out_of_space = true; });
    if (last.code != ErrorCode::unavailable) co_return last;
    endpoints_.move_on(channel);
  }
  set_reachable(false);
  co_return make_error(ErrorCode::unavailable, "the metadata store cannot be reached now: " + last.message);
}

// ---- for the operator and for peers -----------------------------------------------------------------------------

StoreHealth EtcdStore::health() const {
  const std::lock_guard guard(health_mutex_);
  return health_;
}

void EtcdStore::raise(std::string_view alarm, std::string_view what) {
  bool fresh = false;
  note([&](StoreHealth& health) {
    fresh = health.alarm != alarm;
    health.alarm = std::string(alarm);
  });
  if (fresh) log_.error(what, {{"alarm", std::string(alarm)}});
}

void EtcdStore::clear_alarm() {
  note([](StoreHealth& health) { health.alarm.clear(); });
}

Result<ViewSums> EtcdStore::sums() {
  const auto before = replica_->position();
  HANSA_TRY(auto sums, replica_->sums());
  const auto after = replica_->position();
  // What moved meanwhile cannot be compared.
  // And so what was committed and is not told yet.
  const bool still = before.head_version == after.head_version && sums.revision == before.revision;
  return ViewSums{
      .head_version = still ? before.head_version : 0, .revision = sums.revision, .sums = std::move(sums.sums)};
}

void EtcdStore::resync(std::string_view why) {
  note([](StoreHealth& health) { ++health.resyncs; });
  log_.warn("the view is loaded anew", {{"why", std::string(why)}});
  must_discard_ = true;
  must_load_ = true;
  executor_.post([this] { interrupt(); });
}

void EtcdStore::set_endpoints(std::vector<ChannelSettings> endpoints) {
  const auto set = endpoints_.set(endpoints);
  if (!set) log_.error("the endpoints of etcd stay as they were", {{"error", set.error().message}});
}

io::Task<void> EtcdStore::close() {
  constexpr io::Duration look_again = std::chrono::milliseconds(20);
  constexpr int looks = 50;
  // Leases that were just dropped end now, not a TTL later.
  co_await io::yield();
  for (int i = 0; i < looks && revoking_ > 0; ++i) {
    auto slept = co_await io::sleep_for(look_again);
    if (!slept) break;
  }
  closed_ = true;
  co_await scope_.close();
  gauge_.fail(make_error(ErrorCode::unavailable, "this node is stopping"));
}

Result<std::unique_ptr<Store>> Store::open(io::Disk& disk, io::Clock& clock, io::Random& random, Logger& log,
                                           io::Executor& executor, ChannelFactory channels, StoreOptions options,
                                           std::vector<sqlite::Projection*> projections) {
  HANSA_TRY(auto replica, sqlite::Replica::open(disk, clock, log, options.view, std::move(projections)));
  auto store = std::make_unique<EtcdStore>(disk, clock, random, log, executor, std::move(channels), std::move(options),
                                           std::move(replica));
  HANSA_CHECK(store->start());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace hansa::meta::etcd
