#include "cluster/member_driver.h"

#include "io/wait.h"

namespace hansa::cluster {
namespace {

constexpr io::Duration start_again = std::chrono::milliseconds(300);
constexpr std::uint64_t notable_bytes = 64 * MiB;   // of free disk space
constexpr std::uint64_t notable_traffic = 1 * MiB;  // sent and received

std::uint64_t distance(std::uint64_t a, std::uint64_t b) {
  return a > b ? a - b : b - a;
}

// Worth a commit that every member hears of?
bool notable(const catalog::AliveRecord& before, const catalog::AliveRecord& now) {
  return before.requests != now.requests || before.uploads != now.uploads || before.disk_total != now.disk_total ||
         before.missing != now.missing || distance(before.disk_available, now.disk_available) >= notable_bytes ||
         distance(before.sent, now.sent) + distance(before.received, now.received) >= notable_traffic;
}

}  // namespace

MemberDriver::MemberDriver(meta::MetadataStore& store, catalog::Catalog& catalog, Logger& log, std::string id,
                           Load load, Lead lead)
    : store_(store), catalog_(catalog), log_(log), id_(std::move(id)), load_(std::move(load)), lead_(std::move(lead)) {}

io::Task<Result<void>> MemberDriver::start(catalog::NodeRecord record) {
  record_ = std::move(record);
  io::Duration waited{};
  while (true) {
    auto started = co_await try_start();
    const bool may_pass =
        !started && (started.error().code == ErrorCode::conflict || started.error().code == ErrorCode::unavailable);
    if (!may_pass || waited > old_self_patience) co_return started;
    if (waited == io::Duration::zero()) log_.info("waiting to take part", {{"why", started.error().message}});
    HANSA_CO_CHECK(co_await io::sleep_for(start_again));
    waited += start_again;
  }
}

io::Task<Result<void>> MemberDriver::try_start() {
  HANSA_CO_TRY(lease_, co_await store_.lease(alive_ttl));
  catalog::Planner plan = [id = id_, record = record_, lease = lease_->id()](const catalog::Planning& planning) {
    return plan_node_start(planning, id, record, lease);
  };
  auto started = co_await catalog_.submit(std::move(plan));
  if (!started) co_return std::move(started).error();
  co_return Result<void>{};
}

void MemberDriver::run(io::TaskScope& scope) {
  scope.spawn("alive", alive_loop());
  scope.spawn("layout", layout_loop());
}

io::Task<void> MemberDriver::alive_loop() {
  bool owed = true;  // a lease lives, but for all that is known its sign of life is not given
  while (!displaced_) {
    auto said = co_await say_alive(owed || lease_ == nullptr || !lease_->alive());
    owed = !said;
    if (!said && said.error().code == ErrorCode::cancelled) co_return;
    // Another process has this node's place, or it was forgotten or has left.
    if (!said && (said.error().code == ErrorCode::conflict || said.error().code == ErrorCode::not_found)) {
      displaced_ = true;
      log_.error("this node takes no part any more", {{"error", said.error().message}});
      co_return;
    }
    if (!said) log_.debug("no sign of life could be given", {{"error", said.error().message}});
    auto slept = co_await io::sleep_for(alive_interval);
    if (!slept) co_return;
  }
}

io::Task<Result<void>> MemberDriver::say_alive(bool again) {
  catalog::AliveRecord load = load_();
  load.boot = record_.boot;
  if (!again && !notable(said_, load)) co_return Result<void>{};
  if (lease_ == nullptr || !lease_->alive()) {
    HANSA_CO_TRY(lease_, co_await store_.lease(alive_ttl));
  }
  catalog::Planner plan = [this, load, lease = lease_->id()](const catalog::Planning& planning) {
    return plan_alive(planning, id_, load, lease);
  };
  auto done = co_await catalog_.submit(std::move(plan));
  if (!done) co_return std::move(done).error();
  said_ = load;
  co_return Result<void>{};
}

io::Task<void> MemberDriver::layout_loop() {
  while (!displaced_) {
    auto slept = co_await io::sleep_for(layout_interval);
    if (!slept) co_return;
    auto changed = co_await change_layout();
    if (changed) continue;
    if (changed.error().code == ErrorCode::cancelled) co_return;
    log_.debug("the layout could not be changed", {{"error", changed.error().message}});
  }
}

Result<MemberDriver::Duty> MemberDriver::duty() {
  HANSA_TRY(auto view, catalog_.snapshot());
  const catalog::Planning planning{view, "look", {}};
  Duty duty;
  HANSA_TRY(const auto plan, plan_layout_change(planning, {}));
  duty.layout = plan.commit.has_value();
  HANSA_TRY(const auto nodes, view.nodes());
  for (const catalog::Member& node : nodes) {
    if (node.record.state != "draining") continue;
    const auto leave = plan_leave(planning, node.id, {});  // a refusal says what it waits for
    if (leave) duty.leaving.push_back(node.id);
    if (!leave && leave.error().code != ErrorCode::conflict) return leave.error();
  }
  return duty;
}

io::Task<Result<void>> MemberDriver::change_layout() {
  // Cheap and nearly always the end of it.
  HANSA_CO_TRY(const Duty due, duty());
  if (!due.layout && due.leaving.empty()) co_return Result<void>{};
  HANSA_CO_TRY(const auto leader, co_await lead_());
  if (!leader) co_return Result<void>{};
  for (const std::string& id : due.leaving) {
    catalog::Planner leave = [id, leader](const catalog::Planning& planning) {
      return plan_leave(planning, id, *leader);
    };
    auto left = co_await catalog_.submit(std::move(leave));
    if (!left && left.error().code != ErrorCode::conflict) co_return std::move(left).error();
    if (left) log_.info("a member has left", {{"node", id}});
  }
  catalog::Planner plan = [leader](const catalog::Planning& planning) { return plan_layout_change(planning, *leader); };
  HANSA_CO_TRY(const auto done, co_await catalog_.submit(std::move(plan)));
  if (done.changed) log_.info("the layout of the cluster changed", {{"revision", done.revision}});
  co_return Result<void>{};
}

}  // namespace hansa::cluster
