// UploadSessions: the open uploads of one node.
//
// A session's id is random, names the member that has it (in a cluster), and carries a MAC over repository and user, so
// that it works only where it was given out, and is recognised after a restart without a record: the staged file is
// then reopened and hashed from its start (H12). One request at a time uses a session; a second one is refused. Idle
// sessions expire by ticks, never by wall time. A member may also take up a session that another one opened
// (session_search.h), under the same id.
//
// A session's owner may have only so many of them open: a user, or the client's address where nobody logged in. To go
// on with a session is never refused for that. One that outlives its process counts for its user; without one, for
// nobody. The bytes of open sessions are bounded too, of all and of one owner: there more of them are refused.
//
// Thread-safe. The blob store outlives it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/shares.h"
#include "blob/store.h"
#include "cluster/relay.h"
#include "io/peer_network.h"
#include "io/random.h"
#include "io/task.h"
#include "oci/name.h"
#include "registry/registry.h"

namespace hansa::registry {

// Whose session it is; empty: nobody known.
std::string owner_of(std::string_view user, std::string_view client);

struct SessionOptions {
  std::string secret;  // of the MACs; kept over restarts, or open sessions end with the process
  std::string node;    // of a cluster's member: stands in every id, so letters, digits, - and _; empty: one node
  std::size_t max_open = default_uploads;  // more are refused: too_many
  std::size_t max_of_one = 0;              // of one owner; more are refused: too_many; 0: no limit
  std::uint64_t max_bytes = 0;             // of all open ones; more are refused: too_many; 0: no limit
  std::uint64_t max_bytes_of_one = 0;      // of one owner's open ones; the same
  std::uint64_t idle_ticks = 10;           // a session that no request touched for so long is dropped
  std::size_t max_remembered = 10'000;     // finished ones, for repeated PUTs; the oldest go first
  // Staged files that somebody else writes now: not to be expired. Absent: there are none.
  std::function<bool(const std::string&)> in_use;
};

class UploadSessions {
 public:
  UploadSessions(blob::BlobStore& blobs, io::Random& random, std::function<blob::TickNumber()> tick,
                 SessionOptions options)
      : blobs_(blobs),
        random_(random),
        tick_(std::move(tick)),
        options_(std::move(options)),
        shares_(options_.max_of_one),
        byte_shares_(options_.max_bytes_of_one) {}

  struct Session {
    std::string id;
    std::string owner;                         // owner_of()
    std::shared_ptr<blob::StagedBlob> staged;  // null while it is opened, and once the bytes are stored
    std::optional<oci::Digest> stored;         // the bytes are in the blob store; the link may be missing
    std::uint64_t stored_size = 0;
    bool finished = false;                  // linked too: remembered for a while, so that a repeated PUT succeeds
    std::shared_ptr<cluster::Relay> relay;  // its second copy, made while the bytes come; null: none
    std::uint64_t term = 0;                 // how often a member took it up anew
    // Taken up with perhaps fewer bytes than its client was told of: a body that does not say where it belongs is
    // refused until the client has asked where the session stands.
    bool unsure = false;
    bool busy = false;
    blob::TickNumber used = 0;
    std::uint64_t received = 0;  // when it was last released
    std::uint64_t counted = 0;   // bytes of it that count for the limits
  };

  // The right to use one session until dropped. Movable.
  class Hold {
   public:
    Hold(UploadSessions& owner, std::shared_ptr<Session> session) : owner_(&owner), session_(std::move(session)) {}
    Hold(Hold&& other) noexcept : owner_(other.owner_), session_(std::move(other.session_)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (session_) owner_->release(*session_);
    }
    Session& operator*() const { return *session_; }
    Session* operator->() const { return session_.get(); }

   private:
    UploadSessions* owner_;
    std::shared_ptr<Session> session_;
  };

  // `client`: where the request comes from; may be empty. too_many: of all, or of this owner.
  io::Task<Result<Hold>> begin(oci::RepositoryName repository, std::string user, std::string client,
                               oci::Algorithm algorithm);
  // not_found(upload) for ids that are unknown, expired, or of another repository or user; too_many(upload) while
  // another request uses it.
  io::Task<Result<Hold>> acquire(oci::RepositoryName repository, std::string user, std::string id);
  // The member that opened the session; empty: it is none of this cluster's, or opened before there was one.
  std::optional<std::string> opened_by(const oci::RepositoryName& repository, std::string_view user,
                                       std::string_view id) const;
  // What this process has of it in memory, also of a finished one; empty: nothing.
  struct Open {
    std::uint64_t term = 0;
    std::uint64_t received = 0;  // bytes, before the request under way
  };
  std::optional<Open> find_open(const std::string& id) const;
  // A session of another member, with the bytes that this one has; too_many, conflict (it is open here).
  Result<void> adopt(std::string id, std::string_view user, std::shared_ptr<blob::StagedBlob> staged,
                     std::uint64_t term, bool unsure);
  // The same for a held one whose bytes lay on this node's disk.
  void take_up(Session& session, std::uint64_t term, bool unsure);
  // Before a held session gets so many bytes more. too_large(upload): it alone would be over a limit of bytes, now and
  // for ever; too_many(upload): together with others. What has not come after all counts until the session is released.
  Result<void> grow(Session& session, std::uint64_t bytes);
  bool full() const { return open() >= options_.max_open; }
  // Another member has taken the session up at `term`: an older one here is dropped; conflict if it is a newer one.
  io::Task<Result<void>> make_way(io::NodeId other, std::string id, std::uint64_t term);
  // Ends a held session and removes its bytes.
  io::Task<Result<void>> discard(Session& session);
  // The session succeeded: remember it for a tick.
  void finished(Session& session);

  // Drops what is idle, here and on the disk; returns how many.
  io::Task<Result<std::size_t>> expire();
  std::size_t open() const;
  UploadRefusals refusals() const;

 private:
  std::string make_id(const oci::RepositoryName& repository, std::string_view user, oci::Algorithm algorithm);
  std::optional<oci::Algorithm> check_id(const oci::RepositoryName& repository, std::string_view user,
                                         std::string_view id) const;
  void release(Session& session);
  void count(Session& session, std::uint64_t bytes);  // it has so many, also beyond the limits
  Result<void> admit(const std::string& owner);
  std::uint64_t most_of(const std::string& owner) const;
  void forget(const std::string& id);
  void drop(const std::string& id);
  void drop_old_finished(blob::TickNumber now);
  struct Finished {
    std::string id;
    oci::Digest digest;
    blob::TickNumber at = 0;
  };

  blob::BlobStore& blobs_;
  io::Random& random_;
  std::function<blob::TickNumber()> tick_;
  SessionOptions options_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Session>> sessions_;  // open ones
  Shares shares_;                                             // of their owners
  Shares byte_shares_;                                        // of what they hold
  std::uint64_t bytes_ = 0;                                   // that they hold
  UploadRefusals refusals_;
  std::deque<Finished> finished_;  // oldest first
  std::map<std::string, oci::Digest> finished_by_id_;
  std::map<std::string, blob::TickNumber> strays_;  // staged files of no session here, and when they were first seen
};

}  // namespace hansa::registry
