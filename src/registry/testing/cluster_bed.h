// Several members of a cluster in one world: one catalogue that all share, and for each member its own way to it, its
// own disk of blobs, its own registry, and a wire to the others. For tests only.
//
//   ClusterBed bed(3);                       // n1, n2, n3; W = 2
//   bed["n1"].push_blob("team/app", "text");
//   bed["n2"].pull_blob("team/app", digest("text"));
//   bed["n1"].store.reachable = false;       // it has lost the metadata store
//   bed.stop("n3");                          // its process ends, its disk and its record stay
//
// Every member's view is the one SQLite file, so views never lag here; that is meta/etcd's own matter.
#pragma once

#include "blob/disk/disk_store.h"
#include "catalog/bed_test.h"
#include "catalog/member_plan.h"
#include "cluster/members.h"
#include "node/testing/bed.h"
#include "registry/service.h"
#include "sim/ports/network.h"

namespace hansa::registry::testing {

using node::testing::digest;
using node::testing::fails_with;
using node::testing::image;
using node::testing::name;
using node::testing::ref;

// One member's way to the shared store.
class Gate final : public meta::MetadataStore {
 public:
  explicit Gate(catalog::testing::Bed& shared) : shared_(shared) {}
  bool reachable = true;
  std::uint64_t commits = 0;  // that were tried
  std::uint64_t barriers = 0;

  Result<std::unique_ptr<meta::Snapshot>> snapshot() override { return shared_.store->snapshot(); }
  io::Task<Result<meta::Fence>> barrier() override {
    ++barriers;
    if (!reachable) co_return away();
    co_return co_await shared_.store->barrier();
  }
  io::Task<Result<meta::CommitOutcome>> commit(meta::Commit commit) override {
    ++commits;
    if (!reachable) co_return away();
    co_return co_await shared_.store->commit(std::move(commit));
  }
  Result<std::unique_ptr<meta::Subscription>> follow(meta::Revision from,
                                                     std::function<void(const meta::ChangeSet&)> listener) override {
    return shared_.store->follow(from, std::move(listener));
  }
  io::Task<Result<std::unique_ptr<meta::Lease>>> lease(io::Duration ttl) override { return shared_.store->lease(ttl); }

 private:
  static Error away() { return make_error(ErrorCode::unavailable, "the metadata store cannot be reached"); }
  catalog::testing::Bed& shared_;
};

class Member {
 public:
  Member(catalog::testing::Bed& shared, sim::SimNetwork& network, const std::string& id)
      : executor(shared.world, id),
        clock(shared.world, id),
        disk(shared.world, id),
        random(shared.world.random(id + "/random")),
        store(shared),
        id_(id),
        shared_(shared),
        network_(network) {
    EXPECT_TRUE(disk.make_directories("/data"));
  }
  ~Member() { stop(); }

  void start() {
    catalog = opened(
        catalog::Catalog::open(store, [this] { return shared_.store->read(); }, shared_.view, clock, random, log));
    blob::disk::DiskStoreOptions options;
    options.root = "/data";
    options.node = id_;
    options.disk = "disk-" + id_.substr(1);
    options.verify_every = verify_every;
    options.current_tick = [this] { return catalog->newest_tick(); };
    options.on_corrupt = [this](const oci::Digest& digest) { damaged.push_back(digest); };
    blobs = opened(blob::disk::DiskBlobStore::open(disk, clock, random, log, std::move(options)));
    members = opened(cluster::Members::open(store, *catalog, io::NodeId(id_)));
    peer = std::make_unique<sim::SimPeer>(network_, io::NodeId(id_), executor);
    copies = std::make_unique<cluster::Copies>(cluster::Copies::Ports{.peers = *peer,
                                                                      .members = *members,
                                                                      .blobs = *blobs,
                                                                      .catalog = *catalog,
                                                                      .clock = clock,
                                                                      .random = random,
                                                                      .log = log});
    pulses = std::make_unique<cluster::Pulses>(*peer, *members, clock);
    relays = std::make_unique<cluster::Relays>(cluster::Relays::Ports{.peers = *peer,
                                                                      .copies = *copies,
                                                                      .pulses = *pulses,
                                                                      .blobs = *blobs,
                                                                      .clock = clock,
                                                                      .random = random,
                                                                      .log = log});
    sources = std::make_unique<cluster::Sources>(*members, *pulses, clock, cluster::Route::redirect);
    registry = make_registry(*catalog, *blobs, random, log, {.secret = "the cluster's", .max_uploads = max_uploads},
                             ClusterParts{.copies = *copies,
                                          .relays = *relays,
                                          .peers = *peer,
                                          .members = *members,
                                          .pulses = *pulses,
                                          .sources = *sources,
                                          .node = id_});
    cluster::PeerDispatch dispatch;
    copies->serve(dispatch);
    relays->serve(dispatch);
    pulses->serve(dispatch, "boot");
    scope = std::make_unique<io::TaskScope>(executor);
    copies->run(*scope);
    executor.post([this] { pulses->run(*scope); });
    registry->serve(dispatch);
    peer->serve([this, dispatch](io::NodeId from, io::PeerRequest request) {
      ++asked[request.verb];
      return dispatch.handle(std::move(from), std::move(request));
    });
  }
  void stop() {
    if (!peer) return;
    sim::run(shared_.world, executor, scope->close());
    sim::run(shared_.world, executor, peer->close());
    registry.reset();
    sources.reset();
    relays.reset();
    pulses.reset();
    copies.reset();
    peer.reset();
    members.reset();
    blobs.reset();
    catalog.reset();
  }

