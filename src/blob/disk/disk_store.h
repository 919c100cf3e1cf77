// DiskBlobStore: BlobStore on a local disk (P1, P4).
//
//   blobs/<algorithm>/<2 hex>/<hex>       the bytes; a name appears only by rename of a verified, fsynced file
//   blobs/<algorithm>/<2 hex>/<hex>.crc   CRC32C per 64 KiB (sidecar.h)
//   staging/<id>                          uploads under way; survive a restart
//   trash/<tick>-<algorithm>-<hex>        swept; unlinked a tick later
//   quarantine/<algorithm>-<hex>-<nonce>  damaged; never served, kept up to max_quarantined
//
// A crash at any point leaves a blob whole or absent; its sums whole or made anew at the next open(), after the bytes
// were hashed. A failed fsync gives up the file and the upload (P1); any other failure of finish() leaves the upload as
// it was, so that it may be tried again. A full disk is out_of_space and loses nothing. open() of a blob that is open
// already answers on the caller's thread; at most `open_blobs` files are kept so.
//
// The disk, clock, random source and logger outlive the store; the store outlives its readers and staged blobs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/log.h"
#include "blob/store.h"
#include "io/clock.h"
#include "io/disk.h"
#include "io/random.h"

namespace hansa::blob::disk {

struct DiskStoreOptions {
  std::string root;  // absolute, exists
  std::string node;  // for receipts
  std::string disk;
  io::Duration verify_every = std::chrono::hours(24);  // 0: every read is checked
  std::size_t open_blobs = 1024;                       // files kept open, with what is known of their chunks
  std::size_t chunk_memory = 32 * 1024 * 1024;         // bytes for what is known of chunks, over all open blobs
  // Nobody knows what the files here are (a disk that was restored or copied, H4): until believe_all() a file that was
  // here at the start gives a receipt only once it was hashed.
  bool unchecked = false;
  // Damaged files that are kept for whoever wants to look at them; further ones are deleted. 0: all are kept, as they
  // may be the only copy.
  std::size_t max_quarantined = 0;
  // The number of the tick at which the node's view stands now. Thread-safe, cheap.
  std::function<TickNumber()> current_tick;  // REQUIRED
  // Told of every blob that was found damaged, after it was moved to the quarantine. On a pool's thread, with no lock
  // of the store held; may be empty.
  std::function<void(const oci::Digest&)> on_corrupt;
};

class DiskBlobStore : public BlobStore, public BlobMaintenance {
 public:
  // Makes the folders and removes what an interrupted write left. Blocks; call at start-up.
  static Result<std::unique_ptr<DiskBlobStore>> open(io::Disk& disk, io::Clock& clock, io::Random& random, Logger& log,
                                                     DiskStoreOptions options);
  using BlobStore::open;
  // Every file was hashed since the start (scrub()). Any thread.
  virtual void believe_all() = 0;
};

}  // namespace hansa::blob::disk
