#include "node/node.h"

#include <algorithm>
#include <atomic>

#include "blob/disk/disk_store.h"
#include "catalog/catalog.h"
#include "cluster/status.h"
#include "io/scope.h"
#include "io/wait.h"
#include "meta/sqlite/store.h"
#include "node/cluster_side.h"
#include "node/identity_file.h"
#include "node/reserve.h"
#include "node/traffic_watch.h"
#include "node/view_exchange.h"
#include "node/view_fetch.h"
#include "registry/service.h"
#include "upkeep/counters.h"
#include "upkeep/upkeep.h"

namespace hansa::node {
namespace {

constexpr std::string_view software_version = "0.1.0";
constexpr io::Duration alive_ttl = std::chrono::seconds(2);

class RealNode final : public Node {
 public:
  RealNode(Ports ports, Options options)
      : ports_(ports),
        options_(std::move(options)),
        identity_file_(ports.disk, options_.root),
        scope_(ports.executor) {}

  io::Task<Result<void>> open();
  void stand_aside() override {
    if (side_) side_->stand_aside();
  }
  io::Task<void> stop() override;
  registry::Registry& registry() override { return *registry_; }
  Status status() override;
  io::Task<Result<blob::ScrubReport>> scrub(std::function<void(const blob::ScrubReport&)> progress,
                                            std::uint64_t rate) override {
    return upkeep_->scrub(std::move(progress), rate);
  }
  io::Task<Result<void>> collect() override { return upkeep_->collect(); }
  io::Task<Result<void>> collect_dry(std::function<void(const std::string&)> tell) override {
    return upkeep_->dry_run(std::move(tell));
  }
  io::Task<Result<upkeep::PutBack>> undo_collection(std::optional<oci::RepositoryName> only,
                                                    std::function<void(const std::string&)> tell) override {
    return upkeep_->undo(std::move(only), std::move(tell));
  }
  io::Task<Result<std::string>> cluster_status() override;
  meta::MetadataStore& metadata() override { return store(); }
  catalog::Catalog& catalogue() override { return *catalog_; }
  void set_metadata_endpoints(std::vector<meta::etcd::ChannelSettings> endpoints) override {
    if (shared_) shared_->set_endpoints(std::move(endpoints));
  }
  io::Task<Result<std::string>> cluster_operation(std::string verb, std::string id) override;

 private:
  Result<void> open_root();
  Result<void> open_metadata();
  Result<void> open_shared();
  io::Task<Result<void>> await_metadata();
  meta::MetadataStore& store() { return single_ ? static_cast<meta::MetadataStore&>(*single_) : *shared_; }
  Result<void> recognise();
  io::Task<Result<void>> store_identity(std::int64_t measured_ms);
  io::Task<Result<std::uint64_t>> number_mark();
  io::Task<void> check_files();
  io::Task<void> reserve_loop();
  io::Task<Result<void>> take_part();
  io::Task<Result<void>> submit_start();
  Result<void> open_blobs();
  void start_upkeep();
  catalog::NodeRecord self() const;
  upkeep::Options upkeep_options() const;

