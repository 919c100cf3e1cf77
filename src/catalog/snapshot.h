// Snapshot: the catalogue's queries in one read transaction, all at one revision: what exists, who holds what, lists.
//
// Short-lived, one thread, never held across a suspension (a long one keeps the WAL from being reset). A negative
// answer to a client, and a positive one that no commit re-checks, needs a Catalog::barrier() begun after the request
// arrived and before the snapshot (H9).
//
// Absence is an empty optional; errors are of the store (unavailable, corrupt, io). Lists are in byte order, `after` is
// exclusive and need not exist.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "catalog/member_records.h"
#include "catalog/records.h"
#include "catalog/tick_cache.h"
#include "meta/sqlite/database.h"

namespace hansa::catalog {

template <class Record>
struct Stored {  // a record with its revisions
  Record record;
  Revision create = 0;
  Revision mod = 0;
};

struct RepositoryState {
  std::uint64_t manifests = 0;
  std::uint64_t tags = 0;   // records, invisible ones included
  std::uint64_t links = 0;  // without `gone` ones
  std::uint64_t graves = 0;
  Revision touched = 0;        // last change of any of its records, `in/` apart
  std::uint64_t unloaded = 0;  // holders whose references are not loaded: not swept while > 0 (H15)
  bool populated() const { return manifests + links > 0; }  // shown in lists
};

struct ManifestState {  // what a pull needs, without decoding the record
  oci::Digest digest;
  oci::ManifestKind kind = oci::ManifestKind::image;
  std::string media_type;
  std::uint64_t size = 0;
  Revision create = 0;
  Revision mod = 0;
};

struct TagState {
  ManifestState manifest;
  Revision mod = 0;  // of the tag
};

// Why a blob is in a repository (H14): a link that is not gone, a manifest that refers to it, or it is a manifest.
struct BlobState {
  std::uint64_t size = 0;
  std::string media_type;  // as a manifest here names it, else application/octet-stream
  bool linked = false;
  bool held = false;      // a manifest of the repository refers to it (foreign references do not count)
  bool manifest = false;  // a manifest of the repository has this digest
};

struct NamePage {
  std::vector<std::string> names;
  bool more = false;
};

struct ReferrerState {
  ManifestState manifest;
  std::string artifact_type;
  oci::Annotations annotations;
  bool annotations_in_body = false;  // too large for the record: read the body
};
struct ReferrerPage {
  std::vector<ReferrerState> referrers;  // in the order of their digests
  bool more = false;
};

struct Totals {
  std::uint64_t repositories = 0;  // populated ones
  std::uint64_t manifests = 0;
  std::uint64_t tags = 0;
  std::uint64_t links = 0;
};

// What nothing holds, found at leisure; plan_sweep checks every one again.
enum class SweepKind : std::uint8_t { tag, link, manifest, grave, expired };
struct SweepItem {
  SweepKind kind = SweepKind::link;
  oci::Digest digest;  // link, manifest, grave
  oci::Tag tag;        // tag, expired
  bool operator==(const SweepItem&) const = default;
};
struct SweepCursor {  // where the search goes on; default: from the start
  SweepKind kind = SweepKind::tag;
  std::string after_tag;
  std::int64_t after_id = 0;
};
struct SweepPage {
  std::vector<SweepItem> items;
  std::optional<SweepCursor> next;  // empty: the repository is done
};
struct SweepRules {
  std::uint64_t age = 10;           // ticks (H6); greater where a path's grace is longer
  std::uint64_t manifest_age = 10;  // for manifests that nothing holds
  bool manifests = true;            // false: untagged manifests without a subject are kept for ever
  bool referrers = true;            // false: so are those with one
  // Graves stand as long as any age is counted: what they held or were the subject of takes its age from them.
  std::uint64_t grave_age() const { return age > manifest_age ? age : manifest_age; }
  // An expired tag is remembered until what only it held was swept, and the grave of that.
  std::uint64_t expired_age() const { return 2 * grave_age(); }
};

struct TagDetail {
  oci::Tag tag;
  TagRecord record;
  Revision mod = 0;
};

struct Member {
  std::string id;
  NodeRecord record;
  Revision mod = 0;
};

struct PullBatch {  // pulls/<node>/<batch>
  std::string node;
  std::string batch;
  PullBatchRecord record;
  Revision mod = 0;
};

struct NamedPage {
  std::vector<oci::Digest> digests;
  std::optional<std::int64_t> next;  // where to go on; empty: done
};

class Snapshot {
 public:
  // `ticks` outlives it.
  Snapshot(std::unique_ptr<meta::sqlite::ReadTransaction> read, TickCache& ticks)
      : read_(std::move(read)), ticks_(&ticks) {}

