// Replica: a copy of a metadata store that lives elsewhere, in one SQLite file: the same records and projections as
// sqlite::Store, but written by the store's feed instead of by commits. synchronous=NORMAL: what power loss takes is
// fed again. One change set is never split over two transactions.
//
// Thread rule: apply, load and discard from one thread at a time; position() and read() from any.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/clock.h"
#include "meta/sqlite/database.h"
#include "meta/store.h"

namespace hansa::meta::sqlite {

struct ReplicaPosition {
  Revision revision = 0;           // everything up to it is applied
  std::uint64_t head_version = 0;  // of the key `head`, as applied
  std::string head_operation;
  std::string origin;  // identity of the store that it copies (cluster id and nonce); empty: a new file
};

// 128-bit sums over the records of each first path component, in order, hexadecimal.
struct ReplicaSums {
  Revision revision = 0;  // of what was read
  std::vector<std::pair<std::string, std::string>> sums;
};

// Changed records in one transaction of a load.
inline constexpr std::size_t load_transaction_limit = 50'000;

// A file that cannot be understood is put aside (<path>.damaged) and begun anew, for it is only a copy: when it is
// opened, or when a read or write meets the damage (and then as soon as nobody reads it). The position is then that of
// a new file, and read() and apply() are unavailable until it has been loaded.
class Replica {
 public:
  virtual ~Replica() = default;
  // Opens or makes the file.
  static Result<std::unique_ptr<Replica>> open(io::Disk& disk, io::Clock& clock, Logger& log, DatabaseOptions options,
                                               std::vector<Projection*> projections);

  // Removes the file of a replica that is closed, with what SQLite keeps beside it. What cannot be removed stays: the
  // next copy begins with the same.
  static void remove_files(io::Disk& disk, const std::string& path);

  virtual ReplicaPosition position() const = 0;
  virtual Result<std::unique_ptr<ReadTransaction>> read() = 0;

  // Applies change sets in order, all in one transaction; those at or before the position are skipped. The position is
  // published after COMMIT. A change set without `head` (leases that ended) moves the revision only.
  virtual Result<void> apply(std::span<const ChangeSet> changes) = 0;

  // Loading anew: begin_load, then pages of records in key order, then finish_load, which removes what no page named
  // and moves the position. Readers see the old state until finish_load; or, past load_transaction_limit changes,
  // states between, so the owner must not answer from it meanwhile: the file then has no origin until the end, so that
  // who opens it after a crash knows. Any other writing call abandons a load. Projections learn that history was lost.
  // Returns what changed, for listeners, with what loads before it committed in part and did not tell.
  virtual Result<void> begin_load() = 0;
  virtual Result<void> load(std::span<const KeyValue> page) = 0;
  virtual Result<ChangeSet> finish_load(Revision revision, std::string origin) = 0;

  // Removes every record (the store went back in time, or is another one).
  virtual Result<void> discard() = 0;
  virtual Result<void> set_origin(std::string origin) = 0;
  // SQLite backup into a new file (exists: it is there), while others read and write this one. It opens as a replica.
  virtual Result<void> copy_to(const std::string& path) = 0;
  // See etcd::ViewSums; leased keys (alive/, task/) are left out.
  virtual Result<ReplicaSums> sums() = 0;
};

}  // namespace hansa::meta::sqlite
