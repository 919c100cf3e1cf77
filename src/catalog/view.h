// View: the catalogue's records as SQLite tables with the indexes that its queries need. It is a projection: applied in
// the transaction that writes the records, dropped and filled anew when its schema version moves. Digests, repository
// names and media types are interned to integers. One change costs the size of its own record, never of a repository.
//
//   catalog_repo(id, name, ...)         counters per repository; `touched`: revision of its last change
//   catalog_digest(id, name)            name = algorithm byte + hash: sorts as the text does
//   catalog_media(id, name)
//   catalog_holder(id, repo, digest..)  one row per manifest or grave: create and mod of both, subject, `lost`,
//   `loaded` catalog_ref(digest, repo, holder, kind, size, media) catalog_referrer(repo, subject, name, artifact_type)
//   existing manifests only, in digest order catalog_tag(repo, name, digest, mod) catalog_link(digest, repo, mod, size,
//   gone) catalog_total                       counters of everything
//
// A manifest and its grave share one set of references (same digest, same content). References too large for the record
// are supplied beside the commit (supply()); a holder whose references are not there is *unloaded*, and its repository
// is not swept until they are: see Snapshot::unloaded and plan_load_references.
//
// `lost` is the revision at which a manifest lost a visible tag; after a fill, or when a copy was loaded anew, it is
// the revision of that: ages only ever start later than the truth (H6).
//
// Thread rule: apply() on the store's writer; supply() from any thread. Outlives the store that it is given to.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "catalog/changes.h"
#include "catalog/records.h"
#include "meta/sqlite/database.h"

namespace hansa::catalog {

class View final : public meta::sqlite::Projection {
 public:
  std::string_view name() const override { return "catalog"; }
  int schema_version() const override { return 1; }
  Result<void> create(meta::sqlite::Connection& connection) override;
  Result<void> apply(meta::sqlite::Connection& connection, const meta::ChangeSet& changes) override;
  Result<void> history_lost(meta::sqlite::Connection& connection, meta::Revision revision) override;

  // Holds the references of one manifest ready for the commit that puts its record; drop it when that is settled.
  class Supply {
   public:
    Supply() = default;
    Supply(View& view, std::string key) : view_(&view), key_(std::move(key)) {}
    Supply(Supply&& other) noexcept : view_(std::exchange(other.view_, nullptr)), key_(std::move(other.key_)) {}
    Supply& operator=(Supply&& other) noexcept;
    ~Supply();

   private:
    View* view_ = nullptr;
    std::string key_;
  };
  Supply supply(const oci::RepositoryName& repository, const oci::Digest& digest,
                std::shared_ptr<const oci::Manifest> manifest);
  const Changes& changes() const { return changes_; }

 private:
  friend class Supply;
  struct Supplied {
    std::size_t users = 0;
    std::shared_ptr<const oci::Manifest> manifest;
  };
  std::shared_ptr<const oci::Manifest> supplied(const std::string& key);
  void release(const std::string& key);

  Changes changes_;
  std::mutex mutex_;
  std::map<std::string, Supplied> supplied_;  // by key of the manifest record
};

}  // namespace hansa::catalog
