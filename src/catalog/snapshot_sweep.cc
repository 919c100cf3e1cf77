#include <algorithm>

#include "catalog/interning.h"
#include "catalog/snapshot.h"

namespace hansa::catalog {

namespace {

constexpr SweepKind next_kind(SweepKind kind) {
  return static_cast<SweepKind>(static_cast<int>(kind) + 1);
}

}  // namespace

Result<bool> Snapshot::sweepable(const oci::RepositoryName& name, const SweepItem& item, const SweepRules& rules) {
  HANSA_TRY(const auto state, repository_state(name));
  if (!state || state->unloaded > 0) return false;
  if (item.kind == SweepKind::expired) {
    HANSA_TRY(const Revision mod, mod_of(keys::expired(name, item.tag)));
    if (mod == 0) return false;
    HANSA_TRY(const std::uint64_t old, age(mod));
    return old >= rules.expired_age();
  }
  if (item.kind == SweepKind::tag) {
    HANSA_TRY(const Revision mod, mod_of(keys::tag(name, item.tag)));
    if (mod == 0) return false;
    HANSA_TRY(const auto visible, tag(name, item.tag));
    return !visible;
  }
  HANSA_TRY(const Id repo, repo_id(name));
  HANSA_TRY(const Id digest, digest_id(item.digest));
  if (digest == 0) return false;
  return sweepable_by_id(repo, item.kind, digest, rules);
}

Result<bool> Snapshot::sweepable_by_id(Id repo, SweepKind kind, Id digest, const SweepRules& rules) {
  if (kind == SweepKind::link) {
    // References of graves count, and a `gone` mark goes only after the graves that it outranks.
    HANSA_TRY(const Id mod, lookup("SELECT mod FROM catalog_link WHERE digest=?1 AND repo=?2", digest, repo));
    if (mod == 0) return false;
    HANSA_TRY(const Id held,
              lookup("SELECT holder FROM catalog_ref WHERE digest=?1 AND repo=?2 LIMIT 1", digest, repo));
    if (held != 0) return false;
    HANSA_TRY(const std::uint64_t old, age(unsigned_of(mod)));
    return old >= rules.age;
  }
  if (kind == SweepKind::grave) {
    HANSA_TRY(const Id mod, lookup("SELECT grave_mod FROM catalog_holder WHERE digest=?1 AND repo=?2", digest, repo));
    if (mod == 0) return false;
    HANSA_TRY(const std::uint64_t old, age(unsigned_of(mod)));
    return old >= rules.grave_age();
  }
  HANSA_TRY(const Id exists,
            lookup("SELECT manifest_create FROM catalog_holder WHERE digest=?1 AND repo=?2", digest, repo));
  if (exists == 0) return false;
  HANSA_TRY(const Id subject, lookup("SELECT subject FROM catalog_holder WHERE digest=?1 AND repo=?2", digest, repo));
  if (subject == 0 ? !rules.manifests : !rules.referrers) return false;
  HANSA_TRY(const bool held, held_by_id(repo, digest));
  if (held) return false;
  HANSA_TRY(const std::uint64_t old, age_by_id(repo, digest));
  return old >= rules.manifest_age;
}

Result<SweepPage> Snapshot::sweep_candidates(const oci::RepositoryName& name, const SweepRules& rules, SweepCursor from,
                                             std::size_t scan) {
  SweepPage page;
  HANSA_TRY(const auto state, repository_state(name));
  if (!state || state->unloaded > 0) return page;
  HANSA_TRY(const Id repo, repo_id(name));
  std::size_t budget = std::max<std::size_t>(scan, 1);
  while (budget > 0) {
    std::size_t seen = 0;
    if (from.kind == SweepKind::tag) {
      HANSA_TRY(seen, scan_tags(repo, from, budget, page));
    } else if (from.kind == SweepKind::expired) {
      HANSA_TRY(seen, scan_expired(name, from, budget, rules, page));
    } else {
      HANSA_TRY(seen, scan_rows(repo, from, budget, rules, page));
    }
    if (seen < budget) {  // this kind is done
      if (from.kind == SweepKind::expired) return page;
      from = SweepCursor{next_kind(from.kind), {}, 0};
    }
    budget -= seen;
  }
  page.next = from;
  return page;
}

Result<std::size_t> Snapshot::scan_tags(Id repo, SweepCursor& from, std::size_t limit, SweepPage& page) {
  HANSA_TRY(auto list, read_->connection().prepare(
                           "SELECT t.name, h.manifest_create>0 AND t.mod>=h.manifest_create FROM catalog_tag t "
                           "LEFT JOIN catalog_holder h ON h.digest=t.digest AND h.repo=t.repo "
                           "WHERE t.repo=?1 AND t.name>?2 ORDER BY t.name LIMIT ?3"));
  const std::string after = from.after_tag;
  list.bind(1, repo).bind(2, std::string_view(after)).bind(3, static_cast<std::int64_t>(limit));
  std::size_t seen = 0;
  while (true) {
    HANSA_TRY(const bool row, list.step());
    if (!row) return seen;
    ++seen;
    from.after_tag = list.column_text(0);
    if (!list.column_null(1) && list.column_int(1) != 0) continue;
    HANSA_TRY(oci::Tag tag, oci::Tag::parse(from.after_tag));
    page.items.push_back({SweepKind::tag, {}, std::move(tag)});
  }
}

Result<std::size_t> Snapshot::scan_expired(const oci::RepositoryName& name, SweepCursor& from, std::size_t limit,
                                           const SweepRules& rules, SweepPage& page) {
  const std::string after = from.after_tag;
  HANSA_TRY(auto tags, expired_tags(name, after, limit));
  for (TagDetail& entry : tags) {
    from.after_tag = entry.tag.text();
    HANSA_TRY(const std::uint64_t old, age(entry.mod));
    if (old >= rules.expired_age()) page.items.push_back({SweepKind::expired, {}, std::move(entry.tag)});
  }
  return tags.size();
}

Result<std::vector<Snapshot::SweepRow>> Snapshot::sweep_rows(Id repo, const SweepCursor& from, std::size_t limit) {
  std::string_view sql = "SELECT digest, digest FROM catalog_link WHERE repo=?1 AND digest>?2 ORDER BY digest LIMIT ?3";
  if (from.kind != SweepKind::link) {
    sql = "SELECT id, digest FROM catalog_holder WHERE repo=?1 AND id>?2 ORDER BY id LIMIT ?3";
  }
  HANSA_TRY(auto list, read_->connection().prepare(sql));
  list.bind(1, repo).bind(2, from.after_id).bind(3, static_cast<std::int64_t>(limit));
  std::vector<SweepRow> rows;
  while (true) {
    HANSA_TRY(const bool row, list.step());
    if (!row) return rows;
    rows.push_back({list.column_int(0), list.column_int(1)});
  }
}

Result<std::size_t> Snapshot::scan_rows(Id repo, SweepCursor& from, std::size_t limit, const SweepRules& rules,
                                        SweepPage& page) {
  HANSA_TRY(const auto rows, sweep_rows(repo, from, limit));
  for (const SweepRow& row : rows) {
    from.after_id = row.cursor;
    HANSA_TRY(const bool may_go, sweepable_by_id(repo, from.kind, row.digest, rules));
    if (!may_go) continue;
    HANSA_TRY(const oci::Digest digest, digest_name(row.digest));
    page.items.push_back({from.kind, digest, {}});
  }
  return rows.size();
}

Result<std::vector<Snapshot::Unloaded>> Snapshot::unloaded(std::size_t limit) {
  std::vector<Unloaded> result;
  HANSA_TRY(auto list,
            read_->connection().prepare(
                "SELECT r.name, d.name, m.name FROM catalog_holder h CROSS JOIN catalog_repo r ON r.id=h.repo "
                "CROSS JOIN catalog_digest d ON d.id=h.digest CROSS JOIN catalog_media m ON m.id=h.media "
                "WHERE h.loaded=0 ORDER BY h.id LIMIT ?1"));
  list.bind(1, static_cast<std::int64_t>(limit));
  while (true) {
    HANSA_TRY(const bool row, list.step());
    if (!row) return result;
    Unloaded entry;
    HANSA_TRY(entry.repository, oci::RepositoryName::parse(list.column_text(0)));
    HANSA_TRY(entry.digest, digest_from_blob(list.column_blob(1)));
    entry.media_type = list.column_text(2);
    result.push_back(std::move(entry));
  }
}

}  // namespace hansa::catalog
