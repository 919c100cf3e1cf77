#include "sim/ports/disk_tree.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <ranges>
#include <utility>

#include "base/assert.h"

namespace hansa::sim {
namespace {

constexpr std::size_t kMaxName = 255;  // bytes, as on Linux

Result<std::vector<std::string>> split(const std::string& path) {
  HANSA_ASSERT(path.starts_with('/'), "paths are absolute");
  std::vector<std::string> names;
  for (const auto part : std::views::split(path, '/')) {
    std::string name(part.begin(), part.end());
    if (name.size() > kMaxName) return errno_error(ENAMETOOLONG, "find " + path);
    if (!name.empty() && name != ".") names.push_back(std::move(name));
  }
  return names;
}

void put(SimInode::Entries& entries, const SimNameChange::Step& step) {
  if (step.target) {
    entries[step.name] = step.target;
  } else {
    entries.erase(step.name);
  }
}

void apply_to_platter(const SimNameChange& change) {
  for (const auto& step : change.steps) put(step.directory->platter_entries, step);
}

bool touches(const SimNameChange& change, const std::set<const SimInode*>& directories) {
  return std::ranges::any_of(change.steps,
                             [&](const auto& step) { return directories.contains(step.directory.get()); });
}

void add_directories(const SimNameChange& change, std::set<const SimInode*>& directories) {
  for (const auto& step : change.steps) directories.insert(step.directory.get());
}

}  // namespace

std::shared_ptr<SimInode> SimTree::Place::target() const {
  if (name.empty()) return directory;
  const auto found = directory->entries.find(name);
  return found == directory->entries.end() ? nullptr : found->second;
}

Result<SimTree::Place> SimTree::place(const std::string& path) const {
  HANSA_TRY(const auto names, split(path));
  Place place{root, ""};
  for (std::size_t i = 0; i < names.size(); ++i) {
    place.name = names[i];
    if (i + 1 == names.size()) break;
    auto next = place.target();
    if (!next) return errno_error(ENOENT, "find " + path);
    if (!next->directory) return errno_error(ENOTDIR, "find " + path);
    place = Place{std::move(next), ""};
  }
  return place;
}

Result<std::shared_ptr<SimInode>> SimTree::find(const std::string& path, const char* what) const {
  HANSA_TRY(const auto found, place(path));
  auto target = found.target();
  if (!target) return errno_error(ENOENT, std::string(what) + " " + path);
  return target;
}

void SimTree::change(SimNameChange change) {
  for (const auto& step : change.steps) {
    const auto old = step.directory->entries.find(step.name);
    if (old != step.directory->entries.end()) --old->second->links;
    if (step.target) ++step.target->links;
    put(step.directory->entries, step);
  }
  unsynced.push_back(std::move(change));
}

void SimTree::sync_names(const SimInode& directory) {
  // Backwards, so that whatever a change shares a directory with is seen to come before it.
  std::set<const SimInode*> directories{&directory};
  std::vector<std::list<SimNameChange>::iterator> durable;
  for (auto at = unsynced.end(); at != unsynced.begin();) {
    --at;
    if (!touches(*at, directories)) continue;
    add_directories(*at, directories);
    durable.push_back(at);
  }
  for (const auto at : std::views::reverse(durable)) {
    apply_to_platter(*at);
    unsynced.erase(at);
  }
}

void SimTree::lose_names(SimRandom& random) {
  enum : std::uint8_t { lose_all, keep_all };
  const auto mood = random.below(4);
  std::set<const SimInode*> cut;  // directories whose history ends here
  for (const auto& change : unsynced) {
    const bool lost = mood == lose_all || (mood != keep_all && random.one_in(4));
    if (lost || touches(change, cut)) {
      add_directories(change, cut);
    } else {
      apply_to_platter(change);
    }
  }
  unsynced.clear();
  std::set<SimInode*> done;
  const std::function<void(SimInode&)> restore = [&](SimInode& inode) {
    ++inode.links;
    if (!done.insert(&inode).second) return;
    inode.links = 1;
    inode.entries = inode.platter_entries;
    for (const auto& [name, child] : inode.entries) restore(*child);
  };
  restore(*root);
}

std::vector<std::shared_ptr<SimInode>> SimTree::all() const {
  std::vector<std::shared_ptr<SimInode>> found;
  std::set<const SimInode*> done;
  const std::function<void(const std::shared_ptr<SimInode>&)> visit = [&](const std::shared_ptr<SimInode>& inode) {
    if (!done.insert(inode.get()).second) return;
    found.push_back(inode);
    for (const auto& [name, child] : inode->entries) visit(child);
  };
  visit(root);
  return found;
}

std::unique_ptr<SimTree> SimTree::copy_of_platter() const {
  auto copy = std::make_unique<SimTree>();
  std::map<const SimInode*, std::shared_ptr<SimInode>> copies{{root.get(), copy->root}};
  const std::function<void(const SimInode&, SimInode&)> fill = [&](const SimInode& from, SimInode& to) {
    to.data = to.platter = from.platter;
    for (const auto& [name, child] : from.platter_entries) {
      auto& made = copies[child.get()];
      const bool first = made == nullptr;
      if (first) made = std::make_shared<SimInode>(child->directory);
      ++made->links;
      to.entries[name] = to.platter_entries[name] = made;
      if (first) fill(*child, *made);
    }
  };
  fill(*root, *copy->root);
  return copy;
}

std::uint64_t SimTree::used_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& inode : all()) sum += inode->data.size();
  return sum;
}

std::size_t SimTree::memory() const {
  std::size_t sum = 0;
  std::set<const SimInode*> seen;
  std::function<void(const SimInode&)> add = [&](const SimInode& inode) {
    if (!seen.insert(&inode).second) return;
    sum += inode.data.capacity() + inode.platter.capacity();
    for (const auto* entries : {&inode.entries, &inode.platter_entries}) {
      for (const auto& [name, child] : *entries) add(*child);
    }
  };
  add(*root);
  return sum;
}

}  // namespace hansa::sim