  Revision revision() const { return read_->revision(); }
  Result<std::unique_ptr<meta::KeyValue>> get(std::string_view key) { return read_->get(key); }
  Result<std::vector<meta::KeyValue>> range(std::string_view prefix, std::string_view after, std::size_t limit) {
    return read_->range(prefix, after, limit);
  }
  Result<Revision> mod_of(std::string_view key);  // 0: absent

  // Records.
  Result<std::optional<Stored<TickRecord>>> tick();
  Result<std::optional<Stored<LayoutRecord>>> layout();
  Result<std::optional<Stored<NodeRecord>>> node(std::string_view id);
  Result<std::optional<Stored<RepositoryRecord>>> repository(const oci::RepositoryName& name);
  Result<std::optional<Stored<ManifestRecord>>> manifest_record(const oci::RepositoryName& name, const oci::Digest& d);
  Result<std::optional<Stored<GraveRecord>>> grave(const oci::RepositoryName& name, const oci::Digest& d);
  Result<std::optional<Stored<LinkRecord>>> link(const oci::RepositoryName& name, const oci::Digest& d);  // gone or not
  Result<std::vector<Member>> nodes();  // gone ones too, in the order of their ids
  Result<std::optional<Stored<HoldsRecord>>> holds(std::string_view id);
  Result<std::optional<Stored<AliveRecord>>> alive(std::string_view id);
  // Counters of pulls (catalog/counter_plan.h).
  Result<std::vector<PullBatch>> pull_batches(std::size_t limit);  // in the order of their keys
  Result<std::optional<Stored<FoldedRecord>>> folded(std::string_view id);
  Result<std::optional<Stored<StatsRecord>>> stats(const oci::RepositoryName& name);
  // Ticks begun after `mod`. unavailable before the first start.
  Result<std::uint64_t> age(Revision mod);
  // The same by the slow clock, and that clock, in milliseconds (measured_since).
  Result<std::int64_t> measured_age(Revision mod);
  Result<std::int64_t> measured_now();

  // What exists.
  Result<std::optional<RepositoryState>> repository_state(const oci::RepositoryName& name);
  Result<std::optional<ManifestState>> manifest(const oci::RepositoryName& name, const oci::Digest& d);
  Result<std::optional<TagState>> tag(const oci::RepositoryName& name, const oci::Tag& tag);     // visible ones (H13)
  Result<std::optional<BlobState>> blob(const oci::RepositoryName& name, const oci::Digest& d);  // present ones (H14)
  // Whether a push may refer to the blob: present, or held by a grave newer than a gone mark (H14).
  Result<bool> satisfies_push(const oci::RepositoryName& name, const oci::Digest& d);
  // Some manifest of the repository that refers to the blob (not as foreign).
  Result<std::optional<oci::Digest>> holder_of(const oci::RepositoryName& name, const oci::Digest& d);
  // Whether the references of the manifest or grave are in the view; true if there is neither (H15).
  Result<bool> is_loaded(const oci::RepositoryName& name, const oci::Digest& d);
  // Whether an index of the repository lists the manifest.
  Result<bool> is_child(const oci::RepositoryName& name, const oci::Digest& d);
  // Whether a visible tag, an index or an existing subject keeps the manifest.
  Result<bool> manifest_held(const oci::RepositoryName& name, const oci::Digest& d);
  // Age of a manifest that nothing holds: ticks since its mod and since it lost its last tag, parent or subject (H6).
  Result<std::uint64_t> manifest_age(const oci::RepositoryName& name, const oci::Digest& d);
  // Whether any record of any repository names the digest, graves included: the byte sweep keeps its file (H1). A
  // `gone` link and a foreign reference name nothing. True for every digest while anything is unloaded (H15).
  Result<bool> named_anywhere(const oci::Digest& d);
  // Since which revision the digest has been named: the smallest create of the manifests, mod of the graves and links
  // that name it; 0: nothing does. Meaningful once nothing is unloaded (design review, section 3).
  Result<Revision> since_of(const oci::Digest& d);
  // Bytes of a blob by any record that names it; 0: none says.
  Result<std::uint64_t> size_of(const oci::Digest& d);
  // Everything that is named, in the order of the view's ids, which rise as digests come: looks at up to `limit` rows.
  Result<NamedPage> named(std::int64_t after, std::size_t limit);

