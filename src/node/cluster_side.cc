#include "node/cluster_side.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace hansa::node {

Result<std::unique_ptr<ClusterSide>> ClusterSide::open(Parts parts) {
  std::unique_ptr<ClusterSide> side(new ClusterSide(parts));
  HANSA_TRY(side->members_, cluster::Members::open(parts.store, parts.catalog, io::NodeId(parts.identity.node)));
  cluster::MemberDriver::Load load = [raw = side.get()] { return raw->load(); };
  cluster::MemberDriver::Lead lead = [raw = side.get()] { return raw->layout_task_.hold(); };
  side->driver_ = std::make_unique<cluster::MemberDriver>(parts.store, parts.catalog, parts.ports.log,
                                                          parts.identity.node, std::move(load), std::move(lead));
  return side;
}

io::Task<Result<void>> ClusterSide::take_part(catalog::NodeRecord record) {
  boot_ = record.boot;
  co_return co_await driver_->start(std::move(record));
}

void ClusterSide::join_blobs(blob::BlobStore& blobs, io::TaskScope& scope) {
  cluster::CopiesOptions options;
  options.fill_rate = p_.options.cluster->fill_rate;
  copies_ = std::make_unique<cluster::Copies>(cluster::Copies::Ports{.peers = *p_.ports.peers,
                                                                     .members = *members_,
                                                                     .blobs = blobs,
                                                                     .catalog = p_.catalog,
                                                                     .clock = p_.ports.clock,
                                                                     .random = p_.ports.random,
                                                                     .log = p_.ports.log},
                                              options);
  copies_->run(scope);
  pulses_ = std::make_unique<cluster::Pulses>(*p_.ports.peers, *members_, p_.ports.clock);
  relays_ = std::make_unique<cluster::Relays>(cluster::Relays::Ports{.peers = *p_.ports.peers,
                                                                     .copies = *copies_,
                                                                     .pulses = *pulses_,
                                                                     .blobs = blobs,
                                                                     .clock = p_.ports.clock,
                                                                     .random = p_.ports.random,
                                                                     .log = p_.ports.log});
  sources_ = std::make_unique<cluster::Sources>(*members_, *pulses_, p_.ports.clock, p_.options.cluster->route);
  exchange_ = std::make_unique<ViewExchange>(p_.ports.disk, p_.ports.random, p_.ports.log, *p_.ports.peers, *members_,
                                             p_.store, p_.options.root);
  cluster::Holder::Ports ports{
      .store = p_.store,
      .catalog = p_.catalog,
      .blobs = blobs,
      .clock = p_.ports.clock,
      .log = p_.ports.log,
      .node = p_.identity.node,
      .disk = p_.identity.disk,
      .boot = boot_,
      .fetch = [copies = copies_.get()](oci::Digest digest) { return copies->fill(std::move(digest)); },
      .number_mark = p_.number_mark,
      .fills = p_.options.cluster->fills,
      .believed = p_.files_believed};
  holder_ = std::make_unique<cluster::Holder>(std::move(ports));
  if (p_.ports.traffic == nullptr) return;
  traffic_ = std::make_unique<TrafficWatch>(p_.ports.clock, *p_.ports.traffic,
                                            TrafficWatch::Self{.id = p_.identity.node, .boot = boot_},
                                            [this] { return others(); });
}

registry::ClusterParts ClusterSide::parts_of_registry() {
  return {.copies = *copies_,
          .relays = *relays_,
          .peers = *p_.ports.peers,
          .members = *members_,
          .pulses = *pulses_,
          .sources = *sources_,
          .node = p_.identity.node};
}

void ClusterSide::serve(registry::RegistryService& registry) {
  registry_ = &registry;
  if (p_.ports.directory != nullptr) {
    p_.ports.directory->set([this](const io::NodeId& id) { return address_of(id); });
  }
  auto dispatch = std::make_shared<cluster::PeerDispatch>();
  copies_->serve(*dispatch);
  relays_->serve(*dispatch);
  pulses_->serve(*dispatch, boot_);
  exchange_->serve(*dispatch);
  registry.serve(*dispatch);
  p_.ports.peers->serve([dispatch](io::NodeId from, io::PeerRequest request) {
    return dispatch->handle(std::move(from), std::move(request));
  });
}

std::optional<std::string> ClusterSide::address_of(const io::NodeId& id) const {
  for (const auto& member : members_->members()) {
    if (member.id == id && !member.record.addresses.peer.empty()) return member.record.addresses.peer;
  }
  return std::nullopt;
}

void ClusterSide::run(io::TaskScope& scope) {
  driver_->run(scope);
  holder_->run(scope);
  pulses_->run(scope);
  if (traffic_) traffic_->run(scope);
  scope.spawn("expire relays", relays_->expire_loop());
  scope.spawn("compare views", exchange_->compare_loop());
}

void ClusterSide::end() {
  if (registry_ != nullptr) {
    p_.ports.peers->serve([](io::NodeId, io::PeerRequest) -> io::Task<Result<io::PeerResponse>> {
      co_return make_error(ErrorCode::unavailable, "this member is stopping");
    });
  }
  if (p_.ports.directory != nullptr) p_.ports.directory->set(nullptr);
  driver_->end();
}

