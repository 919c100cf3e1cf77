// Relay: the second copy of an upload, made while its bytes arrive (cut-through, DESIGN.md 6.1): the peer hashes,
// writes and syncs on its own, and gives its receipt at the end. So a push takes one transfer, not two.
//
//   auto relay = relays.begin(upload);                 // null: no other copy is needed, or possible
//   relay->resume(scope, staged.size(), from);         // at each request with a body
//   co_await relay->write(bytes);                      // after the own disk has taken them
//   relay->settle(); co_await scope.join();            // the peer has the bytes of this request, or never will
//   auto receipt = co_await relay->finish(digest, size);
//
// A relay is help, never a condition: whatever goes wrong with it (a peer that is slow, ends or refuses) ends the relay
// and not the upload. One that began later than the upload sends from the staged file what came before. What was not
// relayed, Copies::confirm() copies at the end; for a short body that is cheaper.
//
// The peer keeps what came under the session's id, also when the sender breaks off in the middle: should the sender be
// lost, the peer goes on with the session (registry/session_search.h says who is believed). Each time a member takes a
// session up, its `term` grows; bytes of an older term than what is here are refused (`conflict`), and their sender
// learns so that it has the session no more. What nobody went on with is dropped after idle_limit.
//
// Thread rule: a Relay is used by one request at a time, each on its executor; Relays from any thread. What is given
// outlives it; Relays outlives its relays.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "blob/store.h"
#include "catalog/records.h"
#include "cluster/copies.h"
#include "cluster/peer_dispatch.h"
#include "cluster/pipe.h"
#include "cluster/pulses.h"
#include "io/clock.h"
#include "io/random.h"
#include "io/scope.h"
#include "io/wait.h"

namespace hansa::cluster {

inline constexpr std::size_t relay_from = 256 * 1024;  // bytes of a whole blob before a peer is bothered with them

struct RelayOptions {
  std::size_t buffer = 2 * 1024 * 1024;                    // bytes that wait for the peer, per upload
  std::size_t max_relays = 256;                            // bodies that are relayed at once, from here
  std::size_t max_received = 1024;                         // uploads of peers that are kept here
  io::Duration stall_limit = std::chrono::seconds(2);      // the peer takes nothing for so long: it is given up
  io::Duration ask_limit = std::chrono::seconds(2);        // of a call without a body
  io::Duration sync_limit = std::chrono::seconds(10);      // for the peer's fsync, and as much per GiB
  io::Duration body_limit = std::chrono::minutes(10);      // here: no byte from the sender for so long
  io::Duration keep_target = std::chrono::seconds(10);     // uploads that begin so soon after the end of one follow it
  io::Duration idle_limit = std::chrono::minutes(10);      // here: no request for so long
  io::Duration take_over_limit = std::chrono::seconds(2);  // here: for a sender's last bytes, before it is cut off
};

// What is relayed, as both sides know it.
struct RelayedUpload {
  std::string id;  // the session's
  oci::Algorithm algorithm = oci::Algorithm::sha256;
  std::uint64_t term = 0;
  bool keep = false;  // the client knows the session: what came of a body that broke off is of use
};

class Relays;

class Relay {
 public:
  Relay(Relays& relays, io::NodeId to, RelayedUpload upload);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // The body of one request follows, from `offset` on; one of fewer bytes than `from` is not relayed, where nothing was
  // before. The call to the peer runs in `scope`, which the caller joins after settle().
  void resume(io::TaskScope& scope, std::uint64_t offset, std::size_t from);
  io::Task<void> write(ConstBytes bytes);
  void settle();  // the body is over
  // All of the staged upload's `size` bytes that the peer lacks: begun in `scope`, which the caller joins.
  void catch_up(io::TaskScope& scope, std::uint64_t size);
  // Asks the peer whether it still takes the upload from here.
  io::Task<void> check();

  // The peer's receipt. unavailable: it has other bytes than these `size`, or does not answer; the relay is over.
  io::Task<Result<catalog::Receipt>> finish(oci::Digest digest, std::uint64_t size);
  // The upload is given up: the peer need not keep the bytes.
  io::Task<void> drop();

  bool good() const { return !failed_; }           // there is something to finish or to go on with
  bool superseded() const { return superseded_; }  // another member has taken the session up since
  std::uint64_t has() const { return has_; }       // the peer, as it said; bytes
  const io::NodeId& to() const { return to_; }

