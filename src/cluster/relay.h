// Relay: the second copy of an upload, made while its bytes arrive (cut-through, DESIGN.md 6.1): the peer hashes,
// writes and syncs on its own, and gives its receipt at the end. So a push takes one transfer, not two.
//
//   auto relay = relays.begin(algorithm);              // with the session; null: no other copy is needed, or possible
//   relay->resume(scope, staged.size());               // at each request with a body
//   co_await relay->write(bytes);                      // after the own disk has taken them
//   relay->settle(); co_await scope.join();            // the peer has the bytes of this request, or never will
//   auto receipt = co_await relay->finish(digest, size);
//
// A relay is help, never a condition: whatever goes wrong with it (a peer that is slow, ends or refuses; a session
// that was reopened) ends the relay and not the upload, and Copies::confirm() makes the copy afterwards. Short bodies
// are not relayed: one message at the end is cheaper.
//
// The peer keeps what came under the sender's id and a random one, and drops what nobody went on with for idle_limit.
//
// Thread rule: a Relay is used by one request at a time, each on its executor; Relays from any thread. What is given
// outlives it; Relays outlives its relays.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

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

namespace hansa::cluster {

struct RelayOptions {
  std::size_t relay_from = 256 * 1024;                  // bytes of a body before a peer is bothered
  std::size_t buffer = 2 * 1024 * 1024;                 // bytes that wait for the peer, per upload
  std::size_t max_relays = 256;                         // uploads that are relayed at once, from here
  std::size_t max_received = 1024;                      // uploads of peers that are kept here
  io::Duration stall_limit = std::chrono::seconds(2);   // the peer takes nothing for so long: it is given up
  io::Duration ask_limit = std::chrono::seconds(2);     // of a call without a body
  io::Duration sync_limit = std::chrono::seconds(10);   // for the peer's fsync, and as much per GiB
  io::Duration body_limit = std::chrono::minutes(10);   // here: no byte from the sender for so long
  io::Duration keep_target = std::chrono::seconds(10);  // uploads that follow so soon go to the same member
  io::Duration idle_limit = std::chrono::minutes(10);   // here: no request for so long
};

class Relays;

class Relay {
 public:
  Relay(Relays& relays, io::NodeId to, oci::Algorithm algorithm, std::string id);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // The body of one request follows, from `offset` on. The call to the peer runs in `scope`, which the caller joins
  // after settle().
  void resume(io::TaskScope& scope, std::uint64_t offset);
  io::Task<void> write(ConstBytes bytes);
  void settle();  // the body is over

  // The peer's receipt. unavailable: it has other bytes than these `size`, or does not answer; the relay is over.
  io::Task<Result<catalog::Receipt>> finish(oci::Digest digest, std::uint64_t size);
  // The upload is given up: the peer need not keep the bytes.
  io::Task<void> drop();

  bool good() const { return !failed_; }  // there is something to finish or to go on with

 private:
  io::Task<void> carry(std::shared_ptr<Pipe> pipe, std::uint64_t offset);
  void fail(const Error& why);
  std::string arguments(std::uint64_t offset) const;

  Relays& relays_;
  const io::NodeId to_;
  const oci::Algorithm algorithm_;
  const std::string id_;
  std::uint64_t has_ = 0;  // the peer, as it said
  bool failed_ = false;
  // Of the request under way.
  io::TaskScope* scope_ = nullptr;
  std::shared_ptr<Pipe> pipe_;
  std::uint64_t begins_ = 0;
  std::uint64_t written_ = 0;
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

  std::shared_ptr<Relay> begin(oci::Algorithm algorithm);

  void serve(PeerDispatch& dispatch);
  // Drops what its senders forgot; for as long as the node runs.
  io::Task<void> expire_loop();
  io::Task<void> expire();
  // Whether a staged file is one that a peer's upload is written to.
  bool is_staging(const std::string& id) const;

 private:
  friend class Relay;
  struct Received {
    std::string file;
    std::shared_ptr<blob::StagedBlob> staged;
    bool busy = false;
    io::MonotonicTime used;
  };
  using Key = std::pair<io::NodeId, std::string>;

  std::optional<io::NodeId> choose();
  void avoid(const io::NodeId& id);  // it failed: the next upload need not go there
  io::Task<Result<std::shared_ptr<Received>>> take(Key key, oci::Algorithm algorithm, std::uint64_t offset);
  void give_back(Received& received);
  io::Task<void> discard(Key key, std::shared_ptr<Received> received);
  io::Task<Result<io::PeerResponse>> on_append(io::NodeId from, io::PeerRequest request);
  io::Task<Result<io::PeerResponse>> on_finish(io::NodeId from, io::PeerRequest request);
  io::Task<Result<io::PeerResponse>> on_drop(io::NodeId from, io::PeerRequest request);

  const Ports p_;
  const RelayOptions options_;
  mutable std::mutex mutex_;
  std::map<Key, std::shared_ptr<Received>> received_;
  io::NodeId chosen_;
  io::MonotonicTime chosen_at_;
  std::atomic<std::size_t> relays_ = 0;
};

}  // namespace hansa::cluster
