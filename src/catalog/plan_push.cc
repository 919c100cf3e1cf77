#include <algorithm>

#include "catalog/plan_parts.h"

namespace hansa::catalog {

Result<Plan> plan_link(const Planning& planning, const LinkUpload& upload) {
  Draft draft(planning.operation);
  LinkRecord record;
  record.operation = planning.operation;
  record.size = upload.size;
  HANSA_TRY(record.on, count_receipts(planning, upload.receipts, draft));
  const std::string key = keys::link(upload.repository, upload.digest);
  // Put also where the view shows the link already: only the commit knows that it was not deleted meanwhile (H9).
  HANSA_TRY(const Revision mod, planning.view.mod_of(key));
  draft.same(key, mod).put(key, encode(record));
  HANSA_CHECK(found_repository(planning, upload.repository, draft));
  return std::move(draft).plan();
}

namespace {

Error no_blob(const oci::RepositoryName& name, const oci::Digest& digest) {
  return make_error(ErrorCode::not_found, Subject::blob,
                    "blob " + digest.text() + " is not in repository " + name.text());
}
Error no_manifest(const oci::RepositoryName& name, const oci::Digest& digest) {
  return make_error(ErrorCode::not_found, Subject::manifest,
                    "manifest " + digest.text() + " is not in repository " + name.text());
}

}  // namespace

Result<Plan> plan_mount(const Planning& planning, const Mount& mount) {
  HANSA_TRY(const auto source, planning.view.blob(mount.from, mount.digest));
  if (!source) return no_blob(mount.from, mount.digest);
  Draft draft(planning.operation);
  HANSA_CHECK(compare_tick(planning, draft));
  const std::string key = keys::link(mount.repository, mount.digest);
  // What gives presence in the source must still do so at the commit: the link, else one manifest.
  if (source->linked) {
    const std::string source_key = keys::link(mount.from, mount.digest);
    HANSA_TRY(const Revision mod, planning.view.mod_of(source_key));
    if (source_key != key) draft.same(source_key, mod);
  } else {
    HANSA_TRY(const auto holder, planning.view.holder_of(mount.from, mount.digest));
    if (!holder) return no_blob(mount.from, mount.digest);
    const std::string holder_key = keys::manifest(mount.from, *holder);
    HANSA_TRY(const Revision mod, planning.view.mod_of(holder_key));
    draft.same(holder_key, mod);
  }
  LinkRecord record;
  record.operation = planning.operation;
  record.size = source->size;
  HANSA_TRY(const Revision mod, planning.view.mod_of(key));
  draft.same(key, mod).put(key, encode(record));
  HANSA_CHECK(found_repository(planning, mount.repository, draft));
  return std::move(draft).plan();
}

Result<Plan> plan_renew_blob(const Planning& planning, const oci::RepositoryName& name, const oci::Digest& digest) {
  HANSA_TRY(const auto blob, planning.view.blob(name, digest));
  if (!blob) return no_blob(name, digest);
  if (blob->held || !blob->linked) {
    // A manifest holds it; or it is itself a manifest, which protects its bytes as long as it is there.
    if (blob->held) return Plan{};
    return plan_renew_manifest(planning, name, digest);
  }
  HANSA_TRY(auto link, planning.view.link(name, digest));
  if (!link) return no_blob(name, digest);
  HANSA_TRY(const std::uint64_t age, planning.view.age(link->mod));
  if (age < renew_age) return Plan{};
  Draft draft(planning.operation);
  HANSA_CHECK(compare_tick(planning, draft));
  link->record.operation = planning.operation;
  const std::string key = keys::link(name, digest);
  draft.same(key, link->mod).put(key, encode(link->record));
  return std::move(draft).plan();
}

Result<Plan> plan_renew_manifest(const Planning& planning, const oci::RepositoryName& name, const oci::Digest& digest) {
  HANSA_TRY(auto manifest, planning.view.manifest_record(name, digest));
  if (!manifest) return no_manifest(name, digest);
  HANSA_TRY(const bool held, planning.view.manifest_held(name, digest));
  if (held) return Plan{};
  HANSA_TRY(const std::uint64_t age, planning.view.manifest_age(name, digest));
  if (age < renew_age) return Plan{};
  Draft draft(planning.operation);
  HANSA_CHECK(compare_tick(planning, draft));
  manifest->record.operation = planning.operation;
  manifest->record.pushed_mod = manifest->record.pushed_at(manifest->mod);
  const std::string key = keys::manifest(name, digest);
  draft.same(key, manifest->mod).put(key, encode(manifest->record));
  return std::move(draft).plan();
}

namespace {

Result<void> check_references(const Planning& planning, const ManifestPut& put) {
  for (const ReferenceItem& item : references_of(*put.manifest)) {
    const oci::Digest& digest = item.descriptor.digest;
    bool there = true;
    if (item.kind == ReferenceKind::child) {
      // A grave never satisfies for a child: its record would be missing.
      HANSA_TRY(const auto child, planning.view.manifest(put.repository, digest));
      there = child.has_value();
    } else if (item.kind != ReferenceKind::foreign) {
      HANSA_TRY(there, planning.view.satisfies_push(put.repository, digest));
    }
    if (there) continue;
    return make_error(ErrorCode::missing_reference, Subject::manifest,
                      "the manifest refers to " + digest.text() + ", which is not in repository " +
                          put.repository.text() + "; push that first");
  }
  return {};
}

Error not_as_expected(const std::string& what) {
  return make_error(ErrorCode::precondition, Subject::manifest, what + "; fetch it again and decide anew");
}

// Rights, immutability and preconditions of one tag; compares it and puts its record.
Result<void> draft_tag(const Planning& planning, const ManifestPut& put, const oci::Tag& tag, Draft& draft) {
  HANSA_TRY(const auto current, planning.view.tag(put.repository, tag));
  const oci::Digest* digest = current ? &current->manifest.digest : nullptr;
  if (put.if_none_match && digest != nullptr) return not_as_expected("tag " + tag.text() + " exists already");
  if (put.if_match && (digest == nullptr || *digest != *put.if_match)) {
    return not_as_expected("tag " + tag.text() + " does not show " + put.if_match->text());
  }
  if (put.may_put_tag) HANSA_CHECK(put.may_put_tag(tag, digest));
  const std::string key = keys::tag(put.repository, tag);
  HANSA_TRY(const Revision mod, planning.view.mod_of(key));  // also of an invisible one
  TagRecord record;
  record.operation = planning.operation;
  record.digest = put.digest;
  record.media_type = put.manifest->media_type;
  record.pushed_ms = wall_ms(planning);
  record.pushed_by = put.user;
  draft.same(key, mod).put(key, encode(record));
  return {};
}

}  // namespace

Result<Plan> plan_put_manifest(const Planning& planning, const ManifestPut& put) {
  std::vector<oci::Tag> tags = put.tags;
  std::ranges::sort(tags);
  const auto repeated = std::ranges::unique(tags);
  tags.erase(repeated.begin(), repeated.end());
  if (tags.size() > max_tags_per_commit) {
    return make_error(ErrorCode::too_many, Subject::tag,
                      "one push may set at most " + std::to_string(max_tags_per_commit) + " tags");
  }
  const std::string key = keys::manifest(put.repository, put.digest);
  HANSA_TRY(const Revision mod, planning.view.mod_of(key));
  if (put.may_put_manifest) HANSA_CHECK(put.may_put_manifest(mod != 0));
  if (tags.empty() && put.if_none_match && mod != 0) return not_as_expected("the manifest exists already");
  if (tags.empty() && put.if_match && (mod == 0 || *put.if_match != put.digest)) {
    return not_as_expected("the manifest is not " + put.if_match->text());
  }
  HANSA_CHECK(check_references(planning, put));

  Draft draft(planning.operation);
  HANSA_CHECK(count_receipts(planning, put.receipts, draft));
  HANSA_CHECK(push_gate(planning, put.repository, draft));
  ManifestRecord record = make_manifest_record(*put.manifest);
  record.operation = planning.operation;
  record.pushed_ms = wall_ms(planning);
  record.pushed_by = put.user;
  draft.same(key, mod).put(key, encode(record));
  for (const oci::Tag& tag : tags) HANSA_CHECK(draft_tag(planning, put, tag, draft));

  Plan plan = std::move(draft).plan();
  if (record.details_in_body) plan.supply = Plan::Supply{put.repository, put.digest, put.manifest};
  return plan;
}

Result<Plan> plan_load_references(const Planning& planning, const oci::RepositoryName& name, const oci::Digest& digest,
                                  std::shared_ptr<const oci::Manifest> manifest) {
  HANSA_TRY(const bool loaded, planning.view.is_loaded(name, digest));
  if (loaded) return Plan{};
  Draft draft(planning.operation);
  HANSA_TRY(auto record, planning.view.manifest_record(name, digest));
  if (record) {
    record->record.operation = planning.operation;
    record->record.pushed_mod = record->record.pushed_at(record->mod);
    draft.same(keys::manifest(name, digest), record->mod);
    draft.put(keys::manifest(name, digest), encode(record->record));
  } else {
    HANSA_TRY(auto grave, planning.view.grave(name, digest));
    if (!grave) return Plan{};
    grave->record.operation = planning.operation;
    draft.same(keys::grave(name, digest), grave->mod);
    draft.put(keys::grave(name, digest), encode(grave->record));
  }
  Plan plan = std::move(draft).plan();
  plan.supply = Plan::Supply{name, digest, std::move(manifest)};
  return plan;
}

}  // namespace hansa::catalog
