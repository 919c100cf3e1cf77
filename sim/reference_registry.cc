#include "sim/reference_registry.h"

#include <algorithm>

namespace hansa::sim {

const ReferenceRegistry::Repository* ReferenceRegistry::known(const oci::RepositoryName& repository) const {
  const auto found = repositories_.find(repository);
  return found == repositories_.end() ? nullptr : &found->second;
}

// ---- blobs ------------------------------------------------------------------------------------------------------

void ReferenceRegistry::push_blob(const oci::RepositoryName& repository, const oci::Digest& digest) {
  repositories_[repository].blobs.insert(digest);
}

bool ReferenceRegistry::has_blob(const oci::RepositoryName& repository, const oci::Digest& digest) const {
  const auto* one = known(repository);
  return one != nullptr && (one->blobs.contains(digest) || one->manifests.contains(digest));
}

bool ReferenceRegistry::mount(const oci::RepositoryName& repository, const std::optional<oci::RepositoryName>& from,
                              const oci::Digest& digest) {
  const bool source = std::ranges::any_of(repositories_, [&](const auto& entry) {
    return (!from || entry.first == *from) && has_blob(entry.first, digest);
  });
  if (source) push_blob(repository, digest);
  return source;
}

bool ReferenceRegistry::Repository::holds(const oci::Digest& digest) const {
  return std::ranges::any_of(manifests, [&digest](const auto& entry) {
    const Image& image = entry.second;
    if (!image.children.empty()) return std::ranges::find(image.children, digest) != image.children.end();
    return image.blobs.contains(digest);
  });
}

ReferenceRegistry::Refusal ReferenceRegistry::delete_blob(const oci::RepositoryName& repository,
                                                          const oci::Digest& digest) {
  if (!has_blob(repository, digest)) return ErrorCode::not_found;
  auto& one = repositories_[repository];
  if (one.holds(digest)) return ErrorCode::referenced;
  one.blobs.erase(digest);
  return std::nullopt;
}

// ---- manifests --------------------------------------------------------------------------------------------------

bool ReferenceRegistry::Repository::has_parts(const Image& image) const {
  if (!image.children.empty()) {
    return std::ranges::all_of(image.children, [this](const auto& child) { return manifests.contains(child); });
  }
  return std::ranges::all_of(image.blobs, [this](const auto& blob) { return blobs.contains(blob.first); });
}

ReferenceRegistry::Refusal ReferenceRegistry::Repository::precondition(const Put& push) const {
  for (const auto& tag : push.tags) {
    const auto shown = tags.find(tag);
    const bool exists = shown != tags.end();
    if (push.if_none_match && exists) return ErrorCode::precondition;
    if (push.if_match && (!exists || shown->second != *push.if_match)) return ErrorCode::precondition;
  }
  return std::nullopt;
}

ReferenceRegistry::Refusal ReferenceRegistry::put(const oci::RepositoryName& repository, const Put& push) {
  const auto* before = known(repository);
  const Repository none;
  const Repository& looked_at = before != nullptr ? *before : none;
  if (!looked_at.has_parts(push.image)) return ErrorCode::missing_reference;
  if (const auto refusal = looked_at.precondition(push)) return refusal;
  auto& one = repositories_[repository];
  one.manifests.insert_or_assign(push.image.digest, push.image);
  for (const auto& tag : push.tags) one.tags.insert_or_assign(tag, push.image.digest);
  return std::nullopt;
}

ReferenceRegistry::Refusal ReferenceRegistry::remove(const oci::RepositoryName& repository,
                                                     const oci::Reference& reference) {
  if (!find(repository, reference)) return ErrorCode::not_found;
  auto& one = repositories_[repository];
  if (const auto* tag = std::get_if<oci::Tag>(&reference)) {
    one.tags.erase(tag->text());
    return std::nullopt;
  }
  const auto& digest = std::get<oci::Digest>(reference);
  if (one.holds(digest)) return ErrorCode::referenced;
  one.manifests.erase(digest);
  std::erase_if(one.tags, [&digest](const auto& entry) { return entry.second == digest; });
  return std::nullopt;
}

std::optional<oci::Digest> ReferenceRegistry::find(const oci::RepositoryName& repository,
                                                   const oci::Reference& reference) const {
  const auto* one = known(repository);
  if (one == nullptr) return std::nullopt;
  if (const auto* tag = std::get_if<oci::Tag>(&reference)) {
    const auto shown = one->tags.find(tag->text());
    return shown == one->tags.end() ? std::nullopt : std::optional(shown->second);
  }
  const auto& digest = std::get<oci::Digest>(reference);
  return one->manifests.contains(digest) ? std::optional(digest) : std::nullopt;
}

// ---- lists ------------------------------------------------------------------------------------------------------

std::vector<std::string> ReferenceRegistry::repositories() const {
  std::vector<std::string> names;
  for (const auto& [name, one] : repositories_) {
    if (!one.empty()) names.push_back(name.text());
  }
  return names;
}

std::optional<std::vector<std::string>> ReferenceRegistry::tags(const oci::RepositoryName& repository) const {
  const auto* one = known(repository);
  if (one == nullptr || one->empty()) return std::nullopt;
  std::vector<std::string> names;
  for (const auto& [tag, digest] : one->tags) names.push_back(tag);
  return names;
}

std::vector<std::string> ReferenceRegistry::referrers(const oci::RepositoryName& repository,
                                                      const oci::Digest& subject) const {
  std::vector<std::string> found;
  const auto* one = known(repository);
  if (one == nullptr) return found;
  for (const auto& [digest, image] : one->manifests) {
    if (image.subject == subject) found.push_back(digest.text());
  }
  return found;
}

}  // namespace hansa::sim
