// BlobStore: content-addressed bytes on one medium (DESIGN.md 6.1, 6.5; P1, P4). It knows nothing of repositories:
// existence for a client is decided by the catalogue, never by a file.
//
// Thread rule: every method may be called from any executor's thread. Blocking work goes to the executor's pools.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "io/task.h"
#include "oci/digest.h"

namespace hansa::blob {

using TickNumber = std::uint64_t;  // the slow clock (catalog/tick)

inline constexpr std::size_t chunk_size = 64 * 1024;  // unit of the CRC32C check, bytes

// "The digest lies fsynced on this disk, seen under its lock when the node's view stood at `tick`" (H1).
struct Receipt {
  std::string node;
  std::string disk;
  TickNumber tick = 0;
};

// Bytes of one blob, kept readable while this object lives, even if the blob is swept meanwhile.
class BlobReader {
 public:
  virtual ~BlobReader() = default;
  virtual std::uint64_t size() const = 0;
  // Checks the chunks that cover the range unless this process checked them within verifyEvery; corrupt if they are
  // rotten (the file is then quarantined and its digest reported through the store's on_corrupt hook).
  virtual io::Task<Result<void>> verify(std::uint64_t offset, std::uint64_t length) = 0;
  // True if verify() of this range would return at once (no disk work needed).
  virtual bool is_verified(std::uint64_t offset, std::uint64_t length) const = 0;
  // Verified bytes at `offset`; fewer than out.size() only at the end.
  virtual io::Task<Result<std::size_t>> read(std::uint64_t offset, Bytes out) = 0;
  // For sendfile of ranges that verify() passed; -1 where there is none.
  virtual int descriptor() const = 0;
  // Its bytes are still coming from elsewhere, and whoever reads waits for them; what came is right.
  virtual bool is_growing() const { return false; }
};

// An upload's bytes before they have a name. Not thread-safe: one request at a time (registry's sessions see to it).
// Survives a restart as a file; its hash is then computed from its start again (H12).
class StagedBlob {
 public:
  virtual ~StagedBlob() = default;
  virtual std::uint64_t size() const = 0;
  // Appends; after an error the length is what it was before.
  virtual io::Task<Result<void>> append(ConstBytes data) = 0;
  virtual oci::Algorithm algorithm() const = 0;
};

// What a staged blob has so far, read beside whoever appends to it. The bytes are unchecked: for those who check the
// whole. Readable for as long as it lives, whatever becomes of the staged blob. Any thread.
class StagedReader {
 public:
  virtual ~StagedReader() = default;
  // Fewer than out.size() only at the end of what is there; 0: nothing is there at `offset`.
  virtual io::Task<Result<std::size_t>> read(std::uint64_t offset, Bytes out) = 0;
  // For sendfile of what is there; -1 where there is none.
  virtual int descriptor() const = 0;
  virtual io::Task<Result<std::uint64_t>> size() = 0;  // now
};

struct BlobInfo {
  std::uint64_t size = 0;
};

// One file found by a walk over the store.
struct StoredBlob {
  oci::Digest digest;
  std::uint64_t size = 0;
};

struct ScrubReport {
  std::uint64_t checked = 0;  // blobs
  std::uint64_t checked_bytes = 0;
  std::vector<oci::Digest> corrupt;     // quarantined
  std::vector<oci::Digest> unreadable;  // the disk gives errors for them; they stay where they are
};

class BlobStore {
 public:
  virtual ~BlobStore() = default;

  virtual io::Task<Result<BlobInfo>> stat(oci::Digest digest) = 0;  // not_found(blob) if no file
  virtual io::Task<Result<std::shared_ptr<BlobReader>>> open(oci::Digest digest) = 0;

  // Staging. `id` is a file-name-safe session id. create: exists error if there is one; reopen: not_found(upload).
  virtual io::Task<Result<std::shared_ptr<StagedBlob>>> create_staged(std::string id, oci::Algorithm algorithm) = 0;
  virtual io::Task<Result<std::shared_ptr<StagedBlob>>> reopen_staged(std::string id, oci::Algorithm algorithm) = 0;
  // Takes in a file of the same medium as a staged blob and hashes it: no bytes are copied, the original keeps its name
  // and must not be written to any more. unsupported where there are no links; io when the file lies elsewhere.
  virtual io::Task<Result<std::shared_ptr<StagedBlob>>> adopt_staged(std::string id, std::string file,
                                                                     oci::Algorithm algorithm);
  // not_found(upload): it is not there, or has been finished.
  virtual io::Task<Result<std::shared_ptr<StagedReader>>> read_staged(std::string id) = 0;
  virtual io::Task<Result<void>> discard_staged(std::string id) = 0;  // fine if absent
  virtual io::Task<Result<std::vector<std::string>>> list_staged() = 0;

  // Verifies the staged bytes against `expected` (invalid(digest) if they differ: nothing changed), then: fsync,
  // rename over whatever had that name, fsync of the directory. On success the blob is durable and the staged file
  // gone. A failed fsync quarantines the file and is an error (P1). Empty staged files are fine.
  virtual io::Task<Result<Receipt>> finish(std::shared_ptr<StagedBlob> staged, oci::Digest expected) = 0;

  // Small content (manifests) in one step, same promises.
  virtual io::Task<Result<Receipt>> put(oci::Digest digest, std::string content) = 0;

  // A fresh receipt for a blob that is here already: its file is seen under the per-digest lock. not_found(blob).
  virtual io::Task<Result<Receipt>> renew_receipt(oci::Digest digest) = 0;
};

// Powers that upkeep needs; separate from what requests use.
class BlobMaintenance {
 public:
  virtual ~BlobMaintenance() = default;
  // Digests greater than `after`, in order, at most `limit`.
  virtual io::Task<Result<std::vector<StoredBlob>>> list(std::optional<oci::Digest> after, std::size_t limit) = 0;
  // Moves each file to the trash if `unnamed` says so under the per-digest lock and the view has passed two ticks since
  // its last receipt and since the process start (H1). Returns how many moved; on an error some may have. `unnamed` is
  // called on a pool's thread and looks at the newest view. Neighbours in one call share their syncs.
  virtual io::Task<Result<std::size_t>> sweep(std::vector<oci::Digest> digests,
                                              std::function<bool(const oci::Digest&)> unnamed) = 0;
  // Unlinks what lies in the trash since before the tick before the current one; returns how many.
  virtual io::Task<Result<std::size_t>> empty_trash() = 0;
  // Moves what lies in the trash back to its place, durably, and leaves what has come anew; returns how many moved.
  // What nothing names is swept again, two ticks from now at the earliest.
  virtual io::Task<Result<std::size_t>> restore_trash() = 0;
  // Re-hashes one blob fully; corrupt when it is not its digest (quarantined).
  virtual io::Task<Result<void>> scrub(oci::Digest digest) = 0;
};

}  // namespace hansa::blob