  Ports ports_;
  Options options_;
  // In the order of their making; destroyed in the reverse one.
  std::unique_ptr<io::DirectoryLock> lock_;
  Identity identity_;
  IdentityFile identity_file_;
  bool has_identity_ = false;  // read from the disk, not made now
  catalog::View view_;
  std::unique_ptr<meta::sqlite::Store> single_;  // of a single node
  std::unique_ptr<ViewFetch> view_fetch_;        // of a member of a cluster
  std::unique_ptr<meta::etcd::Store> shared_;    // of a member of a cluster
  std::unique_ptr<catalog::Catalog> catalog_;
  std::unique_ptr<meta::Lease> alive_;  // of a single node
  std::unique_ptr<ClusterSide> side_;   // of a member of a cluster
  std::atomic<std::uint64_t> corrupt_ = 0;
  std::unique_ptr<blob::disk::DiskBlobStore> blobs_;
  std::unique_ptr<upkeep::Counters> counters_;
  std::unique_ptr<registry::RegistryService> registry_;
  std::unique_ptr<upkeep::Upkeep> upkeep_;
  std::unique_ptr<TrafficWatch> traffic_;  // of a single node; null: nobody counts
  io::TaskScope scope_;
  std::atomic<bool> ready_ = false;
  std::atomic<bool> check_files_ = false;  // a disk that the catalogue did not know: its files are to be hashed
};

Result<void> RealNode::open_root() {
  HANSA_CHECK(ports_.disk.make_directories(options_.root));
  HANSA_TRY(lock_, ports_.disk.lock(options_.root));
  HANSA_TRY(auto known, read_identity(ports_.disk, options_.root));
  has_identity_ = known.has_value();
  identity_ = known ? std::move(*known) : make_identity(ports_.random);
  return {};
}

Result<void> RealNode::open_metadata() {
  if (options_.cluster) return open_shared();
  meta::sqlite::StoreOptions options;
  options.database.path = options_.root + "/hansa.db";
  options.own_thread = options_.own_metadata_thread;
  options.history_bytes = options_.history_bytes;
  HANSA_TRY(single_, meta::sqlite::Store::open(ports_.disk, ports_.clock, ports_.log, std::move(options), {&view_}));
  HANSA_TRY(catalog_, catalog::Catalog::open(*single_, view_, ports_.clock, ports_.random, ports_.log));
  return {};
}

// The view is open after it; follow() of the catalogue begins once the store is ready.
Result<void> RealNode::open_shared() {
  const ClusterOptions& cluster = *options_.cluster;
  ViewExchange::remove_leftovers(ports_.disk, options_.root);
  HANSA_ASSERT(ports_.peers != nullptr && ports_.channels, "a member of a cluster has peers and a way to etcd");
  meta::etcd::StoreOptions options;
  options.endpoints = cluster.endpoints;
  options.prefix = cluster.prefix;
  options.quota_bytes = cluster.quota;
  options.view.path = options_.root + "/view.db";
  options.own_thread = options_.own_metadata_thread;
  options.history_bytes = options_.history_bytes;
  options.members = [this] { return side_ ? side_->member_count() : 1; };
  view_fetch_ = std::make_unique<ViewFetch>(ports_.disk, ports_.log, *ports_.peers, ports_.directory, identity_.node,
                                            options_.root);
  options.peer_view = [fetch = view_fetch_.get()](std::unique_ptr<meta::sqlite::ReadTransaction> stale) {
    return fetch->fetch(std::move(stale));
  };
  HANSA_TRY(shared_, meta::etcd::Store::open(ports_.disk, ports_.clock, ports_.random, ports_.log, ports_.executor,
                                             ports_.channels, std::move(options), {&view_}));
  return {};
}

io::Task<Result<void>> RealNode::await_metadata() {
  if (!shared_) co_return Result<void>{};
  HANSA_CO_CHECK(co_await shared_->ready());
  catalog::Catalog::Read read = [store = shared_.get()] { return store->read(); };
  HANSA_CO_TRY(catalog_,
               catalog::Catalog::open(*shared_, std::move(read), view_, ports_.clock, ports_.random, ports_.log));
  co_return Result<void>{};
}

catalog::NodeRecord RealNode::self() const {
  catalog::NodeRecord record;
  record.disk = identity_.disk;
  record.boot = identity_.next;
  record.version = software_version;
  if (options_.cluster) {
    record.addresses = {.client = options_.cluster->url, .peer = options_.cluster->peer};
    record.settings = options_.cluster->rules;
  }
  return record;
}

upkeep::Options RealNode::upkeep_options() const {
  upkeep::Options options;
  options.collect = options_.gc;
  options.grace = options_.gc_delay;
  options.interval = options_.gc_interval;
  options.untagged_grace = options_.untagged_grace;
  options.retention = options_.retention;
  options.scrub_interval = options_.scrub_interval;
  // Other members advance the clock while this one is away.
  if (!options_.cluster) options.measured = std::chrono::milliseconds(identity_.measured_ms);
  return options;
}

// Whether folder and catalogue belong together; sets identity_ to what this start registers.
Result<void> RealNode::recognise() {
  HANSA_TRY(auto view, catalog_->snapshot());
  HANSA_TRY(const auto layout, view.layout());
  if (!layout && !identity_.boot.empty() && shared_) {
    return make_error(ErrorCode::corrupt, Subject::file,
                      "the metadata store below " + options_.cluster->prefix +
                          " is empty, but disk.json says that this folder was in use. Restore the metadata "
                          "(hansa cluster restore), or name the right endpoints and prefix; or move the folder away");
  }
  if (!layout && !identity_.boot.empty()) {
    // Founding anew would leave every blob without a name, and collection would remove them all.
    return make_error(ErrorCode::corrupt, Subject::file,
                      options_.root +
                          "/hansa.db is missing or empty, but disk.json says that this folder was in use. "
                          "Restore hansa.db from a backup; or, to begin with an empty registry, move the folder away");
  }
  if (layout && !has_identity_ && !shared_) {
    if (layout->record.members.size() != 1) {
      return make_error(ErrorCode::corrupt, Subject::file,
                        options_.root + "/disk.json is missing, and it alone says which member this is; restore it");
    }
    identity_.node = layout->record.members.front();
  }
  HANSA_TRY(const auto before, view.node(identity_.node));
  HANSA_TRY(const auto mark, view.holds(identity_.node));
  if (before && !is_same_disk(identity_, before->record, mark ? &mark->record : nullptr)) {
    ports_.log.warn("this folder is not the one that ran last (restored or copied?); its bytes will be checked",
                    {{"root", options_.root}});
    identity_.disk = ports_.random.hex(16);
    identity_.unchecked = true;
  }
  check_files_ = identity_.unchecked;
  if (before && before->record.disk == identity_.disk) identity_.boot = before->record.boot;
  identity_.next = ports_.random.hex(16);
  return {};
}

io::Task<Result<void>> RealNode::store_identity(std::int64_t measured_ms) {
  Identity stored = identity_;
  stored.measured_ms = measured_ms;
  co_return co_await identity_file_.write(std::move(stored));
}

// What this disk tells the cluster of itself it knows first, so that a copy of before is known by knowing less.
io::Task<Result<std::uint64_t>> RealNode::number_mark() {
  ++identity_.marks;
  HANSA_CO_CHECK(co_await store_identity(0));
  co_return identity_.marks;
}

// Founds the catalogue at the first start; registers this start of this disk (H4). Only then are receipts given.
io::Task<Result<void>> RealNode::take_part() {
  HANSA_CO_CHECK(recognise());
  // What was measured is used once: a crash must not count it again.
  HANSA_CO_CHECK(co_await store_identity(0));
  HANSA_CO_CHECK(co_await submit_start());
  identity_.boot = identity_.next;
  {
    HANSA_CO_TRY(auto view, catalog_->snapshot());
    HANSA_CO_TRY(const auto registered, view.node(identity_.node));
    if (registered) identity_.at = registered->mod;
  }
  co_return co_await store_identity(0);
}

io::Task<Result<void>> RealNode::submit_start() {
  const io::Duration length = upkeep::tick_length(upkeep_options());
  catalog::Planner found = [id = identity_.node, record = self(), length](const catalog::Planning& planning) {
    return plan_first_start(planning, id, record, length);
  };
  auto founded = co_await catalog_->submit(std::move(found));
  if (!founded && founded.error().code != ErrorCode::exists) co_return founded.error();
  if (shared_) {
    HANSA_CO_TRY(side_, ClusterSide::open({.ports = ports_,
                                           .options = options_,
                                           .store = *shared_,
                                           .catalog = *catalog_,
                                           .identity = identity_,
                                           .number_mark = [this] { return number_mark(); },
                                           .files_believed = [this] { return !check_files_; }}));
    co_return co_await side_->take_part(self());
  }
  HANSA_CO_TRY(alive_, co_await store().lease(alive_ttl));
  catalog::Planner start = [id = identity_.node, record = self(),
                            lease = alive_->id()](const catalog::Planning& planning) {
    return plan_node_start(planning, id, record, lease);
  };
  auto started = co_await catalog_->submit(std::move(start));
  if (!started) co_return started.error();
  co_return Result<void>{};
}

Result<void> RealNode::open_blobs() {
  blob::disk::DiskStoreOptions options;
  options.root = options_.root;
  options.node = identity_.node;
  options.disk = identity_.disk;
  options.verify_every = options_.verify_every;
  options.unchecked = check_files_;
  options.current_tick = [catalog = catalog_.get()] { return catalog->newest_tick(); };
  constexpr std::size_t quarantined_in_a_cluster = 100;  // the bytes themselves come from another member
  if (side_) options.max_quarantined = quarantined_in_a_cluster;
  options.on_corrupt = [this](const oci::Digest& digest) {
    ++corrupt_;
    if (side_) side_->note_lost(digest);
  };
  HANSA_TRY(blobs_,
            blob::disk::DiskBlobStore::open(ports_.disk, ports_.clock, ports_.random, ports_.log, std::move(options)));
  counters_ = std::make_unique<upkeep::Counters>(upkeep::Counters::Ports{.store = store(),
                                                                         .catalog = *catalog_,
                                                                         .clock = ports_.clock,
                                                                         .log = ports_.log,
                                                                         .node = identity_.node,
                                                                         .boot = identity_.boot});
  registry::RegistryOptions registry_options;
  registry_options.pulls = counters_.get();
  registry_options.secret = options_.cluster ? options_.cluster->secret : identity_.secret;
  registry_options.max_uploads = options_.max_uploads;
  registry_options.max_uploads_per_client = options_.max_uploads_per_client;
  registry_options.max_upload_bytes = options_.max_upload_bytes;
  registry_options.max_upload_bytes_per_client = options_.max_upload_bytes_per_client;
  registry_options.manifest_cache = options_.manifest_cache;
  std::optional<registry::ClusterParts> cluster;
  if (side_) {
    side_->join_blobs(*blobs_, scope_);
    registry_options.max_staleness = options_.cluster->max_staleness;
    cluster.emplace(side_->parts_of_registry());
  }
  registry_ = registry::make_registry(*catalog_, *blobs_, ports_.random, ports_.log, std::move(registry_options),
                                      std::move(cluster));
  if (side_) side_->serve(*registry_);
  return {};
}

void RealNode::start_upkeep() {
  upkeep::Ports ports{
      .store = store(),
      .catalog = *catalog_,
      .blobs = *blobs_,
      .maintenance = *blobs_,
      .clock = ports_.clock,
      .log = ports_.log,
      .expire_uploads = [registry = registry_.get()] { return registry->expire_uploads(); },
      .may_sweep = [store = shared_.get()] { return store == nullptr || store->health().alarm.empty(); }};
  if (side_) {
    ports.open_body = [side = side_.get()](oci::Digest digest) {
      return side->parts_of_registry().copies.obtain(std::move(digest));
    };
  }
  upkeep_ = std::make_unique<upkeep::Upkeep>(std::move(ports), upkeep_options());
  upkeep_->run(scope_);
  counters_->run(scope_);
  if (side_) side_->run(scope_);
  if (side_ || ports_.traffic == nullptr) return;
  traffic_ = std::make_unique<TrafficWatch>(ports_.clock, *ports_.traffic,
                                            TrafficWatch::Self{.id = identity_.node, .boot = identity_.boot}, nullptr);
  traffic_->run(scope_);
}

// Until it is done this node claims no blob of the disk, and a restart begins it anew.
io::Task<void> RealNode::check_files() {
  constexpr std::uint64_t rate = 200 * MiB;
  constexpr io::Duration pause = std::chrono::seconds(10);
  while (check_files_) {
    auto report = co_await upkeep_->scrub(nullptr, rate);
    if (report) {
      ports_.log.info(
          "checked the bytes of this folder",
          {{"blobs", report->checked}, {"corrupt", report->corrupt.size()}, {"unreadable", report->unreadable.size()}});
      identity_.unchecked = false;
      blobs_->believe_all();
      check_files_ = false;
      auto stored = co_await store_identity(0);
      if (!stored) ports_.log.warn("disk.json could not be written", {{"error", stored.error().message}});
      co_return;
    }
    if (report.error().code == ErrorCode::cancelled) co_return;
    ports_.log.warn("the bytes of this folder were not all checked; this is tried again",
                    {{"error", report.error().message}});
    auto slept = co_await io::sleep_for(pause);
    if (!slept) co_return;
  }
}

io::Task<void> RealNode::reserve_loop() {
  constexpr io::Duration look_again = std::chrono::seconds(10);
  while (true) {
    auto keep = [this] { return keep_reserve(ports_.disk, options_.root, options_.reserve); };
    const auto kept = co_await io::blocking(io::Pool::upkeep, std::move(keep));
    if (!kept) ports_.log.warn("no space can be kept for a start", {{"error", kept.error().message}});
    auto slept = co_await io::sleep_for(look_again);
    if (!slept) co_return;
  }
}

io::Task<Result<void>> RealNode::open() {
  auto open_files = [this]() -> Result<void> {
    use_reserve(ports_.disk, ports_.log, options_.root, options_.reserve);
    HANSA_CHECK(open_root());
    return open_metadata();
  };
  HANSA_CO_CHECK(co_await io::blocking(io::Pool::metadata, std::move(open_files)));
  HANSA_CO_CHECK(co_await await_metadata());
  HANSA_CO_CHECK(co_await take_part());
  auto open_stores = [this] { return open_blobs(); };
  HANSA_CO_CHECK(co_await io::blocking(io::Pool::metadata, std::move(open_stores)));
  start_upkeep();
  if (check_files_) scope_.spawn("check", check_files());
  if (options_.reserve > 0) scope_.spawn("reserve", reserve_loop());
  ready_ = true;
  co_return Result<void>{};
}

io::Task<void> RealNode::stop() {
  ready_ = false;
  if (side_) side_->end();
  co_await scope_.close();
  if (counters_) {
    auto put = co_await io::with_deadline(upkeep::last_flush_limit, counters_->flush());
    if (!put) ports_.log.info("the last counted pulls are lost", {{"error", put.error().message}});
  }
  if (upkeep_) {
    const auto measured = std::chrono::duration_cast<std::chrono::milliseconds>(upkeep_->measured());
    auto written = co_await store_identity(measured.count());
    if (!written) ports_.log.warn("disk.json could not be written", {{"error", written.error().message}});
  }
  auto close = [this] {
    // Leaderships and the sign of life end with their leases, so before the store.
    upkeep_.reset();
    alive_.reset();
    registry_.reset();
    counters_.reset();
    side_.reset();
    blobs_.reset();
    catalog_.reset();
    if (single_) single_->close();
    single_.reset();
  };
  co_await io::blocking(io::Pool::metadata, std::move(close));
  if (shared_) co_await shared_->close();
  shared_.reset();
  lock_.reset();
}

io::Task<Result<std::string>> RealNode::cluster_status() {
  if (side_) co_return co_await side_->status();
  HANSA_CO_TRY(auto view, catalog_->snapshot());
  HANSA_CO_TRY(auto input, cluster::status_input(view, "", identity_.node));
  // A single node gives no sign of life: what it would say is known here.
  const Status now = status();
  for (auto& member : input.members) {
    member.state.load.uploads = now.uploads;
    member.state.load.disk_total = now.disk_total;
    member.state.load.disk_available = now.disk_available;
    if (ports_.traffic == nullptr) continue;
    member.state.load.sent = ports_.traffic->sent();
    member.state.load.received = ports_.traffic->received();
  }
  if (traffic_) input.history = traffic_->show();
  co_return cluster::status_json(input);
}

io::Task<Result<std::string>> RealNode::cluster_operation(std::string verb, std::string id) {
  if (side_) co_return co_await side_->operation(std::move(verb), std::move(id));
  co_return make_error(ErrorCode::unsupported, Subject::request,
                       "this node is in no cluster; hansa cluster init makes it the first member of one");
}

Status RealNode::status() {
  Status status;
  status.ready = ready_;
  if (!ready_) return status;
  status.uploads = registry_->open_uploads();
  status.refused_uploads = registry_->refused_uploads();
  status.swept_records = upkeep_->swept_records();
  status.swept_blobs = upkeep_->swept_blobs();
  status.expired_tags = upkeep_->expired_tags();
  status.corrupt_blobs = corrupt_;
  if (shared_) status.metadata = shared_->health();
  if (side_) {
    status.view_differences = side_->view_differences();
    status.redirects = side_->redirects();
    status.repair = side_->repair();
    const auto fetched = side_->fetched();
    status.fetched_blobs = fetched.blobs;
    status.fetched_bytes = fetched.bytes;
    const auto count = side_->count_members();
    status.members = count.all;
    status.members_alive = count.alive;
  }
  if (auto view = catalog_->snapshot()) {
    if (auto totals = view->totals()) {
      status.repositories = totals->repositories;
      status.manifests = totals->manifests;
    }
  }
  if (auto space = ports_.disk.space(options_.root)) {
    status.disk_total = space->total;
    status.disk_available = space->available;
  }
  return status;
}

}  // namespace

io::Task<Result<std::unique_ptr<Node>>> Node::start(Ports ports, Options options) {
  auto node = std::make_unique<RealNode>(ports, std::move(options));
  auto opened = co_await node->open();
  if (!opened) {
    co_await node->stop();
    co_return opened.error();
  }
  co_return std::unique_ptr<Node>(std::move(node));
}

}  // namespace hansa::node
