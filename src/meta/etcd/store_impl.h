// The implementation of etcd::Store; private to this room. store.cc: commits and what callers see; fence.cc: barriers;
// probe.cc: whether etcd answers; follower.cc: the feed and loading anew; ends.cc: lost ends of leases; lease.cc:
// leases.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "io/scope.h"
#include "io/wait.h"
#include "meta/etcd/barrier_queue.h"
#include "meta/etcd/endpoints.h"
#include "meta/etcd/rules.h"
#include "meta/etcd/store.h"
#include "meta/feed.h"
#include "meta/sqlite/replica.h"

namespace hansa::meta::etcd {

Error view_loading();

// Where the view stands, and who waits for it to get somewhere. Thread-safe; completions never run inside.
class ViewGauge {
 public:
  struct State {
    Revision revision = 0;
    HeadPosition head;
    bool loading = true;
  };
  State state() const;
  void set(State state);  // wakes who has what it waits for
  void fail(const Error& error);

  // True once the view has applied this version of head (or revision); an error when the view is given up.
  io::Task<Result<Revision>> wait_version(std::uint64_t version);
  io::Task<Result<Revision>> wait_revision(Revision revision);

 private:
  using Done = io::Completion<Result<Revision>>;
  io::Task<Result<Revision>> wait(std::multimap<std::uint64_t, Done>* queue, std::uint64_t target, bool version);
  mutable std::mutex mutex_;
  State state_;
  std::multimap<std::uint64_t, Done> versions_;
  std::multimap<std::uint64_t, Done> revisions_;
};

// One thread that runs what it is given, in order: the feed's own (T10).
class FeedThread {
 public:
  explicit FeedThread(bool own);
  ~FeedThread();
  template <class F>
  auto run(F work) -> io::Task<std::invoke_result_t<F&>> {
    using R = std::invoke_result_t<F&>;
    if (!own_) co_return co_await io::blocking(io::Pool::metadata, std::move(work));
    auto wait = io::wait_for<R>([&](io::Completion<R> done) -> io::Work {
      post([&work, done] { done.complete(work()); });
      return nullptr;
    });
    co_return co_await wait;
  }

 private:
  void post(io::Work work);
  void serve();
  const bool own_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<io::Work> queue_;
  bool closing_ = false;
  std::thread thread_;
};

class EtcdStore final : public Store {
 public:
  EtcdStore(io::Disk& disk, io::Clock& clock, io::Random& random, Logger& log, io::Executor& executor,
            ChannelFactory channels, StoreOptions options, std::unique_ptr<sqlite::Replica> replica);
  ~EtcdStore() override;
  Result<void> start();

  Result<std::unique_ptr<Snapshot>> snapshot() override;
  io::Task<Result<Fence>> barrier() override;
  io::Task<Result<CommitOutcome>> commit(Commit commit) override;
  Result<std::unique_ptr<Subscription>> follow(Revision from, std::function<void(const ChangeSet&)> listener) override;
  io::Task<Result<std::unique_ptr<Lease>>> lease(io::Duration ttl) override;

  io::Task<Result<void>> ready() override;
  Result<std::unique_ptr<sqlite::ReadTransaction>> read() override;
  StoreHealth health() const override;
  Result<ViewSums> sums() override;
  Result<void> copy_view(const std::string& path) override { return replica_->copy_to(path); }
  void resync(std::string_view why) override;
  void clear_alarm() override;
  void set_endpoints(std::vector<ChannelSettings> endpoints) override;
  io::Task<void> close() override;

 private:
  friend class EtcdLease;
  struct Round {  // those who share one read of head
    BarrierQueue::Ticket first = 0;
    BarrierQueue::Ticket last = 0;
  };
  struct HeadRead {
    std::uint64_t version = 0;
    std::string operation;
    Revision revision = 0;  // of the store
  };

  std::string key(std::string_view name) const { return options_.prefix + std::string(name); }
  template <class Change>
  void note(Change change) {  // changes health_ under its lock
    const std::lock_guard guard(health_mutex_);
    change(health_);
  }
  void raise(std::string_view alarm, std::string_view what);
  void set_reachable(bool reachable);
  void suspect();  // something went unanswered: the probe looks now
  // Ok while etcd answers, an error when it cannot be used; nothing when only the probe can tell.
  std::optional<Result<void>> admitted() const;
  // The same, but waits for the probe, at most fast_fail.
  io::Task<Result<void>> admit();

