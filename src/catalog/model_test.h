// The catalogue as plain sets, for comparison with the real one in random tests. Says what each operation must do and
// knows nothing of keys, revisions or tables. For tests only.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "catalog/bed_test.h"

namespace hansa::catalog::testing {

class Model {
 public:
  static constexpr std::array<const char*, 2> repositories = {"app", "lib"};

  // Six blobs; images i0..i3, an index over two of them, and a signature of one.
  static std::vector<std::string> blobs() { return {"b0", "b1", "b2", "b3", "b4", "b5"}; }
  static std::vector<std::string> manifests() { return {"i0", "i1", "i2", "i3", "idx", "sig"}; }
  std::vector<std::string> all_ids() const {
    auto ids = blobs();
    for (auto& id : manifests()) ids.push_back(id);
    return ids;
  }
  static std::vector<std::string> layers(const std::string& id) {
    if (id == "i0") return {"b0", "b1"};
    if (id == "i1") return {"b1", "b2"};
    if (id == "i2") return {"b3"};
    if (id == "sig") return {"b5"};
    return {};
  }
  static std::vector<std::string> children(const std::string& id) {
    return id == "idx" ? std::vector<std::string>{"i0", "i3"} : std::vector<std::string>{};
  }
  static std::string subject(const std::string& id) { return id == "sig" ? "i1" : ""; }
  static std::shared_ptr<oci::Manifest> manifest(const std::string& id) {
    if (id == "idx") return index(children(id));
    if (id == "sig") return referrer(subject(id), "signature", layers(id));
    return image(layers(id));
  }

  std::string draw_repository(sim::SimRandom& random) const { return repositories[random.below(repositories.size())]; }
  std::string draw_blob(sim::SimRandom& random) const { return blobs()[random.below(blobs().size())]; }
  std::string draw_manifest(sim::SimRandom& random) const { return manifests()[random.below(manifests().size())]; }
  std::string draw_tag(sim::SimRandom& random) const { return "t" + std::to_string(random.below(3)); }

  // ---- operations: whether they are allowed -----------------------------------------------------------------------

  void link(const std::string& r, const std::string& b) { at(r).links[b] = {++time_, tick_, false}; }
  bool mount(const std::string& r, const std::string& from, const std::string& b) {
    if (!present(from, b)) return false;
    link(r, b);
    return true;
  }
  bool put(const std::string& r, const std::string& id, const std::string& tag) {
    Repository& repo = at(r);
    for (const auto& layer : layers(id)) {
      if (!satisfies(r, layer)) return false;
    }
    for (const auto& child : children(id)) {
      if (!repo.manifests.contains(child)) return false;
    }
    ++time_;
    repo.manifests[id] = tick_;
    if (const auto old = repo.tags.find(tag); old != repo.tags.end() && old->second != id) lose(r, old->second);
    repo.tags[tag] = id;
    return true;
  }
  bool delete_tag(const std::string& r, const std::string& tag) {
    const auto found = at(r).tags.find(tag);
    if (found == at(r).tags.end()) return false;
    const std::string id = found->second;
    at(r).tags.erase(found);
    lose(r, id);
    return true;
  }
  bool delete_manifest(const std::string& r, const std::string& id) {
    if (!at(r).manifests.contains(id)) return false;
    if (is_child(r, id)) return false;
    bury(r, id);
    return true;
  }
  bool delete_blob(const std::string& r, const std::string& b) {
    if (!present(r, b) || held(r, b)) return false;
    at(r).links[b] = {++time_, tick_, true};
    return true;
  }
  void tick() { ++tick_; }

  // Finds first, then removes: what one removal frees goes in the next sweep.
  std::size_t sweep(const std::string& r) {
    Repository& repo = at(r);
    std::vector<std::string> links;
    std::vector<std::string> manifests_gone;
    std::vector<std::string> graves;
    for (const auto& [b, state] : repo.links) {
      if (age(state.tick) >= 10 && !held(r, b) && grave_time(r, b) == 0) links.push_back(b);
    }
    for (const auto& [id, since] : repo.manifests) {
      if (age(since) >= 10 && !manifest_held(r, id)) manifests_gone.push_back(id);
    }
    for (const auto& [id, grave] : repo.graves) {
      const bool also_manifest = std::ranges::find(manifests_gone, id) != manifests_gone.end();
      if (age(grave.tick) >= 10 && !also_manifest) graves.push_back(id);
    }
    const std::size_t found = links.size() + manifests_gone.size() + graves.size();
    for (const auto& b : links) repo.links.erase(b);
    for (const auto& id : graves) repo.graves.erase(id);
    for (const auto& id : manifests_gone) bury(r, id);
    swept_ += found;
    return found;
  }
  std::size_t swept() const { return swept_; }

