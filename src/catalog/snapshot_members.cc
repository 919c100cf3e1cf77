// Members, and what the catalogue names: what a member must hold.
#include "catalog/interning.h"
#include "catalog/member_records.h"
#include "catalog/snapshot.h"

namespace hansa::catalog {

namespace {

constexpr std::size_t max_members = 1000;  // records read at a time

// The smallest create of manifests, mod of graves and links that name digest ?1; its own manifests count (bodies are
// blobs). Foreign references name nothing.
constexpr std::string_view since_query =
    "SELECT min(r) FROM ("
    "SELECT mod AS r FROM catalog_link WHERE digest=?1 AND gone=0 "
    "UNION ALL SELECT CASE WHEN manifest_create>0 THEN manifest_create ELSE grave_mod END FROM catalog_holder "
    "WHERE digest=?1 AND (manifest_create>0 OR grave_mod>0) "
    "UNION ALL SELECT CASE WHEN h.manifest_create>0 THEN h.manifest_create ELSE h.grave_mod END FROM catalog_ref f "
    "CROSS JOIN catalog_holder h ON h.id=f.holder WHERE f.digest=?1 AND f.kind<3)";

}  // namespace

Result<std::vector<Member>> Snapshot::nodes() {
  constexpr std::string_view prefix = "node/";
  HANSA_TRY(const auto records, read_->range(prefix, {}, max_members));
  std::vector<Member> members;
  for (const meta::KeyValue& entry : records) {
    HANSA_TRY(NodeRecord record, decode_node(entry.value));
    members.push_back({entry.key.substr(prefix.size()), std::move(record), entry.mod});
  }
  return members;
}

Result<std::optional<Stored<HoldsRecord>>> Snapshot::holds(std::string_view id) {
  HANSA_TRY(const auto found, read_->get(keys::holds(id)));
  if (found == nullptr) return std::optional<Stored<HoldsRecord>>();
  auto record = decode_holds(found->value);
  if (!record) return std::move(record).error();
  return std::optional(Stored<HoldsRecord>{*std::move(record), found->create, found->mod});
}

Result<std::optional<Stored<AliveRecord>>> Snapshot::alive(std::string_view id) {
  HANSA_TRY(const auto found, read_->get(keys::alive(id)));
  if (found == nullptr) return std::optional<Stored<AliveRecord>>();
  HANSA_TRY(AliveRecord record, decode_alive(found->value));
  return std::optional(Stored<AliveRecord>{std::move(record), found->create, found->mod});
}

Result<std::vector<PullBatch>> Snapshot::pull_batches(std::size_t limit) {
  constexpr std::string_view prefix = "pulls/";
  HANSA_TRY(const auto records, read_->range(prefix, {}, limit));
  std::vector<PullBatch> batches;
  for (const meta::KeyValue& entry : records) {
    const std::string_view rest = std::string_view(entry.key).substr(prefix.size());
    const std::size_t slash = rest.rfind('/');
    if (slash == std::string_view::npos) continue;
    HANSA_TRY(PullBatchRecord record, decode_pull_batch(entry.value));
    batches.push_back(
        {std::string(rest.substr(0, slash)), std::string(rest.substr(slash + 1)), std::move(record), entry.mod});
  }
  return batches;
}

Result<std::optional<Stored<FoldedRecord>>> Snapshot::folded(std::string_view id) {
  HANSA_TRY(const auto found, read_->get(keys::folded(id)));
  if (found == nullptr) return std::optional<Stored<FoldedRecord>>();
  HANSA_TRY(FoldedRecord record, decode_folded(found->value));
  return std::optional(Stored<FoldedRecord>{std::move(record), found->create, found->mod});
}

Result<std::optional<Stored<StatsRecord>>> Snapshot::stats(const oci::RepositoryName& name) {
  HANSA_TRY(const auto found, read_->get(keys::stats(name)));
  if (found == nullptr) return std::optional<Stored<StatsRecord>>();
  HANSA_TRY(StatsRecord record, decode_stats(found->value));
  return std::optional(Stored<StatsRecord>{std::move(record), found->create, found->mod});
}

Result<Revision> Snapshot::since_of(const oci::Digest& d) {
  HANSA_TRY(const Id digest, digest_id(d));
  if (digest == 0) return Revision{0};
  HANSA_TRY(const Id since, lookup(since_query, digest));
  return unsigned_of(since);
}

Result<std::uint64_t> Snapshot::size_of(const oci::Digest& d) {
  HANSA_TRY(const Id digest, digest_id(d));
  if (digest == 0) return std::uint64_t{0};
  HANSA_TRY(const Id size, lookup("SELECT coalesce("
                                  "(SELECT size FROM catalog_link WHERE digest=?1 AND gone=0 LIMIT 1),"
                                  "(SELECT size FROM catalog_ref WHERE digest=?1 AND kind<3 LIMIT 1),"
                                  "(SELECT size FROM catalog_holder WHERE digest=?1 LIMIT 1), 0)",
                                  digest));
  return unsigned_of(size);
}

Result<NamedPage> Snapshot::named(std::int64_t after, std::size_t limit) {
  NamedPage page;
  std::vector<std::pair<Id, oci::Digest>> rows;
  {
    HANSA_TRY(auto list,
              read_->connection().prepare("SELECT id, name FROM catalog_digest WHERE id>?1 ORDER BY id LIMIT ?2"));
    list.bind(1, after).bind(2, static_cast<std::int64_t>(limit));
    while (true) {
      HANSA_TRY(const bool row, list.step());
      if (!row) break;
      HANSA_TRY(oci::Digest digest, digest_from_blob(list.column_blob(1)));
      rows.emplace_back(list.column_int(0), std::move(digest));
    }
  }
  if (rows.size() == limit) page.next = rows.back().first;
  for (auto& [id, digest] : rows) {
    HANSA_TRY(const Id since, lookup(since_query, id));
    if (since != 0) page.digests.push_back(std::move(digest));
  }
  return page;
}

}  // namespace hansa::catalog
