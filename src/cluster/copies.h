// Copies: the bytes of blobs between the members of a cluster: W of them hold a blob before it is named (P1), and who
// lacks one fetches it from who has it.
//
//   confirm   receipts of W members of the layout (H1, H4). Who lacks the bytes is sent them from the own store; who
//             fails or is slow is replaced by another.
//   obtain    the blob from the own store, fetched into it first where it is missing. Any number of simultaneous
//             callers make one fetch, which goes on when they are gone.
//   stream    the same, readable while it comes: its last bytes are given once the whole has the right digest, or the
//             reader fails (H11). For who reads to the end.
//   fill      the same in the background, when nobody waits for the blob: a large one only from a member with a free
//             bulk slot, also from one that is still receiving it (growth.h), so that the members form chains and trees
//             instead of all asking the uploader. Who relays an upload now gives none away. At most fill_rate bytes a
//             second, all together, unless a client comes to wait.
//   serve     the verbs blob.get, blob.put and blob.receipt. A peer's blob.get never fetches onward (T9), and
//             receiving has slots of its own and waits for nothing remote (T8).
//
// Thread rule: any executor's thread. What it is given outlives it, and it outlives every call and the network's
// handlers.
#pragma once

#include <atomic>
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
#include "cluster/growth.h"
#include "cluster/membership.h"
#include "cluster/peer_dispatch.h"
#include "cluster/slots.h"
#include "cluster/throttle.h"
#include "io/clock.h"
#include "io/random.h"
#include "io/scope.h"

namespace hansa::cluster {

struct CopiesOptions {
  std::uint64_t fill_rate = 0;                               // bytes a second of what nobody waits for; 0: no limit
  std::size_t max_sends = 16;                                // bodies on their way to peers
  std::size_t max_receives = 32;                             // bodies that peers send, written here
  std::size_t max_fetches = 16;                              // blobs that are fetched
  std::size_t max_serves = 64;                               // bodies that peers read here
  std::size_t max_bulk_serves = 1;                           // large ones for members for whom nobody waits
  std::uint64_t bulk_from = 1024 * 1024;                     // bytes of a blob that is large
  io::Duration bulk_pause = std::chrono::milliseconds(100);  // until those that were busy are asked again
  int bulk_rounds = 60;                                      // of asking, until it is fetched as if somebody waited
  io::Duration ask_limit = std::chrono::seconds(2);          // of a call without a body
  io::Duration stall_limit = std::chrono::seconds(2);        // no byte for so long: another source (T9)
  io::Duration send_stall_limit = std::chrono::seconds(5);   // no byte taken for so long: another target
  io::Duration sync_limit = std::chrono::seconds(10);        // for the peer's fsync, and as much per GiB
  io::Duration patience = std::chrono::seconds(1);           // of a peer for a slot here
  io::Duration own_patience = std::chrono::seconds(30);      // of a client's request for a slot to send or fetch
};

class Copies {
 public:
  struct Ports {
    io::PeerNetwork& peers;
    const Membership& members;
    blob::BlobStore& blobs;
    catalog::Catalog& catalog;
    io::Clock& clock;
    io::Random& random;
    Logger& log;
  };
  explicit Copies(Ports ports, CopiesOptions options = {});

  void serve(PeerDispatch& dispatch);
  // Where fetches run. Before the first obtain(), stream() or fill(); they end when it is closed.
  void run(io::TaskScope& scope) { scope_ = &scope; }

  // `own` and as many others' as the layout's W asks for; `relayed`: one that is there already (relay.h). Nobody is
  // asked where W is 1. unavailable: that many copies cannot be had now.
  io::Task<Result<std::vector<catalog::Receipt>>> confirm(oci::Digest digest, std::uint64_t size, blob::Receipt own,
                                                          std::optional<catalog::Receipt> relayed = std::nullopt);
  // Whom an upload's second copy may go to while it arrives, the best first; none where no other copy is needed.
  std::vector<io::NodeId> second_copies();

  // unavailable(blob): the bytes cannot be had now; out_of_space, io: of the own disk; cancelled.
  io::Task<Result<std::shared_ptr<blob::BlobReader>>> obtain(oci::Digest digest);
  io::Task<Result<std::shared_ptr<blob::BlobReader>>> stream(oci::Digest digest);

