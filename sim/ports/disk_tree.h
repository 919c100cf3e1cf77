// The names and bytes of a SimDisk, twice: as everybody sees them and as they are on the platter, with the changes in
// between. No faults, no locks: that is disk.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "sim/ports/random.h"

namespace hansa::sim {

struct SimInode {
  using Entries = std::map<std::string, std::shared_ptr<SimInode>>;

  explicit SimInode(bool is_directory) : directory(is_directory) {}
  const bool directory;
  Entries entries;          // directory: as seen
  Entries platter_entries;  // directory: as synced
  std::vector<std::byte> data;
  std::vector<std::byte> platter;
  std::set<std::uint64_t> dirty;  // numbers of the pages written since the last sync
  bool length_dirty = false;
  std::uint64_t links = 0;  // names as seen
};

// A change of names that happens whole or not at all.
struct SimNameChange {
  struct Step {
    std::shared_ptr<SimInode> directory;
    std::string name;
    std::shared_ptr<SimInode> target;  // null: the name goes
  };
  std::vector<Step> steps;
};

struct SimTree {
  SimTree() : root(std::make_shared<SimInode>(true)) {}

  // The directory that holds the last name of a path, and that name. not_found if a parent is missing.
  struct Place {
    std::shared_ptr<SimInode> directory;
    std::string name;  // empty: the root itself
    std::shared_ptr<SimInode> target() const;
  };
  Result<Place> place(const std::string& path) const;
  // What the path names; not_found.
  Result<std::shared_ptr<SimInode>> find(const std::string& path, const char* what) const;

  // Does it as seen and remembers it as unsynced.
  void change(SimNameChange change);
  // Makes the changes of one directory durable, and what they depend on.
  void sync_names(const SimInode& directory);
  // Drops unsynced changes: each directory keeps a beginning of its history. Seen is then what is on the platter.
  void lose_names(SimRandom& random);
  // Every inode reachable as seen, each once, in the order of their first paths.
  std::vector<std::shared_ptr<SimInode>> all() const;
  std::uint64_t used_bytes() const;
  // Bytes of this process that the files' contents take.
  std::size_t memory() const;
  // What is on the platter, as a tree of its own.
  std::unique_ptr<SimTree> copy_of_platter() const;

  const std::shared_ptr<SimInode> root;
  std::list<SimNameChange> unsynced;
};

}  // namespace hansa::sim
