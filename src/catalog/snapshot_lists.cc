#include <algorithm>

#include "catalog/interning.h"
#include "catalog/snapshot.h"

namespace hansa::catalog {

namespace {

// One more than was asked for tells whether there is more.
std::int64_t with_probe(std::size_t limit) {
  constexpr std::size_t most = 1'000'000'000;
  return static_cast<std::int64_t>(std::min(limit, most)) + 1;
}

}  // namespace

Result<NamePage> Snapshot::list_tags(const oci::RepositoryName& name, std::string_view after, std::size_t limit) {
  NamePage page;
  HANSA_TRY(const Id repo, repo_id(name));
  if (repo == 0) return page;
  HANSA_TRY(auto list,
            read_->connection().prepare("SELECT t.name FROM catalog_tag t CROSS JOIN catalog_holder h "
                                        "ON h.digest=t.digest AND h.repo=t.repo WHERE t.repo=?1 AND t.name>?2 AND "
                                        "h.manifest_create>0 AND t.mod>=h.manifest_create ORDER BY t.name LIMIT ?3"));
  const std::string from(after);
  list.bind(1, repo).bind(2, std::string_view(from)).bind(3, with_probe(limit));
  while (true) {
    HANSA_TRY(const bool row, list.step());
    if (!row) return page;
    if (page.names.size() == limit) break;
    page.names.emplace_back(list.column_text(0));
  }
  page.more = true;
  return page;
}

Result<std::vector<oci::Tag>> Snapshot::tags_of(const oci::RepositoryName& name, const oci::Digest& d,
                                                std::size_t limit) {
  std::vector<oci::Tag> tags;
  HANSA_TRY(const Id repo, repo_id(name));
  HANSA_TRY(const Id digest, digest_id(d));
  if (repo == 0 || digest == 0) return tags;
  HANSA_TRY(auto list, read_->connection().prepare("SELECT t.name FROM catalog_holder h CROSS JOIN catalog_tag t ON "
                                                   "t.digest=h.digest AND t.repo=h.repo AND t.mod>=h.manifest_create "
                                                   "WHERE h.digest=?1 AND h.repo=?2 AND h.manifest_create>0 LIMIT ?3"));
  list.bind(1, digest).bind(2, repo).bind(3, static_cast<std::int64_t>(limit));
  while (true) {
    HANSA_TRY(const bool row, list.step());
    if (!row) break;
    HANSA_TRY(oci::Tag tag, oci::Tag::parse(list.column_text(0)));
    tags.push_back(std::move(tag));
  }
  std::ranges::sort(tags);
  return tags;
}

Result<NamePage> Snapshot::list_repositories(std::string_view after, std::size_t limit,
                                             const std::function<bool(const oci::RepositoryName&)>& readable) {
  NamePage page;
  HANSA_TRY(auto list, read_->connection().prepare("SELECT name FROM catalog_repo WHERE manifests+links>0 AND name>?1 "
                                                   "ORDER BY name"));
  const std::string from(after);
  list.bind(1, std::string_view(from));
  while (true) {
    HANSA_TRY(const bool row, list.step());
    if (!row) return page;
    HANSA_TRY(const oci::RepositoryName name, oci::RepositoryName::parse(list.column_text(0)));
    if (readable && !readable(name)) continue;
    if (page.names.size() == limit) break;
    page.names.push_back(name.text());
  }
  page.more = true;
  return page;
}

Result<NamePage> Snapshot::all_repositories(std::string_view after, std::size_t limit) {
  NamePage page;
  HANSA_TRY(auto list,
            read_->connection().prepare("SELECT name FROM catalog_repo WHERE name>?1 ORDER BY name LIMIT ?2"));
  const std::string from(after);
  list.bind(1, std::string_view(from)).bind(2, with_probe(limit));
  while (true) {
    HANSA_TRY(const bool row, list.step());
    if (!row) return page;
    if (page.names.size() == limit) break;
    page.names.emplace_back(list.column_text(0));
  }
  page.more = true;
  return page;
}

Result<ReferrerPage> Snapshot::list_referrers(const oci::RepositoryName& name, const oci::Digest& subject,
                                              const std::vector<std::string>& types,
                                              const std::optional<oci::Digest>& after, std::size_t limit,
                                              std::size_t max_bytes) {
  ReferrerPage page;
  std::size_t bytes = 0;
  HANSA_TRY(const Id repo, repo_id(name));
  HANSA_TRY(const Id digest, digest_id(subject));
  if (repo == 0 || digest == 0) return page;
  const std::string from = after ? digest_blob(*after) : std::string(1, '\0');  // shorter, so smaller, than any digest
  HANSA_TRY(auto list, read_->connection().prepare("SELECT name, artifact_type FROM catalog_referrer "
                                                   "WHERE repo=?1 AND subject=?2 AND name>?3 ORDER BY name"));
  list.bind(1, repo).bind(2, digest).bind(3, as_bytes(from));
  while (true) {
    HANSA_TRY(const bool row, list.step());
    if (!row) return page;
    if (!types.empty() && std::ranges::find(types, list.column_text(1)) == types.end()) continue;
    if (page.referrers.size() == limit || bytes >= max_bytes) break;
    HANSA_TRY(const oci::Digest referrer, digest_from_blob(list.column_blob(0)));
    HANSA_TRY(auto found, manifest_record(name, referrer));
    if (!found) return make_error(ErrorCode::corrupt, "the view lists a referrer that has no record");
    ReferrerState state;
    ManifestRecord& record = found->record;
    state.manifest = {referrer, record.kind, record.media_type, record.size, found->create, found->mod};
    state.artifact_type = std::move(record.artifact_type);
    state.annotations = std::move(record.annotations);
    bytes += oci::size_of(state.annotations);
    state.annotations_in_body = record.details_in_body;
    page.referrers.push_back(std::move(state));
  }
  page.more = true;
  return page;
}

Result<std::vector<oci::RepositoryName>> Snapshot::repositories_holding(const oci::Digest& d, std::size_t limit) {
  std::vector<oci::RepositoryName> names;
  HANSA_TRY(const Id digest, digest_id(d));
  if (digest == 0) return names;
  HANSA_TRY(auto list, read_->connection().prepare("SELECT r.name FROM catalog_link l CROSS JOIN catalog_repo r "
                                                   "ON r.id=l.repo WHERE l.digest=?1 AND l.gone=0 LIMIT ?2"));
  list.bind(1, digest).bind(2, static_cast<std::int64_t>(limit));
  while (true) {
    HANSA_TRY(const bool row, list.step());
    if (!row) break;
    HANSA_TRY(oci::RepositoryName name, oci::RepositoryName::parse(list.column_text(0)));
    names.push_back(std::move(name));
  }
  // Then those where only a manifest holds it, one look-up per repository however many manifests do.
  Id last = 0;
  while (names.size() < limit) {
    HANSA_TRY(auto next,
              read_->connection().prepare("SELECT r.repo, n.name FROM catalog_ref r CROSS JOIN catalog_repo n "
                                          "ON n.id=r.repo WHERE r.digest=?1 AND r.repo>?2 LIMIT 1"));
    next.bind(1, digest).bind(2, last);
    HANSA_TRY(const bool row, next.step());
    if (!row) break;
    last = next.column_int(0);
    HANSA_TRY(oci::RepositoryName name, oci::RepositoryName::parse(next.column_text(1)));
    HANSA_TRY(const auto state, blob(name, d));
    if (state && state->held && !state->linked) names.push_back(std::move(name));
  }
  return names;
}

Result<Totals> Snapshot::totals() {
  HANSA_TRY(auto read, read_->connection().prepare("SELECT repositories, manifests, tags, links FROM catalog_total"));
  HANSA_TRY(const bool found, read.step());
  if (!found) return make_error(ErrorCode::corrupt, "the catalogue's view has no totals; delete the view's tables");
  return Totals{unsigned_of(read.column_int(0)), unsigned_of(read.column_int(1)), unsigned_of(read.column_int(2)),
                unsigned_of(read.column_int(3))};
}

}  // namespace hansa::catalog
