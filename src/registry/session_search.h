// SessionSearch: which member of a cluster goes on with an upload session (DESIGN.md 6.1; P9).
//
// A session stays with the member that opened it, whose name stands in its id, for as long as that member answers.
// When it does not (it is lost, or started anew and has the session no more in memory), every member is asked what it
// has: the session, open; a relayed part of it (cluster/relay.h); or a staged file that an earlier process left. The
// session's id is the right to it: its MAC binds repository and user, so a part cannot be taken up for others.
//
// Who is believed, in this order:
//   1. the greatest term. It grows each time that a member takes the session up, and goes along with the relayed bytes;
//   2. who has it open: it was told everything that a client was told within this term;
//   3. the most bytes; then the member that opened it.
// The one that is believed takes up what it has, with the next term. An old owner that comes back with an older part is
// not believed any more; if it never noticed, its relay is refused and it drops its part (UploadSessions::make_way).
// One whose relay broke asks the others before it goes on: it may have been cut off.
//
// What this leaves open: the bytes of several copies may end at different places. A digest is checked at the end, so no
// wrong blob can come of it; but a client that sends on without saying where its bytes belong could spoil its upload.
// So, unless all that were heard have the same bytes and the opener goes on, such a body is refused (416, with the true
// Range) until the client has asked. A Content-Range is checked as ever.
//
// Nothing is taken up while a member that answers pings says nothing: unavailable. If nobody has anything: not_found,
// or unavailable while a member that could not be asked has a standing lease. Before it says unavailable, a search
// waits for members that said that they stop: one that is started anew is back within moments.
//
// Thread-safe. What is given outlives it.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cluster/membership.h"
#include "cluster/pulses.h"
#include "cluster/relay.h"
#include "registry/sessions.h"

namespace hansa::registry {

inline constexpr io::Duration search_limit = std::chrono::seconds(1);      // of asking the members
inline constexpr io::Duration restart_patience = std::chrono::seconds(3);  // with members that said that they stop
inline constexpr std::size_t max_hints = 10'000;

// What a member has of a session.
struct SessionClaim {
  io::NodeId node;
  std::uint64_t term = 0;
  bool open = false;
  std::uint64_t received = 0;  // bytes
};

struct SessionChoice {
  SessionClaim best;
  std::uint64_t next_term = 0;
  bool unsure = false;  // the client is to be told where the session stands before it goes on
};

// nullopt: nobody has anything.
std::optional<SessionChoice> choose_owner(const std::vector<SessionClaim>& claims, const io::NodeId& opened_by);

class SessionSearch {
 public:
  struct Ports {
    io::PeerNetwork& peers;
    const cluster::Membership& members;
    const cluster::Pulses& pulses;
    cluster::Relays& relays;
    blob::BlobStore& blobs;
    UploadSessions& sessions;
    std::function<io::BootTime()> boot_time;
    Logger& log;
  };
  explicit SessionSearch(Ports ports) : p_(ports) {}

  struct Wanted {
    oci::RepositoryName repository;
    std::string user;
    std::string id;
    io::NodeId opened_by;
  };
  // The member to go on with. This one: it has the session open now.
  io::Task<Result<io::NodeId>> find(Wanted wanted);
  // The greatest term that another member has heard of; 0: none. Of those that answer.
  io::Task<std::uint64_t> highest_term(Wanted wanted);
  // Answers the verb upload.find.
  io::Task<Result<io::PeerResponse>> on_find(io::PeerRequest request);

  // Where sessions were found that moved; only to save a search. Empty: it must be searched.
  std::optional<io::NodeId> hint(const std::string& id) const;
  void note(const std::string& id, io::NodeId at);
  void forget(const std::string& id);

 private:
  struct Heard;
  io::Task<Result<io::NodeId>> find_once(Wanted wanted, bool* comes_back);
  io::Task<Heard> hear(Wanted wanted, bool only_living);
  io::Task<std::optional<SessionClaim>> own_claim(std::string id);
  io::Task<void> ask(cluster::MemberState member, std::string arguments, Heard* heard);
  io::Task<Result<void>> take_up(Wanted wanted, SessionChoice choice);
  io::Task<Result<void>> take_up_alone(Wanted wanted, SessionChoice choice);

  const Ports p_;
  mutable std::mutex mutex_;
  std::map<std::string, io::NodeId> hints_;
  std::set<std::string> taking_;  // sessions that are taken up now
};

}  // namespace hansa::registry
