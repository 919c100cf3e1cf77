// Founding a cluster on this machine: its first voter, and the records of the single node that it was before.
#pragma once

#include <cstdint>
#include <string>

#include "base/log.h"
#include "io/task.h"
#include "meta/etcd/channel.h"
#include "meta/store.h"

namespace hansa::voters {

// Copies every record of `from`, which nobody changes meanwhile, below `prefix` of an empty etcd: in key order, so that
// a manifest is never younger than its tags; leased keys and head stay behind; the slow clock begins anew, since its
// marks are revisions of the old store (everything looks young, which is safe). Each batch puts head. exists: there are
// records below the prefix already. Returns how many were copied.
io::Task<Result<std::uint64_t>> copy_records(meta::MetadataStore& from, meta::etcd::Channel& to, std::string prefix);

}  // namespace hansa::voters
