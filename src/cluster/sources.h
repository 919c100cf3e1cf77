// Sources: which member sends a blob's bytes to a client that asked this one.
//
// A member is a source if its mark says that it holds the digest (design review, section 3), its connection answered
// within the last second and did not say that it stops soon (pulses.h), and its address is one that clients follow
// (choose.h). Its load is what it said that it sends, and what this node sent clients there for lately. A client that
// asks again for what it was sent elsewhere for has not got it there: it is sent to another one, or served here, though
// pulses may not have missed that member yet.
//
// Thread-safe. What is given outlives it.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <optional>

#include "catalog/snapshot.h"
#include "cluster/choose.h"
#include "cluster/pulses.h"
#include "cluster/route.h"

namespace hansa::cluster {

// After so long without further requests, half of what a client was sent elsewhere for counts.
inline constexpr io::Duration account_half_life = std::chrono::seconds(5);
inline constexpr io::Duration asks_again_within = std::chrono::seconds(10);  // of having been sent elsewhere
inline constexpr std::size_t max_sent = 10'000;                              // that are remembered

class Sources {
 public:
  Sources(const Membership& members, Pulses& pulses, io::Clock& clock, Route route)
      : members_(members), pulses_(pulses), clock_(clock), route_(route) {}

  struct Wanted {
    oci::Digest digest;
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    bool secure = false;  // the client came over TLS
    std::string client;   // its address; empty: nobody's that could ask again
  };
  // The address of the member to which the client goes; nullopt: this one serves it.
  Result<std::optional<std::string>> elsewhere(catalog::Snapshot& view, const Wanted& wanted);

  // A body of so many bytes is sent by this node for as long as the handle lives.
  std::shared_ptr<const void> sending(std::uint64_t bytes) { return pulses_.sending(bytes); }

  std::uint64_t redirects() const { return redirects_; }  // since the start

 private:
  struct Account {
    double bytes = 0;
    io::MonotonicTime at;
  };
  struct Sent {
    io::NodeId to;
    io::MonotonicTime at;
  };
  double lately(const Account& account, io::MonotonicTime now) const;
  std::optional<io::NodeId> sent_before(const std::string& key, io::MonotonicTime now) const;
  void note_sent(std::string key, io::NodeId to, io::MonotonicTime now);

  const Membership& members_;
  Pulses& pulses_;
  io::Clock& clock_;
  const Route route_;
  std::mutex mutex_;
  std::map<io::NodeId, Account> accounts_;
  std::map<std::string, Sent> sent_;  // by client and what it wanted
  std::atomic<std::uint64_t> redirects_ = 0;
};

}  // namespace hansa::cluster
