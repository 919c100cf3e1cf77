#include "catalog/applier.h"

#include "catalog/interning.h"

namespace hansa::catalog {

Result<void> Applier::change(const meta::Change& change) {
  const KeyParts parts = split_key(change.now.key);
  switch (parts.kind) {
    case KeyKind::repo:
    case KeyKind::manifest:
    case KeyKind::tag:
    case KeyKind::link:
    case KeyKind::grave: break;
    default: return {};  // `in/` changes with every push and says nothing that is queried
  }
  HANSA_TRY(const std::int64_t repository, intern_repo(parts.repository));
  deltas_.try_emplace(repository);
  if (parts.kind == KeyKind::repo) return {};  // its row is there now; finish() notes that it was touched
  if (parts.kind == KeyKind::tag) return tag(change, repository, parts.rest);
  HANSA_TRY(const oci::Digest digest, oci::Digest::parse(parts.rest));
  if (parts.kind == KeyKind::link) return link(change, repository, digest);
  if (parts.kind == KeyKind::grave) return grave(change, repository, digest);
  return manifest(change, repository, digest);
}

Result<void> Applier::finish() {
  for (const auto& [repository, delta] : deltas_) HANSA_CHECK(flush(repository, delta));
  for (const std::int64_t digest : maybe_free_) HANSA_CHECK(release(digest));
  return {};
}

// ---- manifests and graves ---------------------------------------------------------------------------------------

Result<void> Applier::manifest(const meta::Change& change, std::int64_t repository, const oci::Digest& digest) {
  if (change.deleted) return manifest_removed(repository, digest);
  HANSA_TRY(const ManifestRecord record, decode_manifest(change.now.value));
  HANSA_TRY(const std::int64_t id, intern_digest(digest));
  HANSA_TRY(const Holder holder, ensure_holder(repository, id, change.now.key, record));
  const bool filling = change.now.mod < revision_;  // the view is being built from records that are there
  HANSA_TRY(auto update, connection_.prepare("UPDATE catalog_holder SET manifest_create=?2, manifest_mod=?3, "
                                             "lost=CASE WHEN ?4 THEN ?5 ELSE lost END WHERE id=?1"));
  update.bind(1, holder.id).bind(2, signed_of(change.now.create)).bind(3, signed_of(change.now.mod));
  update.bind(4, std::int64_t{filling}).bind(5, signed_of(revision_));
  HANSA_CHECK(update.run());
  if (holder.manifest_create != 0) return {};
  deltas_[repository].manifests += 1;
  if (holder.subject == 0) return {};
  return put_referrer(repository, holder.subject, digest, record.artifact_type);
}

Result<void> Applier::manifest_removed(std::int64_t repository, const oci::Digest& digest) {
  HANSA_TRY(const std::int64_t id, find_digest(digest));
  HANSA_TRY(Holder holder, find_holder(repository, id));
  if (holder.id == 0 || holder.manifest_create == 0) return {};
  deltas_[repository].manifests -= 1;
  holder.manifest_create = 0;
  if (holder.subject != 0) HANSA_CHECK(drop_referrer(repository, holder.subject, digest));
  // The grave comes first in key order, so references that are still needed are never dropped here.
  if (holder.grave_mod == 0) return drop_holder(repository, id, holder);
  HANSA_TRY(auto update, connection_.prepare("UPDATE catalog_holder SET manifest_create=0, manifest_mod=0, lost=0 "
                                             "WHERE id=?1"));
  update.bind(1, holder.id);
  return update.run();
}

Result<void> Applier::grave(const meta::Change& change, std::int64_t repository, const oci::Digest& digest) {
  Holder holder;
  std::int64_t id = 0;
  if (change.deleted) {
    HANSA_TRY(id, find_digest(digest));
    HANSA_TRY(holder, find_holder(repository, id));
    if (holder.id == 0 || holder.grave_mod == 0) return {};
    deltas_[repository].graves -= 1;
    if (holder.manifest_create == 0) return drop_holder(repository, id, holder);
  } else {
    HANSA_TRY(const GraveRecord record, decode_grave(change.now.value));
    HANSA_TRY(id, intern_digest(digest));
    std::string manifest_key("manifest");
    manifest_key.append(std::string_view(change.now.key).substr(std::string_view("grave").size()));
    HANSA_TRY(holder, ensure_holder(repository, id, manifest_key, record.was));
    if (holder.grave_mod == 0) deltas_[repository].graves += 1;
  }
  HANSA_TRY(auto update, connection_.prepare("UPDATE catalog_holder SET grave_mod=?2 WHERE id=?1"));
  update.bind(1, holder.id).bind(2, signed_of(change.deleted ? 0 : change.now.mod));
  return update.run();
}

Result<Applier::Holder> Applier::find_holder(std::int64_t repository, std::int64_t digest) {
  Holder holder;
  if (digest == 0) return holder;
  HANSA_TRY(auto find, connection_.prepare("SELECT id, manifest_create, grave_mod, loaded, subject FROM catalog_holder "
                                           "WHERE digest=?1 AND repo=?2"));
  find.bind(1, digest).bind(2, repository);
  HANSA_TRY(const bool found, find.step());
  if (!found) return holder;
  holder.id = find.column_int(0);
  holder.manifest_create = unsigned_of(find.column_int(1));
  holder.grave_mod = unsigned_of(find.column_int(2));
  holder.loaded = find.column_int(3) != 0;
  holder.subject = find.column_int(4);
  return holder;
}

Result<Applier::Holder> Applier::ensure_holder(std::int64_t repository, std::int64_t digest,
                                               const std::string& manifest_key, const ManifestRecord& record) {
  HANSA_TRY(Holder holder, find_holder(repository, digest));
  if (holder.id != 0 && holder.loaded) return holder;  // same digest, same references
  if (holder.id == 0) {
    if (record.subject) {
      HANSA_TRY(holder.subject, intern_digest(*record.subject));
    }
    HANSA_TRY(const std::int64_t media, intern_media(record.media_type));
    HANSA_TRY(auto insert,
              connection_.prepare("INSERT INTO catalog_holder(repo, digest, manifest_create, manifest_mod, grave_mod, "
                                  "lost, loaded, subject, is_index, media, size) "
                                  "VALUES(?1, ?2, 0, 0, 0, 0, 0, ?3, ?4, ?5, ?6)"));
    insert.bind(1, repository).bind(2, digest).bind(3, holder.subject);
    insert.bind(4, std::int64_t{record.kind == oci::ManifestKind::index}).bind(5, media);
    insert.bind(6, signed_of(record.size));
    HANSA_CHECK(insert.run());
    holder.id = connection_.last_insert_id();
    holder.loaded = false;
    deltas_[repository].unloaded += 1;
  }
  HANSA_TRY(holder.loaded, load(repository, holder.id, manifest_key, record));
  return holder;
}

Result<bool> Applier::load(std::int64_t repository, std::int64_t holder, const std::string& manifest_key,
                           const ManifestRecord& record) {
  std::vector<ReferenceItem> from_body;
  if (record.details_in_body) {
    const auto manifest = supplied_(manifest_key);
    if (manifest == nullptr) return false;
    from_body = references_of(*manifest);
  }
  for (const ReferenceItem& item : record.details_in_body ? from_body : record.references) {
    HANSA_CHECK(insert_reference(repository, holder, item));
  }
  HANSA_TRY(auto update, connection_.prepare("UPDATE catalog_holder SET loaded=1 WHERE id=?1"));
  update.bind(1, holder);
  HANSA_CHECK(update.run());
  deltas_[repository].unloaded -= 1;
  return true;
}

Result<void> Applier::insert_reference(std::int64_t repository, std::int64_t holder, const ReferenceItem& item) {
  HANSA_TRY(const std::int64_t digest, intern_digest(item.descriptor.digest));
  HANSA_TRY(const std::int64_t media, intern_media(item.descriptor.media_type));
  HANSA_TRY(auto insert,
            connection_.prepare("INSERT OR REPLACE INTO catalog_ref(digest, repo, holder, kind, size, media) "
                                "VALUES(?1, ?2, ?3, ?4, ?5, ?6)"));
  insert.bind(1, digest).bind(2, repository).bind(3, holder);
  insert.bind(4, static_cast<std::int64_t>(item.kind)).bind(5, signed_of(item.descriptor.size)).bind(6, media);
  return insert.run();
}

Result<void> Applier::drop_holder(std::int64_t repository, std::int64_t digest, const Holder& holder) {
  {
    HANSA_TRY(auto named, connection_.prepare("SELECT digest FROM catalog_ref WHERE holder=?1"));
    named.bind(1, holder.id);
    while (true) {
      HANSA_TRY(const bool row, named.step());
      if (!row) break;
      maybe_free_.insert(named.column_int(0));
    }
  }
  maybe_free_.insert(digest);
  if (holder.subject != 0) maybe_free_.insert(holder.subject);
  if (!holder.loaded) deltas_[repository].unloaded -= 1;
  HANSA_TRY(auto references, connection_.prepare("DELETE FROM catalog_ref WHERE holder=?1"));
  references.bind(1, holder.id);
  HANSA_CHECK(references.run());
  HANSA_TRY(auto row, connection_.prepare("DELETE FROM catalog_holder WHERE id=?1"));
  row.bind(1, holder.id);
  return row.run();
}

Result<void> Applier::put_referrer(std::int64_t repository, std::int64_t subject, const oci::Digest& digest,
                                   const std::string& artifact_type) {
  const std::string blob = digest_blob(digest);
  HANSA_TRY(auto insert, connection_.prepare("INSERT OR REPLACE INTO catalog_referrer(repo, subject, name, "
                                             "artifact_type) VALUES(?1, ?2, ?3, ?4)"));
  insert.bind(1, repository).bind(2, subject).bind(3, as_bytes(blob)).bind(4, std::string_view(artifact_type));
  return insert.run();
}

Result<void> Applier::drop_referrer(std::int64_t repository, std::int64_t subject, const oci::Digest& digest) {
  const std::string blob = digest_blob(digest);
  HANSA_TRY(auto remove, connection_.prepare("DELETE FROM catalog_referrer WHERE repo=?1 AND subject=?2 AND name=?3"));
  remove.bind(1, repository).bind(2, subject).bind(3, as_bytes(blob));
  return remove.run();
}

// ---- tags and links ---------------------------------------------------------------------------------------------

Result<void> Applier::tag(const meta::Change& change, std::int64_t repository, std::string_view name) {
  std::int64_t old_digest = 0;
  Revision old_mod = 0;
  {
    HANSA_TRY(auto find, connection_.prepare("SELECT digest, mod FROM catalog_tag WHERE repo=?1 AND name=?2"));
    find.bind(1, repository).bind(2, name);
    HANSA_TRY(const bool found, find.step());
    if (found) {
      old_digest = find.column_int(0);
      old_mod = unsigned_of(find.column_int(1));
    }
  }
  if (change.deleted) {
    if (old_digest == 0) return {};
    deltas_[repository].tags -= 1;
    HANSA_TRY(auto remove, connection_.prepare("DELETE FROM catalog_tag WHERE repo=?1 AND name=?2"));
    remove.bind(1, repository).bind(2, name);
    HANSA_CHECK(remove.run());
    return tag_lost(repository, old_digest, old_mod);
  }
  HANSA_TRY(const TagRecord record, decode_tag(change.now.value));
  HANSA_TRY(const std::int64_t digest, intern_digest(record.digest));
  if (old_digest == 0) deltas_[repository].tags += 1;
  HANSA_TRY(auto put, connection_.prepare("INSERT OR REPLACE INTO catalog_tag(repo, name, digest, mod) "
                                          "VALUES(?1, ?2, ?3, ?4)"));
  put.bind(1, repository).bind(2, name).bind(3, digest).bind(4, signed_of(change.now.mod));
  HANSA_CHECK(put.run());
  if (old_digest == 0 || old_digest == digest) return {};
  return tag_lost(repository, old_digest, old_mod);
}

// A visible tag no longer names the manifest: its age counts from now (H6).
Result<void> Applier::tag_lost(std::int64_t repository, std::int64_t digest, Revision tag_mod) {
  maybe_free_.insert(digest);
  HANSA_TRY(auto update, connection_.prepare("UPDATE catalog_holder SET lost=?4 WHERE digest=?1 AND repo=?2 AND "
                                             "manifest_create>0 AND manifest_create<=?3"));
  update.bind(1, digest).bind(2, repository).bind(3, signed_of(tag_mod)).bind(4, signed_of(revision_));
  return update.run();
}

Result<void> Applier::link(const meta::Change& change, std::int64_t repository, const oci::Digest& digest) {
  HANSA_TRY(const std::int64_t id, change.deleted ? find_digest(digest) : intern_digest(digest));
  bool counted = false;
  {
    HANSA_TRY(auto find, connection_.prepare("SELECT gone FROM catalog_link WHERE digest=?1 AND repo=?2"));
    find.bind(1, id).bind(2, repository);
    HANSA_TRY(const bool found, find.step());
    counted = found && find.column_int(0) == 0;
  }
  if (counted) deltas_[repository].links -= 1;
  if (change.deleted) {
    maybe_free_.insert(id);
    HANSA_TRY(auto remove, connection_.prepare("DELETE FROM catalog_link WHERE digest=?1 AND repo=?2"));
    remove.bind(1, id).bind(2, repository);
    return remove.run();
  }
  HANSA_TRY(const LinkRecord record, decode_link(change.now.value));
  if (!record.gone) deltas_[repository].links += 1;
  HANSA_TRY(auto put, connection_.prepare("INSERT OR REPLACE INTO catalog_link(digest, repo, mod, size, gone) "
                                          "VALUES(?1, ?2, ?3, ?4, ?5)"));
  put.bind(1, id).bind(2, repository).bind(3, signed_of(change.now.mod)).bind(4, signed_of(record.size));
  put.bind(5, std::int64_t{record.gone});
  return put.run();
}

// ---- names and counters -----------------------------------------------------------------------------------------

Result<std::int64_t> Applier::intern_repo(std::string_view name) {
  if (last_repo_id_ != 0 && name == last_repo_) return last_repo_id_;
  std::int64_t id = 0;
  {
    HANSA_TRY(auto find, connection_.prepare("SELECT id FROM catalog_repo WHERE name=?1"));
    find.bind(1, name);
    HANSA_TRY(const bool found, find.step());
    if (found) id = find.column_int(0);
  }
  if (id == 0) {
    HANSA_TRY(auto insert,
              connection_.prepare("INSERT INTO catalog_repo(name, manifests, tags, links, graves, unloaded, "
                                  "touched) VALUES(?1, 0, 0, 0, 0, 0, 0)"));
    insert.bind(1, name);
    HANSA_CHECK(insert.run());
    id = connection_.last_insert_id();
  }
  last_repo_ = name;
  last_repo_id_ = id;
  return id;
}

Result<std::int64_t> Applier::find_digest(const oci::Digest& digest) {
  const std::string blob = digest_blob(digest);
  HANSA_TRY(auto find, connection_.prepare("SELECT id FROM catalog_digest WHERE name=?1"));
  find.bind(1, as_bytes(blob));
  HANSA_TRY(const bool found, find.step());
  return found ? find.column_int(0) : 0;
}

Result<std::int64_t> Applier::intern_digest(const oci::Digest& digest) {
  HANSA_TRY(const std::int64_t found, find_digest(digest));
  if (found != 0) return found;
  const std::string blob = digest_blob(digest);
  HANSA_TRY(auto insert, connection_.prepare("INSERT INTO catalog_digest(name) VALUES(?1)"));
  insert.bind(1, as_bytes(blob));
  HANSA_CHECK(insert.run());
  return connection_.last_insert_id();
}

Result<std::int64_t> Applier::intern_media(std::string_view name) {
  {
    HANSA_TRY(auto find, connection_.prepare("SELECT id FROM catalog_media WHERE name=?1"));
    find.bind(1, name);
    HANSA_TRY(const bool found, find.step());
    if (found) return find.column_int(0);
  }
  HANSA_TRY(auto insert, connection_.prepare("INSERT INTO catalog_media(name) VALUES(?1)"));
  insert.bind(1, name);
  HANSA_CHECK(insert.run());
  return connection_.last_insert_id();
}

Result<void> Applier::flush(std::int64_t repository, const Delta& delta) {
  std::int64_t before = 0;
  {
    HANSA_TRY(auto find, connection_.prepare("SELECT manifests+links FROM catalog_repo WHERE id=?1"));
    find.bind(1, repository);
    HANSA_TRY(const bool found, find.step());
    if (found) before = find.column_int(0);
  }
  const std::int64_t after = before + delta.manifests + delta.links;
  HANSA_TRY(auto update,
            connection_.prepare("UPDATE catalog_repo SET manifests=manifests+?2, tags=tags+?3, links=links+?4, "
                                "graves=graves+?5, unloaded=unloaded+?6, touched=?7 WHERE id=?1"));
  update.bind(1, repository).bind(2, delta.manifests).bind(3, delta.tags).bind(4, delta.links);
  update.bind(5, delta.graves).bind(6, delta.unloaded).bind(7, signed_of(revision_));
  HANSA_CHECK(update.run());
  HANSA_TRY(auto total, connection_.prepare("UPDATE catalog_total SET repositories=repositories+?1, "
                                            "manifests=manifests+?2, tags=tags+?3, links=links+?4"));
  total.bind(1, std::int64_t{after > 0} - std::int64_t{before > 0}).bind(2, delta.manifests);
  total.bind(3, delta.tags).bind(4, delta.links);
  return total.run();
}

Result<void> Applier::release(std::int64_t digest) {
  HANSA_TRY(auto remove,
            connection_.prepare("DELETE FROM catalog_digest WHERE id=?1 "
                                "AND NOT EXISTS(SELECT 1 FROM catalog_link WHERE digest=?1) "
                                "AND NOT EXISTS(SELECT 1 FROM catalog_ref WHERE digest=?1) "
                                "AND NOT EXISTS(SELECT 1 FROM catalog_holder WHERE digest=?1) "
                                "AND NOT EXISTS(SELECT 1 FROM catalog_holder WHERE subject=?1 AND subject>0) "
                                "AND NOT EXISTS(SELECT 1 FROM catalog_tag WHERE digest=?1)"));
  remove.bind(1, digest);
  return remove.run();
}

}  // namespace hansa::catalog