 private:
  io::Task<void> carry(std::shared_ptr<Feed> feed);
  void start();
  void end_request();
  void note(const Result<io::PeerResponse>& answer);
  void fail(const Error& why);
  std::string arguments(std::uint64_t offset) const;

  Relays& relays_;
  const io::NodeId to_;
  const RelayedUpload upload_;
  std::uint64_t has_ = 0;
  bool failed_ = false;
  bool superseded_ = false;
  // Of the request under way.
  bool counted_ = false;
  io::TaskScope* scope_ = nullptr;
  std::shared_ptr<Feed> feed_;
  std::size_t from_ = 0;
  std::uint64_t begins_ = 0;
  std::uint64_t ends_ = 0;
  bool carrying_ = false;
};

class Relays {
 public:
  struct Ports {
    io::PeerNetwork& peers;
    Copies& copies;
    const Pulses& pulses;
    blob::BlobStore& blobs;
    io::Clock& clock;
    io::Random& random;
    Logger& log;
  };
  explicit Relays(Ports ports, RelayOptions options = {}) : p_(ports), options_(options) {}

  // `except`: who has just failed, and is asked again only if there is nobody else.
  std::shared_ptr<Relay> begin(RelayedUpload upload, const io::NodeId& except = {});

  // Told of an upload that a member begins to relay here, before it is taken: conflict if this node has it itself and
  // is not to give way. Set once, before serve().
  using MakeWay = std::function<io::Task<Result<void>>(io::NodeId from, std::string id, std::uint64_t term)>;
  void set_make_way(MakeWay make_way) { make_way_ = std::move(make_way); }

  // What is kept of an upload here.
  struct Kept {
    std::uint64_t term = 0;
    std::uint64_t size = 0;  // bytes, before the request under way
  };
  std::optional<Kept> kept(const std::string& id) const;
  // Hands out what is kept: its staged file has the upload's id. Whoever still sends is cut off. Null: nothing is kept.
  io::Task<Result<std::shared_ptr<blob::StagedBlob>>> take_over(std::string id);

  void serve(PeerDispatch& dispatch);
  // Drops what its senders forgot; for as long as the node runs.
  io::Task<void> expire_loop();
  io::Task<void> expire();
  // Whether a staged file is one that a peer's upload is written to.
  bool is_staging(const std::string& id) const;

 private:
  friend class Relay;
  struct Received {
    io::NodeId from;
    RelayedUpload upload;
    std::shared_ptr<blob::StagedBlob> staged;
    std::uint64_t size = 0;  // when it was last given back
    bool busy = true;
    std::atomic<bool> wanted = false;  // by take_over(): whoever appends leaves off
    std::vector<io::Completion<bool>> waiting;
    io::MonotonicTime used;
  };

  std::optional<io::NodeId> choose(const io::NodeId& except);
  void used(const io::NodeId& id);   // until now
  void avoid(const io::NodeId& id);  // it failed: the next upload need not go there
  io::Task<Result<std::shared_ptr<Received>>> take(io::NodeId from, RelayedUpload upload, std::uint64_t offset);
  io::Task<Result<void>> make(std::shared_ptr<Received> received, std::uint64_t offset);
  Result<std::shared_ptr<Received>> take_known(const io::NodeId& from, const std::string& id);
  io::Task<Result<void>> given_back(std::string id);
  io::Task<Result<void>> take_in(std::shared_ptr<Received> received, std::shared_ptr<io::ByteSource> body);
  void give_back(Received& received);
  void forget(const std::string& id);
  io::Task<void> discard(std::shared_ptr<Received> received);
  io::Task<Result<io::PeerResponse>> on_append(io::NodeId from, io::PeerRequest request);
  io::Task<Result<io::PeerResponse>> on_finish(io::NodeId from, io::PeerRequest request);
  io::Task<Result<io::PeerResponse>> on_drop(io::NodeId from, io::PeerRequest request);

  const Ports p_;
  const RelayOptions options_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Received>> received_;  // by the upload's id
  MakeWay make_way_;
  io::NodeId chosen_;
  io::MonotonicTime chosen_at_;
  std::atomic<std::size_t> relays_ = 0;
};

}  // namespace hansa::cluster
