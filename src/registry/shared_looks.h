// SharedLooks: what a lookup in the catalogue saw, for those who would see the same. When a crowd pulls one tag, the
// first reads the catalogue and the others take what it saw, as if they had looked at that moment: after their barrier
// and before their answer, so that reads stay linearizable. A look holds
//  - for those who passed one barrier together (meta::Fence::round): nothing outlives its round;
//  - on one node until its repository changes (catalog::Changes).
// `State` is what was seen of a repository under `Key`: of a manifest or a blob by its reference, of a page of tags by
// where it begins. `Key` has == and hash_of(key). Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "catalog/changes.h"
#include "oci/name.h"

namespace hansa::registry {

inline std::size_t hash_of(const oci::Reference& reference) {
  const auto* const tag = std::get_if<oci::Tag>(&reference);
  return tag != nullptr ? std::hash<std::string>{}(tag->text())
                        : std::hash<oci::Digest>{}(std::get<oci::Digest>(reference));
}

// `places`: by hash, one look in each: only what is hot has to find its place.
template <class Key, class State, std::size_t places = 1024>
class SharedLooks {
 public:
  using Seen = std::shared_ptr<const State>;
  // `changes` outlives it; null: looks are shared by rounds only.
  explicit SharedLooks(const catalog::Changes* changes) : changes_(changes) {}

  // Null: look yourself.
  Seen find(const meta::Fence& fence, const oci::RepositoryName& repository, const Key& key) {
    if (changes_ == nullptr && fence.round == 0) return nullptr;
    Place& here = place(repository, key);
    const std::lock_guard guard(here.mutex);
    if (here.state == nullptr || here.key != key || here.repository != repository) return nullptr;
    const bool of_round = fence.round != 0 && here.round == fence.round;
    const bool holds = changes_ != nullptr && changes_->unchanged_since(repository.text(), here.revision);
    return of_round || holds ? here.state : nullptr;
  }

  // From a snapshot of `revision` that was taken behind this fence.
  void put(const meta::Fence& fence, meta::Revision revision, const oci::RepositoryName& repository, const Key& key,
           Seen state) {
    if (changes_ == nullptr && fence.round == 0) return;
    Place& here = place(repository, key);
    const std::lock_guard guard(here.mutex);
    // Who looked long ago does not push out what was seen since.
    if (changes_ != nullptr && here.revision > revision) return;
    here.round = fence.round;
    here.revision = revision;
    here.repository = repository;
    here.key = key;
    here.state = std::move(state);
  }

 private:
  struct Place {
    std::mutex mutex;
    std::uint64_t round = 0;
    meta::Revision revision = 0;
    oci::RepositoryName repository;
    Key key;
    Seen state;
  };

  Place& place(const oci::RepositoryName& repository, const Key& key) {
    return looks_[(std::hash<oci::RepositoryName>{}(repository) ^ hash_of(key)) % places];
  }

  const catalog::Changes* changes_;
  std::array<Place, places> looks_;
};

}  // namespace hansa::registry
