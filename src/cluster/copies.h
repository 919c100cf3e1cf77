// Copies: the bytes of blobs on more than one member: second copies before a commit names them (P1), and bytes that this
// node lacks from a member that has them.
//
// Serves the verbs ping, blob.get, blob.put and blob.receipt (cluster/peer_dispatch.h): a peer's get never fetches
// onward (trap T9), and receiving has slots of its own and waits for nothing remote (T8). Everything given outlives it.
// Thread rule: any executor's thread.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/log.h"
#include "blob/store.h"
#include "catalog/catalog.h"
#include "cluster/membership.h"
#include "cluster/peer_dispatch.h"
#include "io/random.h"
#include "io/wait.h"

namespace hansa::cluster {

inline constexpr std::size_t max_receiving = 256;  // blobs from peers at the same time; more are too_many
inline constexpr io::Duration receipt_deadline = std::chrono::seconds(2);
inline constexpr io::Duration small_copy_deadline = std::chrono::seconds(5);
inline constexpr std::uint64_t small_copy = 64 * KiB;  // sent without asking first whether the peer has it

class Copies {
 public:
  Copies(io::PeerNetwork& peers, const Membership& members, blob::BlobStore& blobs, catalog::Catalog& catalog,
         io::Random& random, Logger& log);

  void serve(PeerDispatch& dispatch);

  // `own` and further receipts, as many as the layout's W asks for. A member that has the blob is not sent it; one that
  // fails or is slow is replaced by another. unavailable: the other copies cannot be had now.
  io::Task<Result<std::vector<catalog::Receipt>>> confirm(oci::Digest digest, blob::Receipt own);

  // The blob from this node's disk, fetched from a member first if it is not there: one fetch for all who wait.
  // unavailable: nobody has it now.
  io::Task<Result<std::shared_ptr<blob::BlobReader>>> obtain(oci::Digest digest);

  // Live members that are not this node, the least busy first.
  std::vector<io::NodeId> others(bool in_layout) const;

 private:
  using Fetched = io::Completion<Result<void>>;
  io::Task<Result<catalog::Receipt>> receipt_from(io::NodeId peer, oci::Digest digest);
  io::Task<Result<catalog::Receipt>> ask_receipt(io::NodeId peer, oci::Digest digest);
  io::Task<Result<catalog::Receipt>> send_copy(io::NodeId peer, oci::Digest digest,
                                               std::shared_ptr<blob::BlobReader> reader);
  io::Task<Result<void>> fetch(oci::Digest digest);
  io::Task<Result<void>> fetch_from(io::NodeId peer, oci::Digest digest);
  io::Task<Result<blob::Receipt>> take(std::shared_ptr<io::ByteSource> body, oci::Digest digest, std::uint64_t size);
  io::Task<Result<void>> fill(blob::StagedBlob* staged, io::ByteSource* body, std::uint64_t size);

  io::Task<Result<io::PeerResponse>> answer_get(io::PeerRequest request);
  io::Task<Result<io::PeerResponse>> answer_put(io::PeerRequest request);
  io::Task<Result<io::PeerResponse>> answer_receipt(io::PeerRequest request);

  io::PeerNetwork& peers_;
  const Membership& members_;
  blob::BlobStore& blobs_;
  catalog::Catalog& catalog_;
  io::Random& random_;
  Logger& log_;
  std::atomic<std::size_t> receiving_ = 0;
  std::mutex mutex_;
  std::map<oci::Digest, std::vector<Fetched>> flights_;  // who waits for a fetch under way
};

}  // namespace hansa::cluster
