// Copies: the bytes of blobs between the members of a cluster: W of them hold a blob before it is named (P1), and who
// lacks one fetches it from who has it.
//
//   confirm   receipts of W members of the layout (H1, H4). Who lacks the bytes is sent them from the own store; who
//             fails or is slow is replaced by another.
//   obtain    the blob from the own store, fetched into it first where it is missing. Any number of simultaneous
//             callers make one fetch. Every byte is checked by the digest before anybody sees it.
//   serve     the verbs blob.get, blob.put and blob.receipt. A peer's blob.get never fetches onward (T9), and
//             receiving has slots of its own and waits for nothing remote (T8).
//
// Thread rule: any executor's thread. What it is given outlives it, and it outlives every call and the network's
// handlers.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "blob/store.h"
#include "catalog/catalog.h"
#include "cluster/membership.h"
#include "cluster/peer_dispatch.h"
#include "cluster/slots.h"
#include "io/random.h"

namespace hansa::cluster {

struct CopiesOptions {
  std::size_t max_sends = 16;                               // bodies on their way to peers
  std::size_t max_receives = 32;                            // bodies that peers send, written here
  std::size_t max_fetches = 16;                             // blobs that are fetched
  std::size_t max_serves = 64;                              // bodies that peers read here
  io::Duration ask_limit = std::chrono::seconds(2);         // of a call without a body
  io::Duration stall_limit = std::chrono::seconds(2);       // no byte for so long: another source (T9)
  io::Duration send_stall_limit = std::chrono::seconds(5);  // no byte taken for so long: another target
  io::Duration sync_limit = std::chrono::seconds(10);       // for the peer's fsync, and as much per GiB
  io::Duration patience = std::chrono::seconds(1);          // of a peer for a slot here
  io::Duration own_patience = std::chrono::seconds(30);     // of a client's request for a slot to send or fetch
};

class Copies {
 public:
  Copies(io::PeerNetwork& peers, const Membership& members, blob::BlobStore& blobs, catalog::Catalog& catalog,
         io::Random& random, Logger& log, CopiesOptions options = {});

  void serve(PeerDispatch& dispatch);

  // `own` and as many others' as the layout's W asks for; `relayed`: one that is there already (relay.h). Nobody is
  // asked where W is 1. unavailable: that many copies cannot be had now.
  io::Task<Result<std::vector<catalog::Receipt>>> confirm(oci::Digest digest, std::uint64_t size, blob::Receipt own,
                                                          std::optional<catalog::Receipt> relayed = std::nullopt);
  // Whom an upload's second copy may go to while it arrives, the best first; none where no other copy is needed.
  std::vector<io::NodeId> second_copies();

  // unavailable(blob): the bytes cannot be had now; out_of_space, io: of the own disk; cancelled.
  io::Task<Result<std::shared_ptr<blob::BlobReader>>> obtain(oci::Digest digest);

  // The members that may be asked, the best first; `in_layout`: whose receipts count.
  std::vector<io::NodeId> others(bool in_layout);

  // Whether a staged file is one that is written now by obtain() or for a peer: nobody else may discard it.
  bool is_staging(const std::string& id) const;

  std::uint64_t fetched_blobs() const { return fetched_; }  // since the start
  std::uint64_t sent_blobs() const { return sent_; }

 private:
  struct Flight;  // a fetch under way
  enum class Purpose : std::uint8_t { confirm, fetch };

  std::vector<MemberState> candidates(Purpose purpose);
  Result<std::uint64_t> copies_needed();
  bool counts(const MemberState& member, const catalog::Receipt& receipt) const;
  io::Task<Result<catalog::Receipt>> receipt_from(MemberState member, oci::Digest digest, std::uint64_t size);
  io::Task<Result<catalog::Receipt>> send(io::NodeId to, oci::Digest digest, std::uint64_t size);
  io::Task<Result<void>> fetch(oci::Digest digest);
  io::Task<Result<void>> fetch_from(io::NodeId source, std::shared_ptr<blob::StagedBlob> staged, oci::Digest digest);
  io::Task<Result<io::PeerResponse>> ask(io::NodeId to, std::string verb, std::string arguments);
  io::Task<Result<void>> fetch_once(oci::Digest digest);
  io::Task<void> drop_staged(std::shared_ptr<blob::StagedBlob> staged, std::string id);
  void end_flight(const oci::Digest& digest, const Result<void>& outcome);

  io::Task<Result<io::PeerResponse>> on_get(io::PeerRequest request);
  io::Task<Result<io::PeerResponse>> on_put(io::PeerRequest request);
  io::Task<Result<io::PeerResponse>> on_receipt(io::PeerRequest request);

  struct Ports {
    io::PeerNetwork& peers;
    const Membership& members;
    blob::BlobStore& blobs;
    catalog::Catalog& catalog;
    io::Random& random;
    Logger& log;
  };
  const Ports ports_;
  const CopiesOptions options_;
  Slots sends_;
  Slots receives_;
  Slots fetches_;
  Slots serves_;
  mutable std::mutex mutex_;
  std::map<oci::Digest, std::shared_ptr<Flight>> flights_;
  std::set<std::string> staging_;
  std::map<io::NodeId, std::size_t> sending_;  // bodies under way, by target
  std::atomic<std::uint64_t> fetched_ = 0;
  std::atomic<std::uint64_t> sent_ = 0;
};

}  // namespace hansa::cluster
