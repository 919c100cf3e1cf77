// Applier: carries one ChangeSet into the view's tables (see View). Lives for one apply(), on the store's writer.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "catalog/records.h"
#include "meta/sqlite/database.h"

namespace hansa::catalog {

class Applier {
 public:
  // Finds references supplied beside the commit, by key of the manifest record; null: none.
  using Supplied = std::function<std::shared_ptr<const oci::Manifest>(const std::string& manifest_key)>;
  Applier(meta::sqlite::Connection& connection, Revision revision, Supplied supplied)
      : connection_(connection), revision_(revision), supplied_(std::move(supplied)) {}

  Result<void> change(const meta::Change& change);
  // Writes the counters and frees digests that nothing names any more.
  Result<void> finish();

 private:
  struct Delta {  // of one repository
    std::int64_t manifests = 0;
    std::int64_t tags = 0;
    std::int64_t links = 0;
    std::int64_t graves = 0;
    std::int64_t unloaded = 0;
  };
  struct Holder {
    std::int64_t id = 0;
    Revision manifest_create = 0;
    Revision grave_mod = 0;
    bool loaded = true;
    std::int64_t subject = 0;
  };

  Result<void> manifest(const meta::Change& change, std::int64_t repo, const oci::Digest& digest);
  Result<void> manifest_removed(std::int64_t repo, const oci::Digest& digest);
  Result<void> grave(const meta::Change& change, std::int64_t repo, const oci::Digest& digest);
  Result<void> tag(const meta::Change& change, std::int64_t repo, std::string_view name);
  Result<void> tag_lost(std::int64_t repo, std::int64_t digest, Revision tag_mod);
  Result<void> link(const meta::Change& change, std::int64_t repo, const oci::Digest& digest);

  Result<std::int64_t> intern_repo(std::string_view name);
  Result<std::int64_t> intern_digest(const oci::Digest& digest);
  Result<std::int64_t> intern_media(std::string_view name);
  Result<std::int64_t> find_digest(const oci::Digest& digest);         // 0: none
  Result<Holder> find_holder(std::int64_t repo, std::int64_t digest);  // id 0: none
  Result<Holder> ensure_holder(std::int64_t repo, std::int64_t digest, const std::string& manifest_key,
                               const ManifestRecord& record);
  Result<bool> load(std::int64_t repo, std::int64_t holder, const std::string& manifest_key,
                    const ManifestRecord& record);
  Result<void> insert_reference(std::int64_t repo, std::int64_t holder, const ReferenceItem& item);
  Result<void> drop_holder(std::int64_t repo, std::int64_t digest, const Holder& holder);
  Result<void> flush(std::int64_t repo, const Delta& delta);
  Result<void> release(std::int64_t digest);
  Result<void> put_referrer(std::int64_t repo, std::int64_t subject, const oci::Digest& digest,
                            const std::string& artifact_type);
  Result<void> drop_referrer(std::int64_t repo, std::int64_t subject, const oci::Digest& digest);

  meta::sqlite::Connection& connection_;
  Revision revision_;
  Supplied supplied_;
  std::map<std::int64_t, Delta> deltas_;  // every repository touched
  std::set<std::int64_t> maybe_free_;     // digests that lost a name
  std::string last_repo_;                 // one change set mostly concerns one repository
  std::int64_t last_repo_id_ = 0;
};

}  // namespace hansa::catalog
