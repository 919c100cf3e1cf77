// What goes wrong while clients work, and its end.
#include "sim/cluster_push_pull.h"

namespace hansa::sim {
namespace {

constexpr std::uint64_t longest_pause_ms = 6000;  // of a member
constexpr std::uint64_t longest_hours = 50'000;   // that somebody sets a wall clock by
constexpr std::uint64_t most_drift = 200'000;     // parts in a million
constexpr io::Duration patience = std::chrono::minutes(3);
constexpr std::uint64_t most_calls = 300;      // of a disk until one fails
constexpr std::uint64_t slowest_call_ms = 60;  // of a slow disk

}  // namespace

void ClusterPushPull::disturb() {
  check_marks(false);
  if (random_.one_in(3)) cluster_.heal();
  if (options_.crashes) disturb_members();
  disturb_machines();
  if (options_.disk_faults) disturb_disks();
  if (options_.cuts) disturb_wires();
  if (options_.warts) disturb_etcd();
}

void ClusterPushPull::disturb_members() {
  for (std::size_t i = 0; i < cluster_.size(); ++i) {
    if (cluster_.running(i) || is_away(i) || !of_members_.one_in(2)) continue;
    let_rot(i);
    cluster_.start(i);
  }
  const std::size_t chosen = of_members_.below(cluster_.size());
  if (of_members_.one_in(6)) {
    cluster_.executor(chosen).pause(std::chrono::milliseconds(of_members_.below(longest_pause_ms)));
  }
  if (of_members_.one_in(8)) {
    const auto hours =
        static_cast<std::int64_t>(of_members_.below(2 * longest_hours)) - static_cast<std::int64_t>(longest_hours);
    cluster_.clock(chosen).jump_wall(std::chrono::hours(hours));
  }
  if (of_members_.one_in(8)) {
    const auto drift =
        static_cast<std::int64_t>(of_members_.below(2 * most_drift)) - static_cast<std::int64_t>(most_drift);
    cluster_.clock(chosen).set_drift(drift);
  }
  const std::size_t ends = of_members_.below(cluster_.size());
  if (!cluster_.running(ends) || !of_members_.one_in(5)) return;
  ++crashes_;
  switch (of_members_.below(4)) {
    case 0: cluster_.stop(ends); break;
    case 1: cluster_.kill(ends, Loss::nothing); break;
    default: cluster_.kill(ends, Loss::unsynced); break;
  }
}

// One call fails, or the disk is full, or slow, until the next disturbance.
void ClusterPushPull::disturb_disks() {
  for (std::size_t i = 0; i < cluster_.size(); ++i) mend_disk(i);
  const std::size_t chosen = of_disks_.below(cluster_.size());
  auto& disk = cluster_.disk(chosen);
  if (of_disks_.one_in(6)) {
    disk.fail({.call = of_disks_.one_in(2) ? Call::any : Call::sync, .nth = of_disks_.between(1, most_calls)});
  }
  if (of_disks_.one_in(10)) disk.fail({.call = Call::write, .code = ErrorCode::out_of_space, .for_ever = true});
  if (of_disks_.one_in(8))
    disk.set_delay(io::Duration::zero(), std::chrono::milliseconds(of_disks_.below(slowest_call_ms)));
}

void ClusterPushPull::mend_disk(std::size_t member) {
  cluster_.disk(member).clear_faults();
  cluster_.disk(member).set_delay(io::Duration::zero(), io::Duration::zero());
}

void ClusterPushPull::disturb_wires() {
  const std::size_t one = of_wires_.below(cluster_.size());
  const std::size_t other = of_wires_.below(cluster_.size());
  switch (of_wires_.below(12)) {
    case 0:
    case 1:
      if (one != other) cluster_.cut(one, other);
      break;
    case 2:
      for (std::size_t i = 0; i < cluster_.size(); ++i) {
        if (i != one) cluster_.cut(one, i);
      }
      if (of_wires_.one_in(2)) cluster_.cut_from_etcd(one);
      break;
    case 3: cluster_.cut_from_etcd(one); break;
    case 5:
    case 6:
      if (one != other) cluster_.lose(one, other);
      break;
    case 4: cluster_.cut_from_etcd(one, of_wires_.below(SimCluster::endpoints)); break;
    default: break;
  }
  cluster_.network().set({.drop_per_mille = of_wires_.one_in(3) ? of_wires_.below(60) : 0});
}

void ClusterPushPull::disturb_etcd() {
  auto& etcd = cluster_.etcd();
  if (of_etcd_.one_in(3)) etcd.set_warts(draw_warts(of_etcd_));
  switch (of_etcd_.below(20)) {
    case 0: etcd.set_available(false); break;
    case 1:
    case 2: etcd.pause(SimCluster::endpoint(of_etcd_.below(SimCluster::endpoints))); break;
    case 3: etcd.set_away({SimCluster::endpoint(of_etcd_.below(SimCluster::endpoints))}); break;
    case 4: etcd.compact(etcd.state().revision - of_etcd_.below(etcd.state().revision / 4 + 1)); break;
    case 5: etcd.break_watches(); break;
    case 6: etcd.repeat_all(); break;
    case 7: etcd.put_foreign("elsewhere/key", "not ours"); break;
    case 8: etcd.no_space = true; break;
    default: break;
  }
  if (of_etcd_.one_in(2)) etcd.no_space = false;
}

// Everything works again.
void ClusterPushPull::mend() {
  auto& etcd = cluster_.etcd();
  etcd.set_warts({});
  etcd.no_space = false;
  cluster_.network().set({});
  cluster_.heal();
  for (std::size_t i = 0; i < cluster_.size(); ++i) {
    mend_disk(i);
    if (!cluster_.running(i) && !is_away(i)) cluster_.start(i);
  }
  stay_away();
  cluster_.start_all();
}

// For whoever reads the trace: how the members see each other.
void ClusterPushPull::tell_status() {
  for (std::size_t i = 0; i < cluster_.size(); ++i) {
    if (!cluster_.ready(i)) continue;
    const auto status = run(world_, cluster_.executor(i), cluster_.node(i)->cluster_status());
    cluster_.log(i).info("status", {{"json", status ? *status : describe(status.error())}});
  }
}

void ClusterPushPull::wait_until_drained() {
  constexpr io::Duration look_again = std::chrono::milliseconds(100);
  const io::Duration end = world_.now() + patience;
  while (!replace_drained() && world_.now() < end) world_.run_for(look_again);
  if (replace_drained()) return;
  violation("what was to be drained is not gone, long after all was mended");
  tell_status();
}

// And then everybody does. False: not everybody.
bool ClusterPushPull::come_together() {
  if (cluster_.wait_until_joined(patience)) return true;
  tell_status();
  for (std::size_t i = 0; i < cluster_.size(); ++i) {
    const std::string name = "node-" + std::to_string(i + 1);
    if (!cluster_.ready(i)) {
      violation(name + " is not ready, long after all was mended: " + cluster_.start_error(i));
      continue;
    }
    const auto health = cluster_.node(i)->status();
    violation(name + " sees " + std::to_string(health.members_alive) +
              " members alive and no whole layout, long after all was mended; alarm: " + health.metadata->alarm);
  }
  return false;
}

}  // namespace hansa::sim
