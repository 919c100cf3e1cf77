// What retention looks at, and what the undo finds.
#include "catalog/interning.h"
#include "catalog/snapshot.h"

namespace hansa::catalog {

Result<std::optional<Stored<TagRecord>>> Snapshot::tag_record(const oci::RepositoryName& name, const oci::Tag& tag) {
  return tag_at(keys::tag(name, tag));
}

Result<std::optional<Stored<TagRecord>>> Snapshot::expired_tag(const oci::RepositoryName& name, const oci::Tag& tag) {
  return tag_at(keys::expired(name, tag));
}

Result<std::optional<Stored<TagRecord>>> Snapshot::tag_at(std::string_view key) {
  HANSA_TRY(const auto found, read_->get(key));
  if (found == nullptr) return std::optional<Stored<TagRecord>>();
  HANSA_TRY(TagRecord record, decode_tag(found->value));
  return std::optional(Stored<TagRecord>{std::move(record), found->create, found->mod});
}

Result<std::vector<TagDetail>> Snapshot::tags_in_detail(const oci::RepositoryName& name, std::string_view after,
                                                        std::size_t limit) {
  std::vector<TagDetail> tags;
  HANSA_TRY(const NamePage page, list_tags(name, after, limit));
  for (const std::string& text : page.names) {
    HANSA_TRY(oci::Tag tag, oci::Tag::parse(text));
    HANSA_TRY(auto stored, tag_record(name, tag));
    if (!stored) return make_error(ErrorCode::corrupt, Subject::tag, "tag " + text + " has no record");
    tags.push_back({std::move(tag), std::move(stored->record), stored->mod});
  }
  return tags;
}

Result<std::vector<TagDetail>> Snapshot::expired_tags(const oci::RepositoryName& name, std::string_view after,
                                                      std::size_t limit) {
  std::vector<TagDetail> tags;
  const std::string prefix = "expired/" + name.text() + ":";
  const std::string from = after.empty() ? std::string() : prefix + std::string(after);
  HANSA_TRY(const auto rows, read_->range(prefix, from, limit));
  for (const meta::KeyValue& row : rows) {
    HANSA_TRY(oci::Tag tag, oci::Tag::parse(std::string_view(row.key).substr(prefix.size())));
    HANSA_TRY(TagRecord record, decode_tag(row.value));
    tags.push_back({std::move(tag), std::move(record), row.mod});
  }
  return tags;
}

Result<std::vector<oci::Digest>> Snapshot::swept_manifests(const oci::RepositoryName& name, std::size_t limit) {
  std::vector<oci::Digest> swept;
  HANSA_TRY(const Id repo, repo_id(name));
  HANSA_TRY(auto list, read_->connection().prepare(
                           "SELECT d.name FROM catalog_holder h CROSS JOIN catalog_digest d ON d.id=h.digest "
                           "WHERE h.repo=?1 AND h.grave_mod>0 AND h.manifest_create=0 ORDER BY h.grave_mod DESC"));
  list.bind(1, repo);
  while (swept.size() < limit) {
    HANSA_TRY(const bool row, list.step());
    if (!row) break;
    HANSA_TRY(oci::Digest digest, digest_from_blob(list.column_blob(0)));
    HANSA_TRY(const auto stored, grave(name, digest));
    if (stored && stored->record.swept) swept.push_back(std::move(digest));
  }
  return swept;
}

Result<std::optional<oci::Digest>> Snapshot::lacking_of(const oci::RepositoryName& name, const oci::Digest& holder) {
  HANSA_TRY(const Id repo, repo_id(name));
  HANSA_TRY(const Id digest, digest_id(holder));
  HANSA_TRY(auto list, read_->connection().prepare(
                           "SELECT d.name, r.kind FROM catalog_holder h CROSS JOIN catalog_ref r ON r.holder=h.id "
                           "CROSS JOIN catalog_digest d ON d.id=r.digest WHERE h.digest=?1 AND h.repo=?2"));
  list.bind(1, digest).bind(2, repo);
  while (true) {
    HANSA_TRY(const bool row, list.step());
    if (!row) return std::optional<oci::Digest>();
    HANSA_TRY(oci::Digest reference, digest_from_blob(list.column_blob(0)));
    const auto kind = static_cast<ReferenceKind>(list.column_int(1));
    if (kind == ReferenceKind::foreign) continue;
    bool there = false;
    if (kind == ReferenceKind::child) {
      HANSA_TRY(const auto child, manifest(name, reference));
      there = child.has_value();
    } else {
      HANSA_TRY(there, satisfies_push(name, reference));
    }
    if (!there) return std::optional(std::move(reference));
  }
}

Result<std::int64_t> Snapshot::measured_age(Revision mod) {
  HANSA_TRY(const auto clock, tick());
  if (!clock) return make_error(ErrorCode::unavailable, "the catalogue has no clock yet: the first start is not done");
  return measured_since(clock->record, clock->mod, mod);
}

Result<std::int64_t> Snapshot::measured_now() {
  HANSA_TRY(const auto clock, tick());
  if (!clock) return make_error(ErrorCode::unavailable, "the catalogue has no clock yet: the first start is not done");
  return clock->record.measured_ms;
}

}  // namespace hansa::catalog
