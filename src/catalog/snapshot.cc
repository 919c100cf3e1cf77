#include "catalog/snapshot.h"

#include <algorithm>

#include "catalog/interning.h"

namespace hansa::catalog {

namespace {

constexpr std::string_view one_repo = "SELECT id FROM catalog_repo WHERE name=?1";
constexpr std::string_view one_digest = "SELECT id FROM catalog_digest WHERE name=?1";
// Of a blob (?1) in a repository (?2).
constexpr std::string_view held_by_manifest =
    "SELECT h.id FROM catalog_ref r CROSS JOIN catalog_holder h ON h.id=r.holder "
    "WHERE r.digest=?1 AND r.repo=?2 AND r.kind<2 AND h.manifest_create>0 LIMIT 1";
constexpr std::string_view newest_grave_holding =
    "SELECT max(h.grave_mod) FROM catalog_ref r CROSS JOIN catalog_holder h ON h.id=r.holder "
    "WHERE r.digest=?1 AND r.repo=?2 AND r.kind<2 AND h.grave_mod>0";
constexpr std::string_view parent_manifest =
    "SELECT h.id FROM catalog_ref r CROSS JOIN catalog_holder h ON h.id=r.holder "
    "WHERE r.digest=?1 AND r.repo=?2 AND r.kind=2 AND h.manifest_create>0 LIMIT 1";
static_assert(static_cast<int>(ReferenceKind::config) == 0 && static_cast<int>(ReferenceKind::layer) == 1 &&
              static_cast<int>(ReferenceKind::child) == 2 && static_cast<int>(ReferenceKind::foreign) == 3);

}  // namespace

// ---- records ----------------------------------------------------------------------------------------------------

template <class Record, class Decode>
Result<std::optional<Stored<Record>>> Snapshot::stored(std::string_view key, Decode decode) {
  HANSA_TRY(const std::unique_ptr<meta::KeyValue> found, read_->get(key));
  if (found == nullptr) return std::optional<Stored<Record>>();
  HANSA_TRY(Record record, decode(found->value));
  return std::optional(Stored<Record>{std::move(record), found->create, found->mod});
}

Result<Revision> Snapshot::mod_of(std::string_view key) {
  HANSA_TRY(const std::unique_ptr<meta::KeyValue> found, read_->get(key));
  return found == nullptr ? Revision{0} : found->mod;
}

Result<std::optional<Stored<TickRecord>>> Snapshot::tick() {
  if (!tick_) {
    const auto decode = [this](std::string_view value) { return ticks_->decode(value); };
    HANSA_TRY(tick_, stored<TickRecord>(keys::tick, decode));
  }
  return tick_;
}
Result<std::optional<Stored<LayoutRecord>>> Snapshot::layout() {
  return stored<LayoutRecord>(keys::layout, decode_layout);
}
Result<std::optional<Stored<NodeRecord>>> Snapshot::node(std::string_view id) {
  return stored<NodeRecord>(keys::node(id), decode_node);
}
Result<std::optional<Stored<RepositoryRecord>>> Snapshot::repository(const oci::RepositoryName& name) {
  return stored<RepositoryRecord>(keys::repo(name), decode_repository);
}
Result<std::optional<Stored<ManifestRecord>>> Snapshot::manifest_record(const oci::RepositoryName& name,
                                                                        const oci::Digest& d) {
  return stored<ManifestRecord>(keys::manifest(name, d), decode_manifest);
}
Result<std::optional<Stored<GraveRecord>>> Snapshot::grave(const oci::RepositoryName& name, const oci::Digest& d) {
  return stored<GraveRecord>(keys::grave(name, d), decode_grave);
}
Result<std::optional<Stored<LinkRecord>>> Snapshot::link(const oci::RepositoryName& name, const oci::Digest& d) {
  return stored<LinkRecord>(keys::link(name, d), decode_link);
}

Result<std::uint64_t> Snapshot::age(Revision mod) {
  HANSA_TRY(const auto clock, tick());
  if (!clock) return make_error(ErrorCode::unavailable, "the catalogue has no clock yet: the first start is not done");
  return age_of(clock->record, clock->mod, mod);
}

// ---- names to ids -----------------------------------------------------------------------------------------------

Result<Snapshot::Id> Snapshot::repo_id(const oci::RepositoryName& name) {
  HANSA_TRY(auto find, read_->connection().prepare(one_repo));
  find.bind(1, std::string_view(name.text()));
  HANSA_TRY(const bool found, find.step());
  return found ? find.column_int(0) : Id{0};
}

Result<Snapshot::Id> Snapshot::digest_id(const oci::Digest& d) {
  const std::string blob = digest_blob(d);
  HANSA_TRY(auto find, read_->connection().prepare(one_digest));
  find.bind(1, as_bytes(blob));
  HANSA_TRY(const bool found, find.step());
  return found ? find.column_int(0) : Id{0};
}

Result<oci::Digest> Snapshot::digest_name(Id digest) {
  HANSA_TRY(auto find, read_->connection().prepare("SELECT name FROM catalog_digest WHERE id=?1"));
  find.bind(1, digest);
  HANSA_TRY(const bool found, find.step());
  return digest_from_blob(found ? find.column_blob(0) : ConstBytes{});
}

Result<Snapshot::Id> Snapshot::lookup(std::string_view sql, Id a, Id b) {
  HANSA_TRY(auto find, read_->connection().prepare(sql));
  find.bind(1, a);
  if (b != 0) find.bind(2, b);
  HANSA_TRY(const bool found, find.step());
  return found && !find.column_null(0) ? find.column_int(0) : Id{0};
}

// ---- what exists ------------------------------------------------------------------------------------------------

Result<std::optional<RepositoryState>> Snapshot::repository_state(const oci::RepositoryName& name) {
  HANSA_TRY(auto find, read_->connection().prepare("SELECT manifests, tags, links, graves, touched, unloaded "
                                                   "FROM catalog_repo WHERE name=?1"));
  find.bind(1, std::string_view(name.text()));
  HANSA_TRY(const bool found, find.step());
  if (!found) return std::optional<RepositoryState>();
  RepositoryState state;
  state.manifests = unsigned_of(find.column_int(0));
  state.tags = unsigned_of(find.column_int(1));
  state.links = unsigned_of(find.column_int(2));
  state.graves = unsigned_of(find.column_int(3));
  state.touched = unsigned_of(find.column_int(4));
  state.unloaded = unsigned_of(find.column_int(5));
  return std::optional(state);
}

namespace {

// Columns from `first` on: media type, size, is_index, create, mod.
ManifestState manifest_state(const meta::sqlite::Statement& row, const oci::Digest& digest, int first) {
  ManifestState state;
  state.digest = digest;
  state.media_type = row.column_text(first);
  state.size = unsigned_of(row.column_int(first + 1));
  state.kind = row.column_int(first + 2) != 0 ? oci::ManifestKind::index : oci::ManifestKind::image;
  state.create = unsigned_of(row.column_int(first + 3));
  state.mod = unsigned_of(row.column_int(first + 4));
  return state;
}

}  // namespace

Result<std::optional<ManifestState>> Snapshot::manifest(const oci::RepositoryName& name, const oci::Digest& d) {
  const std::string blob = digest_blob(d);
  HANSA_TRY(auto find,
            read_->connection().prepare("SELECT m.name, h.size, h.is_index, h.manifest_create, h.manifest_mod "
                                        "FROM catalog_repo r CROSS JOIN catalog_digest d CROSS JOIN catalog_holder h "
                                        "ON h.digest=d.id AND h.repo=r.id CROSS JOIN catalog_media m ON m.id=h.media "
                                        "WHERE r.name=?1 AND d.name=?2 AND h.manifest_create>0"));
  find.bind(1, std::string_view(name.text())).bind(2, as_bytes(blob));
  HANSA_TRY(const bool found, find.step());
  if (!found) return std::optional<ManifestState>();
  return std::optional(manifest_state(find, d, 0));
}

Result<std::optional<TagState>> Snapshot::tag(const oci::RepositoryName& name, const oci::Tag& tag) {
  HANSA_TRY(auto find, read_->connection().prepare(
                           "SELECT d.name, t.mod, m.name, h.size, h.is_index, h.manifest_create, h.manifest_mod "
                           "FROM catalog_repo r CROSS JOIN catalog_tag t ON t.repo=r.id "
                           "CROSS JOIN catalog_holder h ON h.digest=t.digest AND h.repo=t.repo "
                           "CROSS JOIN catalog_digest d ON d.id=t.digest CROSS JOIN catalog_media m ON m.id=h.media "
                           "WHERE r.name=?1 AND t.name=?2 AND h.manifest_create>0 AND t.mod>=h.manifest_create"));
  find.bind(1, std::string_view(name.text())).bind(2, std::string_view(tag.text()));
  HANSA_TRY(const bool found, find.step());
  if (!found) return std::optional<TagState>();
  HANSA_TRY(const oci::Digest digest, digest_from_blob(find.column_blob(0)));
  return std::optional(TagState{manifest_state(find, digest, 2), unsigned_of(find.column_int(1))});
}

Result<std::optional<BlobState>> Snapshot::blob(const oci::RepositoryName& name, const oci::Digest& d) {
  HANSA_TRY(const Id repo, repo_id(name));
  HANSA_TRY(const Id digest, digest_id(d));
  if (repo == 0 || digest == 0) return std::optional<BlobState>();
  BlobState state;
  state.media_type = oci::media_type::octet_stream;
  {
    HANSA_TRY(auto link,
              read_->connection().prepare("SELECT size FROM catalog_link WHERE digest=?1 AND repo=?2 AND gone=0"));
    link.bind(1, digest).bind(2, repo);
    HANSA_TRY(state.linked, link.step());
    if (state.linked) state.size = unsigned_of(link.column_int(0));
  }
  {
    HANSA_TRY(auto held,
              read_->connection().prepare(
                  "SELECT r.size, m.name FROM catalog_ref r CROSS JOIN catalog_holder h ON h.id=r.holder CROSS JOIN "
                  "catalog_media m ON m.id=r.media WHERE r.digest=?1 AND r.repo=?2 AND r.kind<2 AND "
                  "h.manifest_create>0 LIMIT 1"));
    held.bind(1, digest).bind(2, repo);
    HANSA_TRY(state.held, held.step());
    if (state.held) {
      if (!state.linked) state.size = unsigned_of(held.column_int(0));
      state.media_type = held.column_text(1);
    }
  }
  HANSA_TRY(const auto as_manifest, manifest(name, d));
  if (as_manifest) {
    state.manifest = true;
    state.size = as_manifest->size;
    state.media_type = as_manifest->media_type;
  }
  if (!state.linked && !state.held && !state.manifest) return std::optional<BlobState>();
  return std::optional(std::move(state));
}

Result<bool> Snapshot::satisfies_push(const oci::RepositoryName& name, const oci::Digest& d) {
  HANSA_TRY(const Id repo, repo_id(name));
  HANSA_TRY(const Id digest, digest_id(d));
  if (repo == 0 || digest == 0) return false;
  Revision gone_at = 0;
  {
    HANSA_TRY(auto link, read_->connection().prepare("SELECT gone, mod FROM catalog_link WHERE digest=?1 AND repo=?2"));
    link.bind(1, digest).bind(2, repo);
    HANSA_TRY(const bool found, link.step());
    if (found && link.column_int(0) == 0) return true;
    if (found) gone_at = unsigned_of(link.column_int(1));
  }
  HANSA_TRY(const Id manifest_holder, lookup(held_by_manifest, digest, repo));
  if (manifest_holder != 0) return true;
  HANSA_TRY(const Id own,
            lookup("SELECT id FROM catalog_holder WHERE digest=?1 AND repo=?2 AND manifest_create>0", digest, repo));
  if (own != 0) return true;
  HANSA_TRY(const Id grave, lookup(newest_grave_holding, digest, repo));
  return unsigned_of(grave) > gone_at;
}

Result<std::optional<oci::Digest>> Snapshot::holder_of(const oci::RepositoryName& name, const oci::Digest& d) {
  HANSA_TRY(const Id repo, repo_id(name));
  HANSA_TRY(const Id digest, digest_id(d));
  if (repo == 0 || digest == 0) return std::optional<oci::Digest>();
  HANSA_TRY(const Id holder, lookup(held_by_manifest, digest, repo));
  if (holder == 0) return std::optional<oci::Digest>();
  HANSA_TRY(const Id name_id, lookup("SELECT digest FROM catalog_holder WHERE id=?1", holder));
  HANSA_TRY(const oci::Digest found, digest_name(name_id));
  return std::optional(found);
}

Result<bool> Snapshot::is_loaded(const oci::RepositoryName& name, const oci::Digest& d) {
  HANSA_TRY(const Id repo, repo_id(name));
  HANSA_TRY(const Id digest, digest_id(d));
  if (repo == 0 || digest == 0) return true;
  HANSA_TRY(const Id pending,
            lookup("SELECT id FROM catalog_holder WHERE digest=?1 AND repo=?2 AND loaded=0", digest, repo));
  return pending == 0;
}

Result<bool> Snapshot::is_child(const oci::RepositoryName& name, const oci::Digest& d) {
  HANSA_TRY(const Id repo, repo_id(name));
  HANSA_TRY(const Id digest, digest_id(d));
  if (repo == 0 || digest == 0) return false;
  HANSA_TRY(const Id parent, lookup(parent_manifest, digest, repo));
  return parent != 0;
}

Result<bool> Snapshot::manifest_held(const oci::RepositoryName& name, const oci::Digest& d) {
  HANSA_TRY(const Id repo, repo_id(name));
  HANSA_TRY(const Id digest, digest_id(d));
  if (repo == 0 || digest == 0) return false;
  return held_by_id(repo, digest);
}

Result<bool> Snapshot::held_by_id(Id repo, Id digest) {
  HANSA_TRY(const Id tagged,
            lookup("SELECT 1 FROM catalog_holder h CROSS JOIN catalog_tag t ON t.digest=h.digest AND t.repo=h.repo "
                   "AND t.mod>=h.manifest_create WHERE h.digest=?1 AND h.repo=?2 AND h.manifest_create>0 LIMIT 1",
                   digest, repo));
  if (tagged != 0) return true;
  HANSA_TRY(const Id parent, lookup(parent_manifest, digest, repo));
  if (parent != 0) return true;
  HANSA_TRY(const Id subject,
            lookup("SELECT s.id FROM catalog_holder h CROSS JOIN catalog_holder s ON s.digest=h.subject AND "
                   "s.repo=h.repo WHERE h.digest=?1 AND h.repo=?2 AND h.subject>0 AND s.manifest_create>0",
                   digest, repo));
  return subject != 0;
}

Result<std::uint64_t> Snapshot::manifest_age(const oci::RepositoryName& name, const oci::Digest& d) {
  HANSA_TRY(const Id repo, repo_id(name));
  HANSA_TRY(const Id digest, digest_id(d));
  if (repo == 0 || digest == 0) return std::uint64_t{0};
  return age_by_id(repo, digest);
}

// A delete leaves a grave whose mod says when the parent or the subject went; once that grave is swept, it was longer
// ago than any age asked for.
Result<std::uint64_t> Snapshot::age_by_id(Id repo, Id digest) {
  HANSA_TRY(const Id own,
            lookup("SELECT max(manifest_mod, lost) FROM catalog_holder WHERE digest=?1 AND repo=?2", digest, repo));
  HANSA_TRY(const Id parent,
            lookup("SELECT max(h.grave_mod) FROM catalog_ref r CROSS JOIN catalog_holder h ON h.id=r.holder "
                   "WHERE r.digest=?1 AND r.repo=?2 AND r.kind=2",
                   digest, repo));
  HANSA_TRY(const Id subject,
            lookup("SELECT s.grave_mod FROM catalog_holder h CROSS JOIN catalog_holder s ON s.digest=h.subject AND "
                   "s.repo=h.repo WHERE h.digest=?1 AND h.repo=?2 AND h.subject>0",
                   digest, repo));
  return age(unsigned_of(std::max({own, parent, subject})));
}

Result<bool> Snapshot::named_anywhere(const oci::Digest& d) {
  HANSA_TRY(const Id pending, lookup("SELECT id FROM catalog_holder WHERE loaded=0 AND id>=?1 LIMIT 1", 0));
  if (pending != 0) return true;
  HANSA_TRY(const Id digest, digest_id(d));
  if (digest == 0) return false;
  HANSA_TRY(const Id named, lookup("SELECT EXISTS(SELECT 1 FROM catalog_link WHERE digest=?1 AND gone=0) "
                                   "OR EXISTS(SELECT 1 FROM catalog_ref WHERE digest=?1 AND kind<3) "
                                   "OR EXISTS(SELECT 1 FROM catalog_holder WHERE digest=?1)",
                                   digest));
  return named != 0;
}

}  // namespace hansa::catalog