  // The blob is in the own store after it. The same errors.
  io::Task<Result<void>> fill(oci::Digest digest);

  // An upload's body is relayed by this node for as long as the handle lives: its link is not for others now.
  std::shared_ptr<const void> relaying();

  // The members that may be asked, the best first; `in_layout`: whose receipts count.
  std::vector<io::NodeId> others(bool in_layout);

  // Whether a staged file is one that is written now by obtain() or for a peer: nobody else may discard it.
  bool is_staging(const std::string& id) const;

  std::uint64_t fetched_blobs() const { return fetched_; }  // since the start
  std::uint64_t fetched_bytes() const { return fetched_bytes_; }
  std::uint64_t sent_blobs() const { return sent_; }
  std::uint64_t served_whole() const { return served_whole_; }      // bodies begun for members
  std::uint64_t served_growing() const { return served_growing_; }  // the same, of blobs that were still coming

 private:
  struct Flight;  // a fetch under way
  enum class Purpose : std::uint8_t { confirm, fetch };

  std::vector<MemberState> candidates(Purpose purpose);
  Result<std::uint64_t> copies_needed();
  bool counts(const MemberState& member, const catalog::Receipt& receipt) const;
  io::Task<Result<catalog::Receipt>> receipt_from(MemberState member, oci::Digest digest, std::uint64_t size);
  io::Task<Result<catalog::Receipt>> send(io::NodeId to, oci::Digest digest, std::uint64_t size);
  struct Fetching;  // the state of one
  io::Task<Result<void>> fetch(oci::Digest digest, bool background);
  io::Task<Result<void>> fetch_round(Fetching* fetching);
  io::Task<Result<void>> fetch_from(io::NodeId source, Fetching* fetching);
  io::Task<Result<void>> begin_anew(Fetching* fetching);
  void show(const oci::Digest& digest, std::shared_ptr<Growth> growth);
  bool is_urgent(const oci::Digest& digest) const;
  io::Task<Result<io::PeerResponse>> ask(io::NodeId to, std::string verb, std::string arguments);
  enum class Until : std::uint8_t { begun, ended };
  io::Task<Result<std::shared_ptr<Growth>>> join_fetch(oci::Digest digest, bool background, Until until);
  bool join_flight(const oci::Digest& digest, bool background, Until until,
                   const io::Completion<Result<std::shared_ptr<Growth>>>& completion);
  void start_fetch(oci::Digest digest, bool background);
  io::Task<void> fly(oci::Digest digest, bool background);
  io::Task<Result<std::shared_ptr<blob::BlobReader>>> open_here(oci::Digest digest);
  io::Task<void> drop_staged(std::shared_ptr<blob::StagedBlob> staged, std::string id);
  void end_flight(const oci::Digest& digest, const Result<void>& outcome);

  io::Task<Result<io::PeerResponse>> on_get(io::PeerRequest request);
  io::Task<Result<io::PeerResponse>> serve_growing(oci::Digest digest, std::uint64_t offset, GetTerms terms);
  io::Task<Result<Slots::Held>> serving_slot(GetTerms terms, std::uint64_t size);
  io::Task<Result<io::PeerResponse>> on_put(io::PeerRequest request);
  io::Task<Result<io::PeerResponse>> on_receipt(io::PeerRequest request);

  const Ports ports_;
  const CopiesOptions options_;
  Slots sends_;
  Slots receives_;
  Slots fetches_;
  Slots serves_;
  Slots bulk_serves_;
  const std::shared_ptr<std::atomic<int>> relaying_ = std::make_shared<std::atomic<int>>(0);
  mutable std::mutex mutex_;
  std::map<oci::Digest, std::shared_ptr<Flight>> flights_;
  std::set<std::string> staging_;
  std::map<io::NodeId, std::size_t> sending_;  // bodies under way, by target
  io::TaskScope* scope_ = nullptr;
  Throttle fill_throttle_;
  std::atomic<std::uint64_t> fetched_ = 0;
  std::atomic<std::uint64_t> fetched_bytes_ = 0;
  std::atomic<std::uint64_t> sent_ = 0;
  std::atomic<std::uint64_t> served_whole_ = 0;
  std::atomic<std::uint64_t> served_growing_ = 0;
};

}  // namespace hansa::cluster