  // ---- answers ----------------------------------------------------------------------------------------------------

  bool has_manifest(const std::string& r, const std::string& id) const { return at(r).manifests.contains(id); }
  bool present(const std::string& r, const std::string& d) const {
    const auto link = at(r).links.find(d);
    return (link != at(r).links.end() && !link->second.gone) || held(r, d) || has_manifest(r, d);
  }
  std::vector<std::string> tags(const std::string& r) const {
    std::vector<std::string> names;
    for (const auto& [tag, id] : at(r).tags) names.push_back(tag);
    return names;
  }
  bool named(const std::string& d) const {
    for (const char* r : repositories) {
      if (present(r, d) || grave_time(r, d) != 0 || at(r).graves.contains(d)) return true;
      for (const auto& [id, grave] : at(r).graves) {
        const auto list = children(id);
        if (std::ranges::find(list, d) != list.end()) return true;
      }
    }
    return false;
  }

 private:
  struct Link {
    std::uint64_t time = 0;
    std::uint64_t tick = 0;
    bool gone = false;
  };
  struct Grave {
    std::uint64_t time = 0;
    std::uint64_t tick = 0;
  };
  struct Repository {
    std::map<std::string, Link> links;
    std::map<std::string, std::uint64_t> manifests;  // tick from which their age counts
    std::map<std::string, Grave> graves;
    std::map<std::string, std::string> tags;
  };

  Repository& at(const std::string& r) { return state_[r]; }
  const Repository& at(const std::string& r) const { return state_.at(r); }
  std::uint64_t age(std::uint64_t since) const { return tick_ - since; }

  bool held(const std::string& r, const std::string& b) const {
    return std::ranges::any_of(at(r).manifests, [&b](const auto& entry) {
      const auto list = layers(entry.first);
      return std::ranges::find(list, b) != list.end();
    });
  }
  std::uint64_t grave_time(const std::string& r, const std::string& b) const {
    std::uint64_t newest = 0;
    for (const auto& [id, grave] : at(r).graves) {
      const auto list = layers(id);
      if (std::ranges::find(list, b) != list.end()) newest = std::max(newest, grave.time);
    }
    return newest;
  }
  bool satisfies(const std::string& r, const std::string& b) const {
    if (present(r, b)) return true;
    const auto link = at(r).links.find(b);
    return grave_time(r, b) > (link == at(r).links.end() ? 0 : link->second.time);
  }
  bool is_child(const std::string& r, const std::string& id) const {
    return std::ranges::any_of(at(r).manifests, [&id](const auto& entry) {
      const auto list = children(entry.first);
      return std::ranges::find(list, id) != list.end();
    });
  }
  bool manifest_held(const std::string& r, const std::string& id) const {
    const bool tagged = std::ranges::any_of(at(r).tags, [&id](const auto& entry) { return entry.second == id; });
    return tagged || is_child(r, id) || (!subject(id).empty() && has_manifest(r, subject(id)));
  }
  void lose(const std::string& r, const std::string& id) {
    const auto found = at(r).manifests.find(id);
    if (found != at(r).manifests.end()) found->second = tick_;
  }
  void bury(const std::string& r, const std::string& id) {
    Repository& repo = at(r);
    repo.manifests.erase(id);
    repo.graves[id] = {++time_, tick_};
    std::erase_if(repo.tags, [&id](const auto& entry) { return entry.second == id; });
    for (const auto& child : children(id)) lose(r, child);
    for (const auto& other : manifests()) {
      if (subject(other) == id) lose(r, other);
    }
  }

  std::map<std::string, Repository> state_ = {{"app", {}}, {"lib", {}}};
  std::uint64_t time_ = 0;
  std::uint64_t tick_ = 1;
  std::size_t swept_ = 0;
};

}  // namespace hansa::catalog::testing
