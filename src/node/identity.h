// The identity of a disk: <root>/disk.json, which says whose files these are (H4).
//
//   {"format":1,"cluster":..,"node":..,"disk":..,"boot":..,"next":..,"at":..,"marks":..,"unchecked":..,"secret":..,
//    "measured_ms":..}
//
// All nonces are random hexadecimal. `secret` signs the ids of upload sessions; the file is readable by its owner's
// group at most as the folder allows. `measured_ms` is what the slow clock had measured of its tick at a clean stop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "catalog/member_records.h"
#include "catalog/records.h"
#include "io/disk.h"
#include "io/random.h"

namespace hansa::node {

struct Identity {
  std::string cluster;
  std::string node;
  std::string disk;
  std::string boot;         // nonce of the start that was committed last, as far as this file knows
  std::string next;         // nonce of the start under way
  std::uint64_t at = 0;     // revision of node/<id> as `boot` was committed, or an earlier one; 0: not known
  std::uint64_t marks = 0;  // number of the newest mark (holds/<id>) that this disk may have put
  bool unchecked = false;   // the catalogue did not know this disk, and its files were not all hashed since
  std::string secret;
  std::int64_t measured_ms = 0;
};

Identity make_identity(io::Random& random);

// Empty when there is none. corrupt(file) with what to do when it cannot be understood.
Result<std::optional<Identity>> read_identity(io::Disk& disk, const std::string& root);
// Durable on return.
Result<void> write_identity(io::Disk& disk, const std::string& root, const Identity& identity);

// The identity of `root`, made and stored if there is none: for what must know the node's id before the node starts.
Result<Identity> prepare_identity(io::Disk& disk, io::Random& random, const std::string& root);

// Whether the catalogue knows this disk as the one that its last start used, and as old as it is; else it is empty,
// cloned or restored. `mark`: holds/<id>, or null.
bool is_same_disk(const Identity& identity, const catalog::NodeRecord& record, const catalog::HoldsRecord* mark);

}  // namespace hansa::node
