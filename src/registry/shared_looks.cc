#include "registry/shared_looks.h"

#include <functional>
#include <string>

namespace hansa::registry {

SharedLooks::Look& SharedLooks::place(const oci::RepositoryName& repository, const oci::Reference& reference) {
  const auto* const tag = std::get_if<oci::Tag>(&reference);
  const std::size_t of_reference = tag != nullptr ? std::hash<std::string>{}(tag->text())
                                                  : std::hash<oci::Digest>{}(std::get<oci::Digest>(reference));
  return looks_[(std::hash<oci::RepositoryName>{}(repository) ^ of_reference) % places];
}

std::optional<catalog::ManifestState> SharedLooks::find(std::uint64_t round, const oci::RepositoryName& repository,
                                                        const oci::Reference& reference) {
  if (round == 0) return std::nullopt;
  const std::lock_guard guard(mutex_);
  const Look& look = place(repository, reference);
  if (look.round != round || look.reference != reference || look.repository != repository) return std::nullopt;
  return look.state;
}

void SharedLooks::put(std::uint64_t round, const oci::RepositoryName& repository, const oci::Reference& reference,
                      const catalog::ManifestState& state) {
  if (round == 0) return;
  const std::lock_guard guard(mutex_);
  place(repository, reference) = {.round = round, .repository = repository, .reference = reference, .state = state};
}

}  // namespace hansa::registry