catalog::AliveRecord ClusterSide::load() {
  catalog::AliveRecord record;
  if (registry_ != nullptr) record.uploads = registry_->open_uploads();
  if (const auto space = p_.ports.disk.space(p_.options.root)) {
    record.disk_total = space->total;
    record.disk_available = space->available;
  }
  record.applied = p_.store.health().applied;
  const auto repair = this->repair();
  record.missing = repair.owed + repair.but;
  record.missing_bytes = repair.bytes;
  record.filled_bytes = repair.filled_bytes;
  record.seconds_left = repair.left ? std::optional<std::uint64_t>(repair.left->count()) : std::nullopt;
  if (p_.ports.traffic != nullptr) {
    record.sent = p_.ports.traffic->sent();
    record.received = p_.ports.traffic->received();
  }
  member_count_ = std::max<std::size_t>(members_->members().size(), 1);
  return record;
}

// Without the metadata store nobody's sign of life arrives, and what is there says nothing of now.
std::vector<cluster::History::Said> ClusterSide::others() const {
  std::vector<cluster::History::Said> out;
  if (!p_.store.health().reachable) return out;
  for (const auto& member : members_->members()) {
    if (!member.alive || member.id.value() == p_.identity.node) continue;
    out.push_back({.id = member.id.value(),
                   .boot = member.record.boot,
                   .sent = member.load.sent,
                   .received = member.load.received});
  }
  return out;
}

ClusterSide::MemberCount ClusterSide::count_members() const {
  const auto members = members_->members();
  const auto alive = std::ranges::count_if(members, [](const auto& member) { return member.alive; });
  return {.all = members.size(), .alive = static_cast<std::size_t>(alive)};
}

// ---- for the operator -------------------------------------------------------------------------------------------

Result<cluster::StatusInput> ClusterSide::picture() {
  const auto health = p_.store.health();
  HANSA_TRY(auto view, p_.catalog.snapshot());
  HANSA_TRY(auto input, cluster::status_input(view, p_.options.cluster->cluster, p_.identity.node));
  if (p_.options.cluster->voters) {
    auto word = p_.options.cluster->voters();
    input.voters = std::move(word.json);
    input.needed_voters = std::move(word.needed);
    input.also_degraded = std::move(word.degraded);
  }
  if (!health.reachable) input.also_degraded.emplace_back("this member does not reach the metadata store");
  if (!health.alarm.empty()) input.also_degraded.push_back("the metadata store's alarm stands: " + health.alarm);
  if (health.out_of_space) input.also_degraded.emplace_back("the metadata store is nearly full: pushes are refused");
  const auto holder = holder_->progress();
  const nlohmann::json metadata = {
      {"reachable", health.reachable}, {"version", health.version},   {"applied", health.applied},
      {"target", health.target},       {"loading", health.loading},   {"loaded_keys", health.loaded_keys},
      {"alarm", health.alarm},         {"db_size", health.db_size},   {"out_of_space", health.out_of_space},
      {"blobs_owed", holder.owed},     {"blobs_left_out", holder.but}};
  input.metadata = metadata.dump();
  if (traffic_) input.history = traffic_->show();
  for (auto& member : input.members) {
    if (!traffic_ || member.state.id.value() != p_.identity.node) continue;
    member.state.load.sent = p_.ports.traffic->sent();
    member.state.load.received = p_.ports.traffic->received();
  }
  return input;
}

io::Task<Result<std::string>> ClusterSide::status() {
  HANSA_CO_TRY(const auto input, picture());
  co_return cluster::status_json(input);
}

io::Task<Result<std::string>> ClusterSide::may_stop(std::string id) {
  if (id.empty()) id = p_.identity.node;
  HANSA_CO_CHECK(co_await p_.catalog.barrier());
  HANSA_CO_TRY(const auto input, picture());
  const auto answer = cluster::may_stop(id, input);
  const nlohmann::json out = {{"id", id}, {"may_stop", answer.may}, {"reason", answer.reason}};
  // The id is what an operator typed, in whatever encoding.
  co_return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

io::Task<Result<std::string>> ClusterSide::drain(std::string id) {
  catalog::Planner plan = [id](const catalog::Planning& planning) { return plan_drain(planning, id); };
  HANSA_CO_CHECK(co_await p_.catalog.submit(std::move(plan)));
  co_return "the member " + id + " drains: it takes no new content, and is gone once the others hold what it holds";
}

io::Task<Result<std::string>> ClusterSide::forget(std::string id) {
  catalog::Planner plan = [id](const catalog::Planning& planning) { return plan_forget(planning, id); };
  HANSA_CO_CHECK(co_await p_.catalog.submit(std::move(plan)));
  co_return "the member " + id + " is forgotten; should it come back, it takes part anew";
}

io::Task<Result<std::string>> ClusterSide::operation(std::string verb, std::string id) {
  if (verb == "clear-alarm") {
    p_.store.clear_alarm();
    co_return std::string("the alarm is cleared on this node");
  }
  if (verb == "may-stop") co_return co_await may_stop(std::move(id));
  if (verb != "drain" && verb != "forget") {
    co_return make_error(ErrorCode::unsupported, Subject::request, "there is no operation \"" + verb + "\"");
  }
  if (id.empty()) co_return make_error(ErrorCode::invalid, Subject::request, "name the member: " + verb + " ID");
  if (verb == "drain") co_return co_await drain(std::move(id));
  co_return co_await forget(std::move(id));
}

}  // namespace hansa::node
