// PullCounter: told of every manifest that a client pulled; the counts reach the catalogue's records stats/<name> later
// (catalog/counter_plan.h, upkeep/counters.h). For people only: nothing is decided by a counter.
//
// Thread rule: any thread. Cheap enough for the hot path: no I/O, no allocation for a reference that is known already.
#pragma once

#include "oci/digest.h"
#include "oci/name.h"

namespace hansa::catalog {

class PullCounter {
 public:
  virtual ~PullCounter() = default;
  // One pull of the manifest `digest`, asked for by `tag` (null: by its digest).
  virtual void count_pull(const oci::RepositoryName& repository, const oci::Digest& digest, const oci::Tag* tag) = 0;
};

}  // namespace hansa::catalog