  sim::World& world() { return shared_.world; }
  template <class T>
  T run(io::Task<T> task) {
    return sim::run(shared_.world, executor, std::move(task));
  }
  auth::Access as(std::string user) const { return {auth::Identity{.user = std::move(user), .groups = {}}, rights}; }
  auth::Access alice() const { return as("alice"); }

  // ---- what clients do --------------------------------------------------------------------------------------------

  Result<void> push_blob(std::string_view repository, const std::string& content) {
    io::MemorySource source(as_bytes(content));
    return run(registry->push_blob(alice(), name(repository), digest(content), source));
  }
  Result<ManifestPushed> push_manifest(std::string_view repository, std::string_view reference, std::string body) {
    return run(registry->put_manifest(alice(), name(repository), node::testing::Bed::manifest(reference, body)));
  }
  Result<BlobContent> ask_blob(std::string_view repository, const oci::Digest& wanted, BlobPull pull) {
    return run(registry->get_blob(alice(), name(repository), wanted, std::move(pull)));
  }
  // The bytes, or the error as text.
  std::string pull_blob(std::string_view repository, const oci::Digest& wanted) {
    auto got = run(registry->get_blob(alice(), name(repository), wanted));
    return got ? run(read_all(got->reader)) : std::string(to_string(got.error().code));
  }
  std::string pull(std::string_view repository, std::string_view reference) {
    auto got = run(registry->get_manifest(alice(), name(repository), ref(reference)));
    return got ? *got->body : std::string(to_string(got.error().code));
  }
  static io::Task<std::string> read_all(std::shared_ptr<blob::BlobReader> reader) {
    std::string bytes(reader->size(), '\0');
    std::size_t at = 0;
    while (at < bytes.size()) {
      auto got = co_await reader->read(at, Bytes(reinterpret_cast<std::byte*>(bytes.data()), bytes.size()).subspan(at));
      if (!got) co_return std::string(to_string(got.error().code));
      at += *got;
    }
    co_return bytes;
  }
  static std::string path_of(const oci::Digest& wanted) {
    return "/data/blobs/sha256/" + wanted.hex().substr(0, 2) + "/" + wanted.hex();
  }
  bool has_file(const oci::Digest& wanted) { return disk.info(path_of(wanted)).has_value(); }
  std::size_t staged_files() { return run(blobs->list_staged())->size(); }

  sim::SimExecutor executor;
  sim::SimClock clock;
  sim::SimDisk disk;
  sim::SimRandom random;
  NullLogger log;
  Gate store;
  std::shared_ptr<node::testing::Rights> rights = std::make_shared<node::testing::Rights>();
  io::Duration verify_every = std::chrono::hours(24);  // of the next start
  std::vector<oci::Digest> damaged;                    // as found and told
  std::map<std::string, int> asked;                    // by the others, by verb
  std::size_t max_uploads = 1000;                      // from the next start on
  std::unique_ptr<meta::Lease> alive;
  std::unique_ptr<catalog::Catalog> catalog;
  std::unique_ptr<blob::disk::DiskBlobStore> blobs;
  std::unique_ptr<cluster::Members> members;
  std::unique_ptr<sim::SimPeer> peer;
  std::unique_ptr<cluster::Copies> copies;
  std::unique_ptr<cluster::Pulses> pulses;
  std::unique_ptr<cluster::Relays> relays;
  std::unique_ptr<io::TaskScope> scope;
  std::unique_ptr<cluster::Sources> sources;
  std::unique_ptr<RegistryService> registry;

