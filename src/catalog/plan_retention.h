// Planners of retention (upkeep/retention.h) and of the undo. Rules and errors as in plan.h.
//
// A tag that retention removes leaves expired/<name>:<tag>, which is swept at twice the age of graves
// (SweepRules::expired_age). Until then, and while the grave of a manifest that collection removed stands, both can be
// put back: a grave names its bytes, so they lie where they lay. What a client deleted is never put back (P8).
#pragma once

#include <optional>
#include <vector>

#include "catalog/plan.h"

namespace hansa::catalog {

struct ExpiringTag {
  oci::Tag tag;
  Revision mod = 0;  // as it was decided on: a tag that was pushed since stays
};
// Removes up to max_sweep_records of `tags`. Empty when each was changed or is gone.
Result<Plan> plan_expire(const Planning& planning, const oci::RepositoryName& name,
                         const std::vector<ExpiringTag>& tags, const std::optional<TaskHold>& task = std::nullopt);

// Puts back a manifest that collection removed. Empty if it is there; not_found(manifest) if no sweep's grave says what
// it was; missing_reference(manifest) naming what it refers to and is not there: put that back first.
Result<Plan> plan_put_back_manifest(const Planning& planning, const oci::RepositoryName& name,
                                    const oci::Digest& digest);

// Puts back a tag that retention removed, with its age. Empty if a tag of that name exists, or nothing is known of one;
// missing_reference(manifest) while its manifest is not there.
Result<Plan> plan_put_back_tag(const Planning& planning, const oci::RepositoryName& name, const oci::Tag& tag);

}  // namespace hansa::catalog
