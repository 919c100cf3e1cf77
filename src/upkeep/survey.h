// Survey: what a retention policy says of one repository now, read from the catalogue page by page.
//
// Each page is a snapshot of its own, so that none is held for long; what changes meanwhile is met by the commits,
// which compare every record that was decided on. Blocks: for a pool's thread. Errors are the catalogue's; too_many
// over max_surveyed.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "catalog/catalog.h"
#include "catalog/plan_retention.h"
#include "upkeep/retention.h"

namespace hansa::upkeep {

inline constexpr std::size_t max_surveyed = 1'000'000;  // tags, or untagged manifests, of one repository

struct Expiring {
  catalog::ExpiringTag tag;
  oci::Digest digest;
  std::string reason;
};

// Tags that go now. Those that name a subject (subject_in_tag) go only with `delete_referrers`, once the subject is no
// manifest here and they are `grace` old.
Result<std::vector<Expiring>> expiring_tags(catalog::Catalog& catalog, const oci::RepositoryName& name,
                                            const RetentionPolicy& policy, io::Duration grace);

// Untagged manifests that stay, whatever their age.
Result<std::set<oci::Digest>> kept_untagged(catalog::Catalog& catalog, const oci::RepositoryName& name,
                                            const KeepRules& rules);

}  // namespace hansa::upkeep
