#include "catalog/view.h"

#include "base/assert.h"
#include "catalog/applier.h"

namespace hansa::catalog {

namespace {

// Tables of pairs of integers are WITHOUT ROWID: the primary key is the table. Statistics are not kept, so every query
// names columns in the order of one of these keys.
constexpr std::string_view schema = R"sql(
DROP TABLE IF EXISTS catalog_repo;
DROP TABLE IF EXISTS catalog_digest;
DROP TABLE IF EXISTS catalog_media;
DROP TABLE IF EXISTS catalog_holder;
DROP TABLE IF EXISTS catalog_ref;
DROP TABLE IF EXISTS catalog_referrer;
DROP TABLE IF EXISTS catalog_tag;
DROP TABLE IF EXISTS catalog_link;
DROP TABLE IF EXISTS catalog_total;
CREATE TABLE catalog_repo(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, manifests INTEGER NOT NULL,
  tags INTEGER NOT NULL, links INTEGER NOT NULL, graves INTEGER NOT NULL, unloaded INTEGER NOT NULL,
  touched INTEGER NOT NULL);
CREATE INDEX catalog_repo_listed ON catalog_repo(name) WHERE manifests+links>0;
CREATE TABLE catalog_digest(id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE);
CREATE TABLE catalog_media(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE catalog_holder(id INTEGER PRIMARY KEY, repo INTEGER NOT NULL, digest INTEGER NOT NULL,
  manifest_create INTEGER NOT NULL, manifest_mod INTEGER NOT NULL, grave_mod INTEGER NOT NULL, lost INTEGER NOT NULL,
  loaded INTEGER NOT NULL, subject INTEGER NOT NULL, is_index INTEGER NOT NULL, media INTEGER NOT NULL,
  size INTEGER NOT NULL, UNIQUE(digest, repo));
CREATE INDEX catalog_holder_repo ON catalog_holder(repo);
CREATE INDEX catalog_holder_subject ON catalog_holder(subject) WHERE subject>0;
CREATE INDEX catalog_holder_unloaded ON catalog_holder(id) WHERE loaded=0;
CREATE TABLE catalog_ref(digest INTEGER NOT NULL, repo INTEGER NOT NULL, holder INTEGER NOT NULL, kind INTEGER NOT NULL,
  size INTEGER NOT NULL, media INTEGER NOT NULL, PRIMARY KEY(digest, repo, holder, kind)) WITHOUT ROWID;
CREATE INDEX catalog_ref_holder ON catalog_ref(holder);
CREATE TABLE catalog_referrer(repo INTEGER NOT NULL, subject INTEGER NOT NULL, name BLOB NOT NULL,
  artifact_type TEXT NOT NULL, PRIMARY KEY(repo, subject, name)) WITHOUT ROWID;
CREATE TABLE catalog_tag(repo INTEGER NOT NULL, name TEXT NOT NULL, digest INTEGER NOT NULL, mod INTEGER NOT NULL,
  PRIMARY KEY(repo, name)) WITHOUT ROWID;
CREATE INDEX catalog_tag_digest ON catalog_tag(digest, repo, mod);
CREATE TABLE catalog_link(digest INTEGER NOT NULL, repo INTEGER NOT NULL, mod INTEGER NOT NULL, size INTEGER NOT NULL,
  gone INTEGER NOT NULL, PRIMARY KEY(digest, repo)) WITHOUT ROWID;
CREATE INDEX catalog_link_repo ON catalog_link(repo, digest);
CREATE TABLE catalog_total(repositories INTEGER NOT NULL, manifests INTEGER NOT NULL, tags INTEGER NOT NULL,
  links INTEGER NOT NULL);
INSERT INTO catalog_total VALUES(0, 0, 0, 0);
)sql";

}  // namespace

Result<void> View::create(meta::sqlite::Connection& connection) {
  return connection.execute(schema);
}

Result<void> View::apply(meta::sqlite::Connection& connection, const meta::ChangeSet& changes) {
  for (const meta::Change& change : changes.changes) {
    const auto repository = split_key(change.now.key).repository;
    if (!repository.empty()) changes_.mark(repository, changes.revision);
  }
  Applier applier(connection, changes.revision, [this](const std::string& key) { return supplied(key); });
  for (const meta::Change& change : changes.changes) HANSA_CHECK(applier.change(change));
  return applier.finish();
}

// A tag may have come to a manifest and gone again unseen.
Result<void> View::history_lost(meta::sqlite::Connection& connection, meta::Revision revision) {
  HANSA_TRY(auto update, connection.prepare("UPDATE catalog_holder SET lost=?1 WHERE manifest_create>0"));
  return update.bind(1, static_cast<std::int64_t>(revision)).run();
}

View::Supply View::supply(const oci::RepositoryName& repository, const oci::Digest& digest,
                          std::shared_ptr<const oci::Manifest> manifest) {
  std::string key = keys::manifest(repository, digest);
  {
    const std::lock_guard lock(mutex_);
    Supplied& entry = supplied_[key];
    entry.users += 1;
    entry.manifest = std::move(manifest);
  }
  return Supply(*this, std::move(key));
}

std::shared_ptr<const oci::Manifest> View::supplied(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = supplied_.find(key);
  return found == supplied_.end() ? nullptr : found->second.manifest;
}

void View::release(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = supplied_.find(key);
  HANSA_ASSERT(found != supplied_.end(), "references are withdrawn by whoever supplied them");
  found->second.users -= 1;
  if (found->second.users == 0) supplied_.erase(found);
}

View::Supply& View::Supply::operator=(Supply&& other) noexcept {
  std::swap(view_, other.view_);
  std::swap(key_, other.key_);
  return *this;
}

View::Supply::~Supply() {
  if (view_ != nullptr) view_->release(key_);
}

}  // namespace hansa::catalog