  // Lists.
  Result<NamePage> list_tags(const oci::RepositoryName& name, std::string_view after, std::size_t limit);
  Result<std::vector<oci::Tag>> tags_of(const oci::RepositoryName& name, const oci::Digest& d, std::size_t limit);
  // Populated repositories that `readable` lets through (absent: all).
  Result<NamePage> list_repositories(std::string_view after, std::size_t limit,
                                     const std::function<bool(const oci::RepositoryName&)>& readable = nullptr);
  // Every repository that has a record or was ever touched, for sweeps.
  Result<NamePage> all_repositories(std::string_view after, std::size_t limit);
  // `types`: any of these artifact types; empty: all.
  Result<ReferrerPage> list_referrers(const oci::RepositoryName& name, const oci::Digest& subject,
                                      const std::vector<std::string>& types, const std::optional<oci::Digest>& after,
                                      std::size_t limit, std::size_t max_bytes);
  // Repositories in which the blob is present, for mounts without a source.
  Result<std::vector<oci::RepositoryName>> repositories_holding(const oci::Digest& d, std::size_t limit);
  Result<Totals> totals();

  // Retention and its undo (catalog/plan_retention.h).
  Result<std::optional<Stored<TagRecord>>> tag_record(const oci::RepositoryName& name, const oci::Tag& tag);
  Result<std::optional<Stored<TagRecord>>> expired_tag(const oci::RepositoryName& name, const oci::Tag& tag);
  Result<std::vector<TagDetail>> tags_in_detail(const oci::RepositoryName& name, std::string_view after,
                                                std::size_t limit);  // visible ones
  Result<std::vector<TagDetail>> expired_tags(const oci::RepositoryName& name, std::string_view after,
                                              std::size_t limit);
  // Manifests that collection removed and whose graves stand, the newest first.
  Result<std::vector<oci::Digest>> swept_manifests(const oci::RepositoryName& name, std::size_t limit);
  // What a manifest or grave refers to and a push of it would not find; empty: nothing.
  Result<std::optional<oci::Digest>> lacking_of(const oci::RepositoryName& name, const oci::Digest& holder);

  // Sweep and reload.
  // Looks at up to `scan` rows from the cursor; items are in the order of their kinds.
  Result<SweepPage> sweep_candidates(const oci::RepositoryName& name, const SweepRules& rules, SweepCursor from,
                                     std::size_t scan);
  // Whether `item` may go now: nothing holds it, it is old enough, and the repository's references are loaded.
  Result<bool> sweepable(const oci::RepositoryName& name, const SweepItem& item, const SweepRules& rules);
  struct Unloaded {
    oci::RepositoryName repository;
    oci::Digest digest;
    std::string media_type;
  };
  Result<std::vector<Unloaded>> unloaded(std::size_t limit);

 private:
  using Id = std::int64_t;  // of an interned name; 0: not known to the view
  Result<Id> repo_id(const oci::RepositoryName& name);
  Result<Id> digest_id(const oci::Digest& d);
  Result<oci::Digest> digest_name(Id digest);
  // The first column of the first row of a query with up to two ids; 0 without a row.
  Result<Id> lookup(std::string_view sql, Id a, Id b = 0);
  Result<std::uint64_t> age_by_id(Id repo, Id digest);
  Result<bool> held_by_id(Id repo, Id digest);
  Result<bool> sweepable_by_id(Id repo, SweepKind kind, Id digest, const SweepRules& rules);
  struct SweepRow {
    Id cursor = 0;
    Id digest = 0;
  };
  Result<std::vector<SweepRow>> sweep_rows(Id repo, const SweepCursor& from, std::size_t limit);
  Result<std::optional<Stored<TagRecord>>> tag_at(std::string_view key);
  Result<std::size_t> scan_expired(const oci::RepositoryName& name, SweepCursor& from, std::size_t limit,
                                   const SweepRules& rules, SweepPage& page);
  Result<std::size_t> scan_tags(Id repo, SweepCursor& from, std::size_t limit, SweepPage& page);
  Result<std::size_t> scan_rows(Id repo, SweepCursor& from, std::size_t limit, const SweepRules& rules,
                                SweepPage& page);
  template <class Record, class Decode>  // Result<Record> decode(std::string_view)
  Result<std::optional<Stored<Record>>> stored(std::string_view key, Decode decode);

  std::unique_ptr<meta::sqlite::ReadTransaction> read_;
  TickCache* ticks_;
  std::optional<Stored<TickRecord>> tick_;  // once read
};

}  // namespace hansa::catalog