  // probe.cc
  struct ProbeAll {
    std::shared_ptr<Channel> found;
    StatusReply status;  // of `found`
    std::optional<Error> last;
  };
  io::Task<void> probe_loop();
  io::Task<Result<void>> probe();
  io::Task<void> probe_into(std::shared_ptr<Channel> channel, ProbeAll* all, io::TaskScope* scope);
  io::Task<Result<StatusReply>> probe_at(std::shared_ptr<Channel> channel);
  void learn(const StatusReply& status);   // of the endpoint in use
  io::Task<Result<void>> rest(bool well);  // between two probes

  // fence.cc
  io::Task<void> barrier_loop();
  io::Task<BarrierQueue::Ticket> barrier_round(Round round);  // the newest when its answer came
  void passed(const Round& round, io::BootTime began, Revision revision);
  io::Task<void> pass(HeadRead head, Round round, io::BootTime began);
  io::Duration gap_between_rounds() const;
  io::Task<void> wait_for_return(BarrierQueue::Ticket newest, std::size_t answered);
  io::Task<void> expire_loop();
  io::Task<Result<void>> wait_for_waiters(BarrierQueue::Ticket after);  // or cancelled
  io::Task<Result<HeadRead>> read_head();
  io::Task<Result<HeadRead>> read_head_at(Channel& channel, io::Duration deadline);
  TxnRequest head_through_the_log() const;
  void look_back(const ViewGauge::State& before, const HeadRead& head);
  void give_up_view();  // the store went back in time

  // follower.cc
  io::Task<void> follow_loop();
  io::Task<Result<void>> follow_once();
  io::Task<Result<void>> confirm_past(sqlite::ReplicaPosition position);
  io::Task<Result<HeadPosition>> head_at(Revision revision);
  Revision replica_mod(std::string_view name);
  void miss_event(Revision revision);
  io::Task<Result<void>> watch_events(Revision from);
  io::Task<Result<void>> apply(std::vector<ChangeSet> sets);
  io::Task<Result<void>> load();
  struct Loaded {
    Revision revision = 0;
    std::string origin;
  };
  io::Task<Result<Loaded>> load_from_etcd();
  io::Task<Result<Loaded>> load_from_peer();
  Result<Loaded> load_copy(const std::string& path);
  Result<std::set<std::string>> discard();  // what the view had
  void interrupt();                         // the watch under way; the executor's thread only
  void publish_position();
  Revision mod_in_view(const std::string& key);

  // ends.cc
  io::Task<void> ends_loop();
  io::Task<Result<std::map<std::string, Revision>>> ended_in_view();

  io::Task<Result<CommitOutcome>> send(TxnRequest request);
  void end_lease(LeaseId lease);

  io::Disk& disk_;
  io::Clock& clock_;
  io::Random& random_;
  Logger& log_;
  io::Executor& executor_;
  StoreOptions options_;
  std::unique_ptr<sqlite::Replica> replica_;
  Endpoints endpoints_;
  ViewGauge gauge_;
  std::shared_ptr<Feed> feed_;
  FeedThread feed_thread_;

  mutable std::mutex health_mutex_;
  StoreHealth health_;
  std::vector<io::Completion<Result<bool>>> wait_reachable_;
  std::optional<io::Completion<Result<bool>>> probe_rests_;
  std::optional<Error> refusal_;  // why this etcd cannot be used at all: its version, the credentials

  BarrierQueue waiting_;
  std::uint64_t answered_rounds_ = 0;       // the executor's thread only
  std::atomic<std::size_t> admitting_ = 0;  // barriers that wait for the probe
  bool expiring_ = false;                   // the executor's thread only
  std::atomic<bool> by_log_ = true;
  bool told_version_ = false;
  std::atomic<std::uint64_t> cluster_ = 0;

  std::atomic<bool> must_load_ = false;
  std::atomic<bool> must_discard_ = false;
  bool ask_peers_ = false;                // the next load is of a view that is only too old
  bool asked_peers_ = false;              // since the feed last ran
  io::TaskContext* following_ = nullptr;  // of the watch under way; the executor's thread only
  std::shared_ptr<Channel> watch_channel_;
  std::shared_ptr<Channel> watched_;  // what was in use for all else when the watch was opened
  HeadPosition fed_;                  // head of what was handed to the view
  std::set<std::string> discarded_;   // keys of views given up, until listeners have heard

  std::atomic<bool> closed_ = false;
  std::atomic<int> revoking_ = 0;  // leases
  io::TaskScope scope_;
};

}  // namespace hansa::meta::etcd
