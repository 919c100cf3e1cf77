#include "catalog/plan_retention.h"

#include "catalog/plan_parts.h"

namespace hansa::catalog {
namespace {

Error missing(const oci::RepositoryName& name, const std::string& what, const oci::Digest& digest) {
  return make_error(ErrorCode::missing_reference, Subject::manifest,
                    what + " refers to " + digest.text() + ", which is not in repository " + name.text());
}

Result<void> draft_expiry(const Planning& planning, const oci::RepositoryName& name, const ExpiringTag& expiring,
                          Draft& draft) {
  HANSA_TRY(auto stored, planning.view.tag_record(name, expiring.tag));
  if (!stored || stored->mod != expiring.mod) return {};
  TagRecord record = std::move(stored->record);
  record.pushed_mod = record.pushed_at(stored->mod);
  record.operation = planning.operation;
  const std::string key = keys::tag(name, expiring.tag);
  const std::string memory = keys::expired(name, expiring.tag);
  HANSA_TRY(const Revision remembered, planning.view.mod_of(memory));
  draft.same(key, stored->mod).same(memory, remembered);
  draft.remove(key).put(memory, encode(record));
  return {};
}

}  // namespace

Result<Plan> plan_expire(const Planning& planning, const oci::RepositoryName& name,
                         const std::vector<ExpiringTag>& tags, const std::optional<TaskHold>& task) {
  Draft draft(planning.operation);
  if (task) draft.same_create(task->key, task->create);
  // Each takes two writes.
  for (std::size_t i = 0; i < tags.size() && i < max_sweep_records / 2; ++i) {
    HANSA_CHECK(draft_expiry(planning, name, tags[i], draft));
  }
  if (draft.writes() == 0) return Plan{};
  return std::move(draft).plan();
}

Result<Plan> plan_put_back_manifest(const Planning& planning, const oci::RepositoryName& name,
                                    const oci::Digest& digest) {
  const std::string key = keys::manifest(name, digest);
  HANSA_TRY(const Revision there, planning.view.mod_of(key));
  if (there != 0) return Plan{};
  HANSA_TRY(auto grave, planning.view.grave(name, digest));
  if (!grave || !grave->record.swept) {
    return make_error(
        ErrorCode::not_found, Subject::manifest,
        "collection removed no manifest " + digest.text() + " from repository " + name.text() + ", or too long ago");
  }
  HANSA_CHECK(need_loaded(planning, name));
  HANSA_TRY(const auto lacking, planning.view.lacking_of(name, digest));
  if (lacking) return missing(name, "manifest " + digest.text(), *lacking);
  Draft draft(planning.operation);
  HANSA_CHECK(push_gate(planning, name, draft));
  ManifestRecord record = std::move(grave->record.was);
  record.operation = planning.operation;
  // The grave stays: it names the bytes until the manifest does, and goes by its age.
  draft.same(keys::grave(name, digest), grave->mod);
  draft.same(key, 0).put(key, encode(record));
  return std::move(draft).plan();
}

Result<Plan> plan_put_back_tag(const Planning& planning, const oci::RepositoryName& name, const oci::Tag& tag) {
  HANSA_TRY(const auto visible, planning.view.tag(name, tag));
  if (visible) return Plan{};
  HANSA_TRY(auto expired, planning.view.expired_tag(name, tag));
  if (!expired) return Plan{};
  TagRecord record = std::move(expired->record);
  const std::string manifest = keys::manifest(name, record.digest);
  HANSA_TRY(const Revision there, planning.view.mod_of(manifest));
  if (there == 0) return missing(name, "tag " + tag.text(), record.digest);
  record.operation = planning.operation;
  Draft draft(planning.operation);
  HANSA_CHECK(push_gate(planning, name, draft));
  const std::string key = keys::tag(name, tag);
  const std::string memory = keys::expired(name, tag);
  HANSA_TRY(const Revision mod, planning.view.mod_of(key));  // of an invisible one
  draft.same(manifest, there).same(key, mod).same(memory, expired->mod);
  draft.put(key, encode(record)).remove(memory);
  return std::move(draft).plan();
}

}  // namespace hansa::catalog
