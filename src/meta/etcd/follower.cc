// The feed: one watch over the prefix, applied to the view in order; and loading the view anew.
#include <algorithm>

#include "meta/etcd/store_impl.h"

namespace hansa::meta::etcd {
namespace {

constexpr std::size_t load_page = 1000;  // keys a range
constexpr io::Duration follow_pause = std::chrono::milliseconds(100);
constexpr io::Duration load_attempt = std::chrono::seconds(10);  // of one page

// Puts the events of a reply beside those that came before, by revision; `prefix` is taken off.
void collect(WatchReply& reply, std::string_view prefix, Revision applied, std::map<Revision, ChangeSet>& open) {
  for (auto& event : reply.events) {
    const Revision at = event.now.mod;
    if (at <= applied) continue;  // repeated, or travelling back (H2)
    auto& set = open[at];
    set.revision = at;
    event.now.key.erase(0, prefix.size());
    set.changes.push_back({.now = std::move(event.now), .deleted = event.deleted});
  }
}

// Change sets that are whole: all, or all but the newest while more fragments follow.
std::vector<ChangeSet> take_whole(std::map<Revision, ChangeSet>& open, bool fragment) {
  std::vector<ChangeSet> out;
  while (!open.empty() && (!fragment || open.size() > 1)) {
    auto set = std::move(open.begin()->second);
    open.erase(open.begin());
    const auto key = [](const Change& change) -> const std::string& { return change.now.key; };
    std::ranges::sort(set.changes, {}, key);
    const auto repeated = std::ranges::unique(set.changes, {}, key);
    set.changes.erase(repeated.begin(), repeated.end());
    out.push_back(std::move(set));
  }
  return out;
}

}  // namespace

void EtcdStore::interrupt() {
  if (following_ != nullptr) following_->cancel();
}

void EtcdStore::publish_position() {
  const auto position = replica_->position();
  gauge_.set({.revision = position.revision,
              .head = {.version = position.head_version, .operation = position.head_operation},
              .loading = false});
  note([&position](StoreHealth& health) {
    health.applied = position.revision;
    health.target = std::max(health.target, position.revision);
    health.loading = false;
  });
}

io::Task<void> EtcdStore::follow_loop() {
  io::TaskContext& outer = co_await io::current_context();
  while (!outer.cancelled()) {
    Result<void> ended;
    {
      io::TaskContext inner(outer.executor(), &outer);
      following_ = &inner;
      auto following = follow_once();
      ended = co_await std::move(following).in(inner);
      following_ = nullptr;
    }
    if (outer.cancelled()) co_return;
    if (!ended && ended.error().code == ErrorCode::range) {
      log_.warn("the history that this node's view needs is gone; it is loaded anew",
                {{"error", ended.error().message}});
      must_load_ = true;
      // Once: a copy may be too old as well.
      ask_peers_ = options_.peer_view != nullptr && !std::exchange(asked_peers_, true);
    } else if (!ended && ended.error().code != ErrorCode::cancelled) {
      log_.debug("the feed ended; it is opened again", {{"error", ended.error().message}});
      if (watched_) endpoints_.move_on(watched_);  // another may have been chosen meanwhile, which stays
    }
    auto slept = co_await io::sleep_for(follow_pause);
    if (!slept) co_return;
  }
}

io::Task<Result<void>> EtcdStore::follow_once() {
  if (must_load_ || replica_->position().origin.empty()) HANSA_CO_CHECK(co_await load());
  const auto position = replica_->position();
  fed_ = {.version = position.head_version, .operation = position.head_operation};
  HANSA_CO_CHECK(co_await confirm_past(position));
  co_return co_await watch_events(position.revision + 1);
}

// A store may have gone back and then on, past the view: at the view's own revision it shows (H2d). More commits up to
// there than the view has heard of are lost events, where the view's last one is the store's too. range: that revision
// is compacted.
io::Task<Result<void>> EtcdStore::confirm_past(sqlite::ReplicaPosition position) {
  const HeadPosition view = fed_;
  auto now = co_await read_head();
  // The past of a full store can still be read.
  if (!now && now.error().code != ErrorCode::out_of_space) co_return std::move(now).error();
  if (!now || !went_back(view, position.revision, now->version, now->operation, now->revision)) {
    HANSA_CO_TRY(const HeadPosition then, co_await head_at(position.revision));
    if (then.version == view.version && then.operation == view.operation) co_return Result<void>{};
    if (view.version != 0 && then.version > view.version) {
      HANSA_CO_TRY(const HeadPosition last, co_await head_at(replica_mod(head_key)));
      if (last.version == view.version && last.operation == view.operation) {
        miss_event(position.revision);
        co_return make_error(ErrorCode::unavailable, "an event is missing");
      }
    }
  }
  give_up_view();
  co_return make_error(ErrorCode::unavailable, "the store is not the one that the view copied");
}

// Version 0: there was none.
io::Task<Result<HeadPosition>> EtcdStore::head_at(Revision revision) {
  RangeRequest request{.key = key(head_key), .end = {}, .limit = 0, .revision = revision};
  const auto call = [&request](Channel& channel, io::Duration deadline) { return channel.range(request, deadline); };
  HANSA_CO_TRY(const RangeReply reply, co_await endpoints_.read<RangeReply>(call));
  if (reply.values.empty()) co_return HeadPosition{};
  const KeyValue& head = reply.values.front();
  co_return HeadPosition{.version = head.version, .operation = head_operation(head.value)};
}

// Also while nothing is answered from the view.
Revision EtcdStore::replica_mod(std::string_view name) {
  auto view = replica_->read();
  if (!view) return 0;
  auto record = (*view)->get(name);
  return record && *record != nullptr ? (*record)->mod : 0;
}

void EtcdStore::miss_event(Revision revision) {
  must_load_ = true;
  auto stopped = gauge_.state();
  stopped.loading = true;
  gauge_.set(stopped);
  note([](StoreHealth& health) { ++health.resyncs; });
  log_.error("the feed lost an event; this node's view is loaded anew", {{"revision", revision}});
}

io::Task<Result<void>> EtcdStore::watch_events(Revision from) {
  watched_ = endpoints_.current();
  HANSA_CO_TRY(watch_channel_, endpoints_.separate());
  HANSA_CO_TRY(auto watch, co_await watch_channel_->watch(options_.prefix, prefix_end(options_.prefix), from));
  std::map<Revision, ChangeSet> open;
  bool caught_up = false;
  while (true) {
    HANSA_CO_TRY(WatchReply reply, co_await watch->next());
    if (reply.compacted != 0)
      co_return make_error(ErrorCode::range, "compacted up to " + std::to_string(reply.compacted));
    if (reply.canceled) co_return make_error(ErrorCode::unavailable, "etcd ended the watch: " + reply.reason);
    if (cluster_ != 0 && reply.header.cluster != 0 && reply.header.cluster != cluster_) {
      must_discard_ = must_load_ = true;
      raise("rewound", "this is another etcd cluster than the one that this node's view comes from");
      co_return make_error(ErrorCode::unavailable, "another cluster answers");
    }
    collect(reply, options_.prefix, replica_->position().revision, open);
    auto sets = take_whole(open, reply.fragment);
    if (!sets.empty()) HANSA_CO_CHECK(co_await apply(std::move(sets)));
    // What the view has is answered from only after the first word of the store that it comes from.
    if (!std::exchange(caught_up, true)) publish_position();
    asked_peers_ = false;
  }
}

io::Task<Result<void>> EtcdStore::apply(std::vector<ChangeSet> sets) {
  for (const auto& set : sets) {
    const Sequence sequence = check_sequence(fed_, set);
    if (sequence == Sequence::gap) {
      miss_event(set.revision);
      co_return make_error(ErrorCode::unavailable, "an event is missing");
    }
    if (sequence == Sequence::foreign) {
      raise("foreign", "somebody else writes below the prefix " + options_.prefix + " of etcd");
    }
  }
  auto work = [this, &sets] { return replica_->apply(sets); };
  auto applied = co_await feed_thread_.run(std::move(work));
  if (!applied) {
    log_.error("the view cannot be written", {{"error", applied.error().message}});
    co_return std::move(applied).error();
  }
  publish_position();
  for (auto& set : sets) feed_->publish(std::move(set));
  co_return Result<void>{};
}

// ---- loading anew -----------------------------------------------------------------------------------------------

io::Task<Result<void>> EtcdStore::load() {
  auto stopped = gauge_.state();
  stopped.loading = true;
  gauge_.set(stopped);
  note([](StoreHealth& health) {
    health.loading = true;
    health.loaded_keys = 0;
  });
  if (must_discard_) {
    auto empty = [this] { return discard(); };
    HANSA_CO_TRY(auto had, co_await feed_thread_.run(std::move(empty)));
    discarded_.merge(std::move(had));
    must_discard_ = false;
  }
  Loaded loaded;
  if (std::exchange(ask_peers_, false)) {
    auto copied = co_await load_from_peer();
    if (!copied) log_.info("no member's view helps; etcd is read", {{"error", copied.error().message}});
    if (copied) loaded = *std::move(copied);
  }
  if (loaded.origin.empty()) {
    HANSA_CO_TRY(loaded, co_await load_from_etcd());
  }
  auto finish = [this, &loaded] { return replica_->finish_load(loaded.revision, loaded.origin); };
  HANSA_CO_TRY(auto changes, co_await feed_thread_.run(std::move(finish)));
  must_load_ = false;
  // Listeners hear too of what went with the discarded view.
  for (const auto& change : changes.changes) discarded_.erase(change.now.key);
  for (const auto& gone : std::exchange(discarded_, {})) {
    changes.changes.push_back(
        {.now = {.key = gone, .value = {}, .create = 0, .mod = loaded.revision, .version = 0}, .deleted = true});
  }
  std::ranges::sort(changes.changes, {}, [](const Change& change) -> const std::string& { return change.now.key; });
  feed_->restart(changes);
  log_.info("this node's view of the metadata was loaded",
            {{"records", health().loaded_keys}, {"revision", loaded.revision}});
  co_return Result<void>{};
}

Result<std::set<std::string>> EtcdStore::discard() {
  std::set<std::string> keys;
  auto view = replica_->read();
  if (!view && view.error().code != ErrorCode::unavailable) return std::move(view).error();
  if (view) {  // else it was damaged and shows nothing
    std::string after;
    while (true) {
      HANSA_TRY(auto page, (*view)->range("", after, load_page));
      if (page.empty()) break;
      after = page.back().key;
      for (auto& record : page) keys.insert(std::move(record.key));
    }
    view->reset();
  }
  HANSA_CHECK(replica_->discard());
  return keys;
}

// All pages are of one revision; when that is compacted meanwhile, the caller begins anew.
io::Task<Result<EtcdStore::Loaded>> EtcdStore::load_from_etcd() {
  auto begin = [this] { return replica_->begin_load(); };
  HANSA_CO_CHECK(co_await feed_thread_.run(std::move(begin)));
  Loaded loaded;
  RangeRequest request{.key = options_.prefix, .end = prefix_end(options_.prefix), .limit = load_page};
  while (true) {
    const auto call = [&request](Channel& channel, io::Duration) { return channel.range(request, load_attempt); };
    HANSA_CO_TRY(RangeReply reply, co_await endpoints_.read<RangeReply>(call));
    if (request.revision == 0) {
      request.revision = reply.header.revision;
      loaded = {.revision = reply.header.revision, .origin = std::to_string(reply.header.cluster)};
      cluster_ = reply.header.cluster;
    }
    if (!reply.values.empty()) request.key = reply.values.back().key + '\0';
    for (auto& record : reply.values) record.key.erase(0, options_.prefix.size());
    note([&reply](StoreHealth& health) {
      health.loaded_keys += reply.values.size();
      health.target = std::max(health.target, reply.header.revision);
    });
    auto work = [this, &reply] { return replica_->load(reply.values); };
    HANSA_CO_CHECK(co_await feed_thread_.run(std::move(work)));
    if (!reply.more) co_return loaded;
  }
}

// What it shows is confirmed as any view is, by etcd's head at its revision (confirm_past).
io::Task<Result<EtcdStore::Loaded>> EtcdStore::load_from_peer() {
  HANSA_CO_TRY(auto stale, replica_->read());
  HANSA_CO_TRY(const std::string path, co_await options_.peer_view(std::move(stale)));
  auto work = [this, &path] {
    auto loaded = load_copy(path);
    sqlite::Replica::remove_files(disk_, path);
    return loaded;
  };
  HANSA_CO_TRY(auto loaded, co_await feed_thread_.run(std::move(work)));
  note([](StoreHealth& health) { ++health.copied_views; });
  co_return loaded;
}

Result<EtcdStore::Loaded> EtcdStore::load_copy(const std::string& path) {
  HANSA_TRY(const auto copy, sqlite::Replica::open(disk_, clock_, log_, {.path = path}, {}));
  const auto mine = replica_->position();
  const auto theirs = copy->position();
  if (theirs.origin != mine.origin) return make_error(ErrorCode::corrupt, "the copy is of another store");
  if (theirs.revision <= mine.revision) return make_error(ErrorCode::range, "the copy is no newer than this view");
  HANSA_TRY(const auto view, copy->read());
  HANSA_CHECK(replica_->begin_load());
  std::string after;
  while (true) {
    HANSA_TRY(const auto page, view->range("", after, load_page));
    if (page.empty()) return Loaded{.revision = theirs.revision, .origin = theirs.origin};
    after = page.back().key;
    HANSA_CHECK(replica_->load(page));
    note([&page](StoreHealth& health) { health.loaded_keys += page.size(); });
  }
}

}  // namespace hansa::meta::etcd
