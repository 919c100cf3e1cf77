#include <algorithm>

#include "catalog/plan_parts.h"

namespace hansa::catalog {

namespace {

// Room for the gate's record and `head` beside what a sweep removes.
constexpr std::size_t sweep_bytes = meta::max_commit_bytes - 64 * 1024;
constexpr std::size_t most_removals = meta::max_writes - 2;
constexpr std::size_t writes_per_tag = 2;  // its record, and what retention remembers

// Manifest to grave: compares and writes both keys.
Result<void> draft_burial(const Planning& planning, const oci::RepositoryName& name, const oci::Digest& digest,
                          Stored<ManifestRecord> manifest, bool swept, Draft& draft) {
  const std::string manifest_key = keys::manifest(name, digest);
  const std::string grave_key = keys::grave(name, digest);
  HANSA_TRY(const Revision grave_mod, planning.view.mod_of(grave_key));
  GraveRecord grave;
  grave.operation = planning.operation;
  grave.was = std::move(manifest.record);
  grave.swept = swept;
  draft.same(manifest_key, manifest.mod).same(grave_key, grave_mod);
  draft.put(grave_key, encode(grave)).remove(manifest_key);
  return {};
}

// Removes a tag for a client, for good: what retention remembers of an earlier one must not come back (P8).
Result<void> draft_tag_removal(const Planning& planning, const oci::RepositoryName& name, const oci::Tag& tag,
                               Revision mod, Draft& draft) {
  const std::string key = keys::tag(name, tag);
  draft.same(key, mod).remove(key);
  const std::string memory = keys::expired(name, tag);
  HANSA_TRY(const Revision remembered, planning.view.mod_of(memory));
  if (remembered != 0) draft.same(memory, remembered).remove(memory);
  return {};
}

}  // namespace

Result<Plan> plan_delete_tag(const Planning& planning, const oci::RepositoryName& name, const oci::Tag& tag,
                             const std::optional<oci::Digest>& if_match) {
  HANSA_TRY(const auto current, planning.view.tag(name, tag));
  if (!current) {
    return make_error(ErrorCode::not_found, Subject::tag, "repository " + name.text() + " has no tag " + tag.text());
  }
  if (if_match && current->manifest.digest != *if_match) {
    return make_error(ErrorCode::precondition, Subject::tag,
                      "tag " + tag.text() + " does not show " + if_match->text());
  }
  Draft draft(planning.operation);
  HANSA_CHECK(draft_tag_removal(planning, name, tag, current->mod, draft));
  return std::move(draft).plan();
}

Result<Plan> plan_delete_manifest(const Planning& planning, const oci::RepositoryName& name,
                                  const oci::Digest& digest) {
  HANSA_TRY(auto manifest, planning.view.manifest_record(name, digest));
  if (!manifest) {
    return make_error(ErrorCode::not_found, Subject::manifest,
                      "manifest " + digest.text() + " is not in repository " + name.text());
  }
  HANSA_CHECK(need_loaded(planning, name));
  HANSA_TRY(const bool child, planning.view.is_child(name, digest));
  if (child) {
    return make_error(
        ErrorCode::referenced, Subject::manifest,
        "manifest " + digest.text() + " is part of an index in repository " + name.text() + "; delete the index first");
  }
  Draft draft(planning.operation);
  HANSA_CHECK(removal_gate(planning, name, draft));
  HANSA_CHECK(draft_burial(planning, name, digest, *std::move(manifest), false, draft));
  HANSA_TRY(const auto tags, planning.view.tags_of(name, digest, max_tags_per_commit));
  for (const oci::Tag& tag : tags) {
    if (draft.writes() + writes_per_tag > most_removals) break;  // invisible at once, swept later
    HANSA_TRY(const Revision mod, planning.view.mod_of(keys::tag(name, tag)));
    HANSA_CHECK(draft_tag_removal(planning, name, tag, mod, draft));
  }
  return std::move(draft).plan();
}

Result<Plan> plan_delete_blob(const Planning& planning, const oci::RepositoryName& name, const oci::Digest& digest) {
  HANSA_TRY(const auto blob, planning.view.blob(name, digest));
  if (!blob) {
    return make_error(ErrorCode::not_found, Subject::blob,
                      "blob " + digest.text() + " is not in repository " + name.text());
  }
  HANSA_CHECK(need_loaded(planning, name));
  if (blob->held || blob->manifest) {
    return make_error(ErrorCode::referenced, Subject::blob,
                      "blob " + digest.text() + " is needed by a manifest in repository " + name.text() +
                          "; delete the manifest first");
  }
  HANSA_TRY(const auto link, planning.view.link(name, digest));
  Draft draft(planning.operation);
  HANSA_CHECK(removal_gate(planning, name, draft));
  LinkRecord record;
  if (link) record = link->record;
  record.operation = planning.operation;
  record.gone = true;
  record.on.clear();
  const std::string key = keys::link(name, digest);
  draft.same(key, link ? link->mod : 0).put(key, encode(record));
  return std::move(draft).plan();
}

namespace {

Result<void> draft_sweep(const Planning& planning, const oci::RepositoryName& name, const SweepItem& item,
                         Draft& draft) {
  std::string key;
  switch (item.kind) {
    case SweepKind::tag: key = keys::tag(name, item.tag); break;
    case SweepKind::expired: key = keys::expired(name, item.tag); break;
    case SweepKind::link: key = keys::link(name, item.digest); break;
    case SweepKind::grave: key = keys::grave(name, item.digest); break;
    case SweepKind::manifest: {
      HANSA_TRY(auto manifest, planning.view.manifest_record(name, item.digest));
      if (!manifest) return {};
      return draft_burial(planning, name, item.digest, *std::move(manifest), true, draft);
    }
  }
  HANSA_TRY(const Revision mod, planning.view.mod_of(key));
  draft.same(key, mod).remove(key);
  return {};
}

}  // namespace

Result<Plan> plan_sweep(const Planning& planning, const oci::RepositoryName& name, const std::vector<SweepItem>& items,
                        const SweepRules& rules, const std::optional<TaskHold>& task) {
  Draft draft(planning.operation);
  if (task) draft.same_create(task->key, task->create);
  HANSA_CHECK(removal_gate(planning, name, draft));
  const std::size_t writes_of_gate = draft.writes();
  std::vector<const SweepItem*> taken;
  for (const SweepItem& item : items) {
    if (taken.size() == max_sweep_records) break;
    // One digest may be listed as manifest and as grave; burying the one writes the other's key.
    const bool again = std::ranges::any_of(taken, [&item](const SweepItem* other) {
      const auto by_tag = [](SweepKind kind) { return kind == SweepKind::tag || kind == SweepKind::expired; };
      if (by_tag(other->kind) || by_tag(item.kind)) return *other == item;
      const bool graves = other->kind != SweepKind::link && item.kind != SweepKind::link;
      return other->digest == item.digest && (graves || other->kind == item.kind);
    });
    if (again) continue;
    HANSA_TRY(const bool may_go, planning.view.sweepable(name, item, rules));
    if (!may_go) continue;
    // A record may be several times what it holds (JSON escapes), and a commit that is too large would be so each time.
    std::optional<Draft> without;
    if (draft.bytes() > sweep_bytes / 2) without = draft;
    HANSA_CHECK(draft_sweep(planning, name, item, draft));
    if (without && draft.bytes() > sweep_bytes) {
      draft = *std::move(without);
      break;
    }
    taken.push_back(&item);
  }
  if (draft.writes() == writes_of_gate) return Plan{};
  return std::move(draft).plan();
}

}  // namespace hansa::catalog
