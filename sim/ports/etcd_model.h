// EtcdModel: the etcd of a simulated world, behind any number of endpoints, with the warts of real ones: those that the
// design review lists (S1, H2, H3, H8, H15) and that etcd's own change log tells of. It speaks what the wire speaks
// (meta/etcd/channel.h), so the whole of etcd::Store runs on it, and nodes with it.
//
//   EtcdModel etcd(world);
//   Store::open(..., etcd.channels("node-1"), ...);    // a client by name, so that it alone can be cut off
//   etcd.set_warts({.unknown_late = 20, .lost_event = 5});  // by chance, drawn from the world's seed
//   etcd.next_txn(TxnFate::unknown_late);              // or one at a time
//   etcd.cut("node-1"); etcd.pause("one"); etcd.set_available(false); etcd.heal();
//   etcd.restore(etcd.save()); etcd.lose_last(3);      // acknowledged commits vanish
//
// It has an executor of its own: what reached it is carried out whether or not the caller still lives. Use from the
// world's thread; it outlives its channels and watches.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/wait.h"
#include "meta/etcd/channel.h"
#include "sim/ports/etcd_state.h"
#include "sim/ports/world.h"

namespace hansa::sim {

// What becomes of a transaction. The caller of every one but `normal` is told `ambiguous`.
enum class TxnFate : std::uint8_t {
  normal,
  unknown_applied,  // carried out now
  unknown_late,     // carried out within most_late, on what it meets then
  unknown_lost,     // never
};

// Chances are in thousandths.
struct EtcdWarts {
  // Of each call.
  unsigned refused = 0;  // unavailable; nothing was proposed
  unsigned slow = 0;     // its way there, or the answer's, takes up to most_slow (the caller may have given up by then)
  io::Duration least_delay = std::chrono::microseconds(100);  // of each way, and of events
  io::Duration most_delay = std::chrono::microseconds(500);
  io::Duration most_slow = std::chrono::seconds(3);
  // Of each transaction.
  unsigned unknown_applied = 0;
  unsigned unknown_late = 0;
  unsigned unknown_lost = 0;
  io::Duration most_late = std::chrono::seconds(5);
  // Of each read: it shows the past. Serializable ones everywhere, linearizable ones where reads can be stale (H2).
  unsigned stale = 0;
  std::uint64_t most_stale = 20;  // revisions
  // Of each reply of a watch.
  unsigned lost_event = 0;      // one event in it is missing on this stream, of a revision with a head, and no head
  unsigned lost_revision = 0;   // all events of one revision with a head are
  unsigned lost_end = 0;        // all events of a revision without one are: of a lease's end
  unsigned repeated = 0;        // it begins with events that were sent before
  unsigned early_progress = 0;  // an empty reply, ahead of it, whose revision is that of events yet to be sent
  unsigned fragments = 0;       // it comes in parts
  unsigned broken = 0;          // the stream breaks instead
  // Of each grant and sign of life of a lease: it lives for a fifth of its time or more, or up to three times as long.
  unsigned lease_early = 0;
  unsigned lease_late = 0;
};

// Some of all of them, as many as a cluster can live with.
EtcdWarts draw_warts(SimRandom& random);

class EtcdModel {
 public:
  explicit EtcdModel(World& world, std::string_view name = "etcd");
  ~EtcdModel();
  EtcdModel(const EtcdModel&) = delete;
  EtcdModel& operator=(const EtcdModel&) = delete;

  meta::etcd::ChannelFactory channels(std::string client = "");

  void set_warts(EtcdWarts warts) { warts_ = warts; }
  void next_txn(TxnFate fate) { next_txn_ = fate; }

  // ---- who reaches it ---------------------------------------------------------------------------------------------

  // Without a quorum, or none of it there: every call is refused, streams break, leases stand still.
  void set_available(bool available);
  // These endpoints refuse connections.
  void set_away(std::set<std::string> endpoints);
  // It takes calls and answers none (SIGSTOP); once it goes on, it carries out what it was given.
  void pause(const std::string& endpoint) { paused_.insert(endpoint); }
  void resume(const std::string& endpoint);
  // Nothing passes between this client and any endpoint (or this one): calls end at their deadline as ambiguous, or
  // are refused; its streams break after break_after.
  void cut(const std::string& client, const std::string& endpoint = "");
  // Ends all of the above.
  void heal();
  static constexpr io::Duration break_after = std::chrono::seconds(2);

  // ---- what it holds ----------------------------------------------------------------------------------------------

