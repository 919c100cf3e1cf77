// Channel: the calls that Hansa makes to one etcd endpoint, as plain values: the seam between the client, which decides
// (client.h, store.h: fail-over, settling, resume), and the wire (grpc_channel.h, a thin pump). The simulator stands a
// model of etcd with its warts behind the same seam. Names are those of etcd's v3 API.
//
// Errors of every call, besides those it names:
//   unavailable    nothing was sent, or the server refused before it proposed anything: another endpoint may be asked
//   ambiguous      it was sent and no answer came (deadline, lost connection): a write happened, or not, or still may
//   cancelled      the caller's task was cancelled; for a write as ambiguous as the above
//   unauthenticated, denied, invalid, out_of_space (NOSPACE), too_large, range (compacted; see WatchReply too)
// Thread rule: call from an executor's thread; results come back there. The channel outlives its calls and watches.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/task.h"
#include "io/time.h"
#include "meta/store.h"

namespace hansa::meta::etcd {

struct Header {
  std::uint64_t cluster = 0;
  std::uint64_t member = 0;
  Revision revision = 0;  // the store's newest at that moment, as this member knows it
  std::uint64_t raft_term = 0;
};

struct RangeRequest {
  std::string key;
  std::string end;          // exclusive; empty: the one key
  std::uint64_t limit = 0;  // 0: none
  Revision revision = 0;    // 0: the newest
  bool serializable = false;
  bool keys_only = false;
  bool count_only = false;
};
struct RangeReply {
  Header header;
  std::vector<KeyValue> values;
  std::uint64_t count = 0;  // of all keys in the range
  bool more = false;
};

struct TxnCompare {
  enum class Field : std::uint8_t { mod, create, version };
  std::string key;
  Field field = Field::mod;
  std::uint64_t equals = 0;
};
struct TxnOperation {
  enum class Kind : std::uint8_t { put, remove, range };
  Kind kind = Kind::put;
  std::string key;
  std::string value;
  LeaseId lease = 0;
};
struct TxnRequest {
  std::vector<TxnCompare> compares;  // all must hold
  std::vector<TxnOperation> success;
  std::vector<TxnOperation> failure;  // ranges of single keys, to see what conflicted
};
struct TxnReply {
  Header header;
  bool succeeded = false;
  std::vector<RangeReply> ranges;  // of the branch taken, in the order of its ranges
};

struct Event {
  KeyValue now;  // of a delete: key and mod only
  bool deleted = false;
};
struct WatchReply {
  Header header;
  bool created = false;
  bool canceled = false;
  Revision compacted = 0;     // with canceled: the history before it is gone
  std::string reason;         // with canceled
  bool fragment = false;      // more events of header's revision follow in the next reply
  std::vector<Event> events;  // of one or more revisions, each whole unless `fragment`
};
// One watch on one stream. Dropping it ends it.
class Watch {
 public:
  virtual ~Watch() = default;
  // The next reply. unavailable: the stream is broken, open another. One call at a time.
  virtual io::Task<Result<WatchReply>> next() = 0;
};

struct StatusReply {
  Header header;
  std::string version;  // "3.4.23"
  std::uint64_t leader = 0;
  std::uint64_t raft_index = 0;
  std::uint64_t raft_applied = 0;
  std::uint64_t db_size = 0;    // bytes
  std::uint64_t db_in_use = 0;  // bytes
  bool learner = false;
  std::vector<std::string> errors;
};

struct Member {
  std::uint64_t id = 0;
  std::string name;  // empty: it never started
  std::vector<std::string> peer_urls;
  std::vector<std::string> client_urls;
  bool learner = false;
};
struct MembersReply {
  Header header;
  std::vector<Member> members;
  std::uint64_t added = 0;  // of member_add
};

struct Alarm {
  std::uint64_t member = 0;
  std::string kind;  // "NOSPACE", "CORRUPT"
};

class Channel {
 public:
  virtual ~Channel() = default;
  virtual io::Task<Result<RangeReply>> range(RangeRequest request, io::Duration deadline) = 0;
  virtual io::Task<Result<TxnReply>> txn(TxnRequest request, io::Duration deadline) = 0;
  // Events with mod >= `from` of all keys in [key, end). range: compacted already.
  virtual io::Task<Result<std::unique_ptr<Watch>>> watch(std::string key, std::string end, Revision from) = 0;

  virtual io::Task<Result<LeaseId>> lease_grant(io::Duration ttl, io::Duration deadline) = 0;
  // not_found: the lease has ended.
  virtual io::Task<Result<io::Duration>> lease_keep_alive(LeaseId lease, io::Duration deadline) = 0;
  virtual io::Task<Result<void>> lease_revoke(LeaseId lease, io::Duration deadline) = 0;

  virtual io::Task<Result<StatusReply>> status(io::Duration deadline) = 0;
};

// What only the keeper of a managed etcd does (room voters).
class MaintenanceChannel {
 public:
  virtual ~MaintenanceChannel() = default;
  virtual io::Task<Result<StatusReply>> status(io::Duration deadline) = 0;
  virtual io::Task<Result<MembersReply>> member_list(io::Duration deadline) = 0;
  virtual io::Task<Result<MembersReply>> member_add(std::string peer_url, bool learner, io::Duration deadline) = 0;
  virtual io::Task<Result<void>> member_remove(std::uint64_t id, io::Duration deadline) = 0;
  // Where the others reach its voter: a machine that has another address is the same member.
  virtual io::Task<Result<void>> member_update(std::uint64_t id, std::string peer_url, io::Duration deadline) = 0;
  virtual io::Task<Result<void>> member_promote(std::uint64_t id, io::Duration deadline) = 0;
  virtual io::Task<Result<void>> move_leader(std::uint64_t to, io::Duration deadline) = 0;
  virtual io::Task<Result<std::vector<Alarm>>> alarms(io::Duration deadline) = 0;
  virtual io::Task<Result<void>> disarm(Alarm alarm, io::Duration deadline) = 0;
  virtual io::Task<Result<void>> defragment(io::Duration deadline) = 0;
  // Pieces of a snapshot file (with etcd's checksum at its end), in order, until the end.
  virtual io::Task<Result<void>> snapshot(std::function<Result<void>(std::string_view piece)> take,
                                          io::Duration deadline) = 0;
};

struct ClientTls {
  std::string ca;           // PEM file; empty: the system's authorities
  std::string certificate;  // PEM files of the client; empty: none
  std::string key;
  std::uint64_t issue = 0;  // counts renewals of the files: a channel reads them once
  bool operator==(const ClientTls&) const = default;
};
struct ChannelSettings {
  std::string endpoint;  // "host:port" or "http(s)://host:port"; https or `tls` given: TLS
  std::optional<ClientTls> tls;
  std::string user;  // empty: no authentication; else a token is fetched, and renewed when it has run out
  std::string password;
  bool operator==(const ChannelSettings&) const = default;
};
// Opens no connection yet; each call gives a channel of its own (a watch deserves one, see the design review, T3).
using ChannelFactory = std::function<Result<std::shared_ptr<Channel>>(const ChannelSettings&)>;
using MaintenanceFactory = std::function<Result<std::shared_ptr<MaintenanceChannel>>(const ChannelSettings&)>;

}  // namespace hansa::meta::etcd
