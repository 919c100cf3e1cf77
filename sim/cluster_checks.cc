// What must hold once everything works again.
#include <algorithm>

#include "sim/cluster_push_pull.h"

namespace hansa::sim {
void ClusterPushPull::check_all() {
  constexpr io::Duration settle = std::chrono::seconds(10);  // late proposals, breaks and retries are over
  world_.run_for(settle);
  run(world_, executor_, check_images(clients_.back()));
  check_histories();
  check_views();
  check_health();
  check_marks(true);
}

// The first view that knows all that etcd does; an older one may name what was collected since.
std::optional<catalog::Snapshot> ClusterPushPull::newest_view() {
  for (std::size_t member = 0; member < cluster_.size(); ++member) {
    if (!cluster_.ready(member)) continue;
    auto view = cluster_.node(member)->catalogue().snapshot();
    if (view && view->revision() == cluster_.etcd().state().revision) return std::move(*view);
  }
  return std::nullopt;
}

std::set<oci::Digest> ClusterPushPull::ever_pushed() const {
  std::set<oci::Digest> pushed;
  for (const auto& [digest, image] : images_) {
    pushed.insert(digest);
    for (const auto& [blob, content] : image.blobs) pushed.insert(blob);
  }
  return pushed;
}

void ClusterPushPull::check_marks(bool last_look) {
  auto view = newest_view();
  if (view) check_marks_by(*view, last_look);
}

void ClusterPushPull::check_marks_by(catalog::Snapshot& view, bool last_look) {
  const auto layout = view.layout();
  const auto nodes = view.nodes();
  if (!layout || !*layout || !nodes) return;
  const auto pushed = ever_pushed();
  for (const catalog::Member& node : *nodes) {
    const auto place = cluster_.place_of(node.id);
    const auto mark = view.holds(node.id);
    // Nobody knows yet that what runs there has an older disk.
    const bool unknown = place && was_set_back(*place) && !cluster_.ready(*place);
    if (!place || !mark || !*mark || unknown) continue;
    for (const oci::Digest& digest : pushed) {
      const auto since = view.since_of(digest);
      if (!since || cluster_.has_file(*place, digest)) continue;
      // A copy that rots makes a mark false by itself; what counts is that it is taken back.
      if (!last_look && rotten_.contains(digest)) continue;
      if (!holds_digest(node.id, node.record, (*mark)->record, (*layout)->record, digest, *since)) continue;
      violation("node-" + std::to_string(*place + 1) + " is said to hold " + digest.text() + ", which it lacks");
    }
  }
}

// Whether a client could ask for it. What only the grave of a deleted manifest names is on its way out.
bool ClusterPushPull::is_present(catalog::Snapshot& view, const oci::Digest& digest) const {
  const auto shows = [&](const oci::RepositoryName& repository) {
    const auto blob = view.blob(repository, digest);
    const auto manifest = view.manifest(repository, digest);
    return !blob || *blob || !manifest || *manifest;
  };
  return shows(mounts()) || std::ranges::any_of(repositories_, shows);
}

// Without the member that has left, everything that is there has as many copies as a push needs (P5).
void ClusterPushPull::check_copies_without(std::size_t member) {
  auto view = newest_view();
  if (!view) return;
  for (const oci::Digest& digest : ever_pushed()) {
    const auto since = view->since_of(digest);
    if (!since || *since == 0 || rotten_.contains(digest) || !is_present(*view, digest)) continue;
    const std::size_t copies = cluster_.copies_of(digest) - (cluster_.has_file(member, digest) ? 1 : 0);
    if (copies >= catalog::durable_copies) continue;
    violation("node-" + std::to_string(member + 1) + " was let go, and " + digest.text() + " has " +
              std::to_string(copies) + " copies");
  }
}

// Through every member, every tag, and all that it reaches.
io::Task<void> ClusterPushPull::check_images(Client& client) {
  std::vector<std::string> tags;
  for (const auto& [name, history] : tags_) tags.push_back(name);
  for (std::size_t member = 0; member < cluster_.size(); ++member) {
    for (const auto& name : tags) {
      const std::size_t colon = name.find(':');
      const auto repository = *oci::RepositoryName::parse(name.substr(0, colon));
      const std::size_t before = tags_.at(name).operations().size();
      const auto shown = co_await read_tag(client, member, repository, name.substr(colon + 1));
      if (tags_.at(name).operations().size() == before) {
        violation(client.who(member) + ": the tag " + name + " cannot be read");
      }
      if (!shown) continue;
      const bool found = co_await read_manifest(client, member, repository, *shown);
      if (!found) violation(client.who(member) + ": the manifest of " + name + " is not there by its digest");
      co_await read_blobs(client, member, repository, *shown, true);
    }
    for (const auto& repository : repositories_) co_await check_lists(client, member, repository);
  }
}

void ClusterPushPull::check_histories() {
  for (const auto& [name, history] : tags_) {
    const auto why = history.check();
    if (!why.empty()) violation("the tag " + name + " has no linearizable history: " + why);
  }
  for (const auto& [name, history] : manifests_) {
    const auto why = history.check();
    if (!why.empty()) violation("the manifest " + name + " has no linearizable history: " + why);
  }
}

// A view stands still for a moment between two commits; that is when the two are compared.
void ClusterPushPull::check_views() {
  constexpr io::Duration look_again = std::chrono::milliseconds(7);
  constexpr int looks = 2000;
  for (std::size_t member = 0; member < cluster_.size(); ++member) {
    for (int i = 1; i <= looks && !check_view(member, i == looks); ++i) world_.run_for(look_again);
  }
}

// Whether it was compared.
bool ClusterPushPull::check_view(std::size_t member, bool last_look) {
  const std::string name = "the view of node-" + std::to_string(member + 1);
  const auto& truth = cluster_.etcd().state();
  const auto view = cluster_.node(member)->metadata().snapshot();
  if (!view || (*view)->revision() != truth.revision) {
    if (last_look) violation(name + " does not catch up");
    return false;
  }
  const auto rows = (*view)->range("", "", truth.keys.size() + 1);
  if (!rows) {
    violation(name + " cannot be read: " + describe(rows.error()));
    return true;
  }
  std::map<std::string, meta::KeyValue> left;
  for (const auto& [key, record] : truth.keys) {
    if (key.starts_with(etcd_prefix)) left.emplace(key.substr(etcd_prefix.size()), record);
  }
  for (const auto& row : *rows) {
    const auto known = left.find(row.key);
    if (known == left.end()) {
      violation(name + " has a row that etcd has not: " + row.key);
      continue;
    }
    const auto& record = known->second;
    if (record.value != row.value || record.mod != row.mod || record.create != row.create ||
        record.version != row.version) {
      violation(name + " shows another " + row.key + " than etcd");
    }
    left.erase(known);
  }
  for (const auto& [key, record] : left) violation(name + " lacks " + key);
  return true;
}

void ClusterPushPull::check_health() {
  for (std::size_t i = 0; i < cluster_.size(); ++i) {
    const std::string name = "node-" + std::to_string(i + 1);
    if (!cluster_.ready(i)) {
      violation(name + " is not ready in the end");
      continue;
    }
    if (!was_set_back(i) && cluster_.disk_shown(i) != cluster_.first_disk(i))
      violation(name + " took its own disk for an old copy");
    const auto status = cluster_.node(i)->status();
    if (!status.metadata->reachable || status.metadata->loading) violation(name + " is not up to date in the end");
    if (!status.metadata->alarm.empty()) violation(name + " raised the alarm: " + status.metadata->alarm);
    if (status.view_differences != 0) violation(name + " found its view to differ from another's");
    if (status.corrupt_blobs != 0 && rotten_.empty()) violation(name + " found damaged blobs");
  }
}

}  // namespace hansa::sim