  const EtcdState& state() const { return state_; }
  EtcdState save() const { return state_; }
  // As a restored snapshot: the same cluster, its streams broken, late proposals gone.
  void restore(EtcdState state);
  // A voter forgot, and with it a quorum was had (H3): the last revisions vanish, acknowledged or not.
  void lose_last(std::uint64_t revisions);
  void compact(meta::Revision revision) { state_.compact(revision); }
  // Somebody's write, without head.
  void put_foreign(const std::string& key, const std::string& value);
  void expire(meta::LeaseId lease) { end_lease(lease); }

  // ---- its streams ------------------------------------------------------------------------------------------------

  void break_watches();
  void lose(meta::Revision revision) { lost_.insert(revision); }  // the first stream that reaches it does not tell
  void repeat_all() { repeat_all_ = true; }                       // the next reply begins with all that was

  // What it says of itself.
  std::string version = "3.6.9";
  std::map<std::string, std::string> versions;  // of endpoints that say another
  std::uint64_t db_size = 0;
  bool no_space = false;  // the NOSPACE alarm
  // Linearizable reads of a key "head" so far.
  std::uint64_t head_reads() const { return head_reads_; }

 private:
  class ModelChannel;
  class ModelWatch;
  struct Granted {
    io::Duration ttl{};
    io::TimerId timer = 0;
    bool overdue = false;  // its time ended while there was no quorum to say so
    std::set<std::string> keys;
  };
  struct Stream;
  struct Way {
    std::string client;
    std::string endpoint;
  };

  const std::string& version_at(const std::string& endpoint) const;
  bool is_away(const Way& way) const { return !available_ || away_.contains(way.endpoint); }
  bool is_cut(const Way& way) const {
    return cuts_.contains({way.client, ""}) || cuts_.contains({way.client, way.endpoint});
  }
  bool draw(unsigned per_mille) { return per_mille != 0 && random_.below(1000) < per_mille; }
  io::Duration draw_delay();
  TxnFate draw_fate();

  // A request on its way; it never arrives where the way is cut.
  void travel(const Way& way, std::function<void()> refuse, std::function<void()> arrive);
  template <class T>
  io::Task<Result<T>> ask(Way way, io::Duration deadline, std::function<Result<T>()> serve,
                          TxnFate fate = TxnFate::normal);
  template <class T>
  void arrived(const Way& way, const io::Completion<Result<T>>& done, const std::function<Result<T>()>& serve,
               TxnFate fate);

  meta::etcd::Header header() const;
  Result<meta::etcd::RangeReply> range(const meta::etcd::RangeRequest& request, const std::string& endpoint);
  Result<meta::etcd::TxnReply> carry_out(const meta::etcd::TxnRequest& request);
  Result<meta::LeaseId> grant(io::Duration ttl);
  Result<io::Duration> keep_alive(meta::LeaseId lease);
  void arm(meta::LeaseId lease);
  void end_lease(meta::LeaseId lease);

  // The streams of watches (etcd_streams.cc).
  std::unique_ptr<meta::etcd::Watch> open_stream(Way way, std::string key, std::string end, meta::Revision from);
  void wake_streams();
  void wake(const std::shared_ptr<Stream>& stream);
  void deliver(const std::shared_ptr<Stream>& stream);
  void prepare(Stream& stream);
  void lose_some(std::vector<meta::etcd::Event>& events);
  void lose_one(std::vector<meta::etcd::Event>& events, bool with_head, bool whole);
  void split(Stream& stream, meta::etcd::WatchReply reply);
  void break_stream(Stream& stream);
  void check_ways();

  World& world_;
  SimExecutor executor_;
  SimRandom random_;
  EtcdWarts warts_;
  TxnFate next_txn_ = TxnFate::normal;
  EtcdState state_;
  std::uint64_t generation_ = 0;  // restores and losses so far

  bool available_ = true;
  std::set<std::string> away_;
  std::set<std::string> paused_;
  std::vector<std::pair<std::string, std::function<void()>>> held_;  // by endpoints that are paused
  std::set<std::pair<std::string, std::string>> cuts_;

  std::map<meta::LeaseId, Granted> leases_;
  meta::LeaseId last_lease_ = 0;

  std::vector<std::weak_ptr<Stream>> streams_;
  std::set<meta::Revision> lost_;
  bool repeat_all_ = false;
  std::uint64_t head_reads_ = 0;
};

}  // namespace hansa::sim