 private:
  template <class T>
  static T opened(Result<T> result) {
    HANSA_ASSERT(result.has_value(), "the bed can be opened");
    return *std::move(result);
  }
  const std::string id_;
  catalog::testing::Bed& shared_;
  sim::SimNetwork& network_;
};

class ClusterBed {
 public:
  explicit ClusterBed(std::size_t count) : network(shared.world) {
    std::vector<std::string> ids;
    for (std::size_t i = 1; i <= count; ++i) {
      const std::string id = ids.emplace_back("n" + std::to_string(i));
      members_.emplace(id, std::make_unique<Member>(shared, network, id));
      register_start(id);
      (*this)[id].start();
    }
    set_layout(ids, std::min<std::uint64_t>(count, catalog::durable_copies));
  }

  void set_layout(std::vector<std::string> ids, std::uint64_t write_copies) {
    catalog::LayoutRecord layout;
    layout.number = 2;
    layout.members = std::move(ids);
    layout.write_copies = write_copies;
    shared.must([layout](const catalog::Planning& p) -> Result<catalog::Plan> {
      meta::Commit commit{p.operation, {}, {{std::string(catalog::keys::layout), encode(layout), 0}}, {}};
      return catalog::Plan{std::move(commit), std::nullopt};
    });
  }
  Member& operator[](const std::string& id) { return *members_.at(id); }
  // The process ends and the lease with it; others see it when `seen`.
  void stop(const std::string& id, bool seen = true) {
    (*this)[id].stop();
    if (!seen) return;
    (*this)[id].alive.reset();
    shared.world.run_until([&] { return shared.now().mod_of(catalog::keys::alive(id)).value() == 0; });
  }
  // Every process ends, the view's tables are dropped and filled anew, and all start again.
  void rebuild_view() {
    for (auto& [id, member] : members_) stop(id, false);
    for (auto& [id, member] : members_) member->alive.reset();
    shared.close();
    shared.open(++view_version_);
    for (auto& [id, member] : members_) {
      register_start(id);
      member->start();
    }
  }
  // The members' marks say that they hold everything that is named, `but` apart.
  void mark(const std::string& id, std::vector<oci::Digest> but = {}) {
    auto view = shared.now();
    catalog::HoldsRecord mark;
    mark.disk = "disk-" + id.substr(1);
    mark.at[view.layout().value()->record.number] = view.revision();
    mark.but = std::move(but);
    shared.must([&](const catalog::Planning& p) { return plan_hold(p, id, "boot-" + id, mark); });
  }
  // The members have heard of each other lately.
  void settle() { shared.world.run_for(cluster::pulse_life); }
  void tick(int times = 1) { shared.tick(times); }
  std::size_t copies_of(const oci::Digest& wanted) {
    std::size_t count = 0;
    for (auto& [id, member] : members_) count += member->has_file(wanted) ? 1 : 0;
    return count;
  }
  // How often a verb was asked, of all members.
  int asked(const std::string& verb) {
    int count = 0;
    for (auto& [id, member] : members_) count += member->asked[verb];
    return count;
  }

  catalog::testing::Bed shared;
  sim::SimNetwork network;

 private:
  void register_start(const std::string& id) {
    catalog::NodeRecord record;
    record.disk = "disk-" + id.substr(1);
    record.boot = "boot-" + id;
    record.addresses.client = "http://" + id + ".example:5000";
    Member& member = (*this)[id];
    auto lease = sim::run(shared.world, shared.executor, shared.store->lease(std::chrono::seconds(2)));
    member.alive = *std::move(lease);
    shared.must([&](const catalog::Planning& p) { return plan_node_start(p, id, record, member.alive->id()); });
  }

  int view_version_ = 1;
  std::map<std::string, std::unique_ptr<Member>> members_;
};

}  // namespace hansa::registry::testing
