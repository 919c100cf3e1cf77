// Machines that come and go: lost with their disks, set back to a copy, drained; bits that turn; and the operator.
#include "blob/disk/layout.h"
#include "sim/cluster_push_pull.h"

namespace hansa::sim {
namespace {

constexpr io::Duration try_again = std::chrono::milliseconds(300);  // of the operator

}  // namespace

// It comes back when all others have forgotten what happened meanwhile: graves have ended, etcd has no history of it.
void ClusterPushPull::stay_away() {
  constexpr int graces = 3;
  if (churn_ != Churn::away || !churned_) return;
  world_.run_for(graces * grace_);
  cluster_.etcd().compact(cluster_.etcd().state().revision);
  world_.run_for(std::chrono::seconds(1));
}

// At most one member in a run loses what its disk had: two copies of everything are all that is promised (P5).
void ClusterPushPull::disturb_machines() {
  if (churn_ == Churn::none || cluster_.size() < 2) return;
  if (churn_ == Churn::drained) {
    if (!churned_ && cluster_.size() > 2 && of_machines_.one_in(3)) {
      churned_ = of_machines_.below(cluster_.size());
      to_drain_ = cluster_.id(*churned_).value();
    }
    replace_drained();
    return;
  }
  if (churn_ == Churn::away) {
    if (churned_ || !of_machines_.one_in(3)) return;
    churned_ = of_machines_.below(cluster_.size());
    if (!cluster_.running(*churned_)) return;
    ++crashes_;
    cluster_.kill(*churned_, Loss::unsynced);
    return;
  }
  if (losses_ > 0 || !of_machines_.one_in(3)) return;
  if (churn_ == Churn::lost) {
    lose_machine(of_machines_.below(cluster_.size()));
  } else if (!churned_) {
    churned_ = of_machines_.below(cluster_.size());
    image_ = cluster_.disk(*churned_).image();
  } else {
    set_back_disk(*churned_);
  }
}

// With what its disk had.
void ClusterPushPull::switch_off(std::size_t member) {
  ++losses_;
  loss_at_ = world_.now();
  ++crashes_;
  if (cluster_.running(member)) cluster_.kill(member, Loss::unsynced);
}

void ClusterPushPull::lose_machine(std::size_t member) {
  switch_off(member);
  to_forget_.push_back(cluster_.id(member).value());
  cluster_.replace(member);
  cluster_.start(member);
}

void ClusterPushPull::set_back_disk(std::size_t member) {
  switch_off(member);
  cluster_.log(member).info("the disk is set back");
  cluster_.set_back(member, std::move(image_));
  cluster_.start(member);
}

bool ClusterPushPull::was_set_back(std::size_t member) const {
  return churn_ == Churn::set_back && losses_ > 0 && churned_ == member;
}

// One copy of a blob, while its member is down; nothing else may take the other copy in such a run.
void ClusterPushPull::let_rot(std::size_t member) {
  if (!options_.rot || (churn_ != Churn::none && churn_ != Churn::drained) || !of_machines_.one_in(2)) return;
  for (const auto& [id, image] : images_) {
    for (const auto& [digest, content] : image.blobs) {
      if (cluster_.copies_of(digest) < 2 || !cluster_.has_file(member, digest) || rotten_.contains(digest) ||
          !of_machines_.one_in(3))
        continue;
      rotten_.insert(digest);
      cluster_.disk(member).flip(SimCluster::file_of(digest), of_machines_.below(content.size()));
      cluster_.log(member).info("a bit turns", {{"digest", digest.text()}});
      return;
    }
  }
}

// ---- the operator -------------------------------------------------------------------------------------------------

io::Task<void> ClusterPushPull::operate(Client& client) {
  while (working_ || !to_forget_.empty() || !to_drain_.empty()) {
    auto slept = co_await io::sleep_for(try_again);
    if (!slept) co_return;
    if (!to_forget_.empty()) {
      const bool done = co_await ask_for(client, "forget", to_forget_.front());
      if (done) to_forget_.pop_front();
    }
    if (!to_drain_.empty()) {
      const bool done = co_await ask_for(client, "drain", to_drain_);
      if (done) to_drain_.clear();
    }
  }
}

io::Task<bool> ClusterPushPull::ask_for(Client& client, std::string verb, std::string id) {
  const std::size_t member = draw_member(client);
  std::function<io::Task<Result<std::string>>(node::Node&)> use = [verb, id](node::Node& node) {
    return node.cluster_operation(verb, id);
  };
  const auto answer = co_await cluster_.ask_node<Result<std::string>>(member, std::move(use));
  if (!answer) co_return false;
  cluster_.log(member).info(verb, {{"member", id}, {"answer", *answer ? **answer : describe(answer->error())}});
  // Done before, but the answer was lost; or it never took part.
  co_return answer->has_value() || answer->error().code == ErrorCode::not_found;
}

// Whether the drain that the operator was promised has ended. A process that is still there may take part anew since.
bool ClusterPushPull::has_left(const std::string& id) {
  if (!to_drain_.empty()) return false;
  const auto& keys = cluster_.etcd().state().keys;
  const auto found = keys.find(std::string(etcd_prefix) + catalog::keys::node(id));
  if (found == keys.end()) return true;
  const auto node = catalog::decode_node(found->second.value);
  return !node || node->state != "draining";
}

// What was drained is switched off once it is gone, and a new machine comes. True: nothing is left to do.
bool ClusterPushPull::replace_drained() {
  if (churn_ != Churn::drained || !churned_ || losses_ > 0) return true;
  if (!has_left(cluster_.id(*churned_).value())) return false;
  check_copies_without(*churned_);
  lose_machine(*churned_);  // and forgotten, in case that its process took part anew since it had left
  return true;
}

}  // namespace hansa::sim
