// Missing: what this disk lacks of what the catalogue names, as values and without I/O: what is owed (the mark does not
// pass it), what the mark leaves out (`but`), what to fetch next, how much and for how long it will be.
//
//   owed       named lately, or by a scan; the mark stays before the change that named it
//   left out   said to be missing in `but`: nobody could give it for give_up_after, or it was here and was lost
//
// Both are fetched, what failed again after a while. Not thread-safe: the Holder's executor.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "catalog/member_records.h"
#include "io/time.h"
#include "oci/digest.h"

namespace hansa::cluster {

inline constexpr io::Duration give_up_after = std::chrono::seconds(60);
inline constexpr io::Duration retry_owed = std::chrono::seconds(1);
inline constexpr io::Duration retry_left_out = std::chrono::seconds(60);

class Missing {
 public:
  struct Blob {
    oci::Digest digest;
    catalog::Revision since = 0;  // the change that named it
    std::uint64_t size = 0;       // bytes; 0: not known
  };

  // It is named and not here. What is known already stays as it is.
  void owe(const Blob& blob, io::MonotonicTime now);
  // The mark said that it is here, and it is not. Where `but` has no more room it is owed, and the mark goes back.
  void lose(const Blob& blob, io::MonotonicTime now);
  // It is here now, or nobody names it any more. Its size, as far as that is known.
  std::uint64_t settle(const oci::Digest& digest);
  // Could not be had.
  void fail(const oci::Digest& digest, io::MonotonicTime now);
  // What to fetch now, once: until settle() or fail().
  std::optional<oci::Digest> next(io::MonotonicTime now);
  bool has_due(io::MonotonicTime now) const;

  // The last revision up to `taken` with nothing owed.
  catalog::Revision covered(catalog::Revision taken) const;
  std::vector<oci::Digest> left_out() const;                   // ascending, at most catalog::max_but
  std::uint64_t left_out_changes() const { return changes_; }  // rises whenever that changes

  std::uint64_t owed() const { return entries_.size() - left_out_; }
  std::uint64_t left_out_count() const { return left_out_; }
  std::uint64_t bytes() const { return bytes_; }  // of both

 private:
  struct Entry {
    catalog::Revision since = 0;
    std::uint64_t size = 0;
    io::MonotonicTime asked;
    io::MonotonicTime due;
    bool left_out = false;
    bool taken = false;
  };
  using Due = std::tuple<io::MonotonicTime, catalog::Revision, oci::Digest>;

  Entry& add(const Blob& blob, io::MonotonicTime now);
  void set_left_out(Entry& entry);
  static Due due_of(const oci::Digest& digest, const Entry& entry) { return {entry.due, entry.since, digest}; }

  std::map<oci::Digest, Entry> entries_;
  std::set<Due> queue_;                     // those that are not taken
  std::multiset<catalog::Revision> since_;  // of those owed
  std::uint64_t left_out_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t changes_ = 0;
};

// How fast it goes, over the last while, and so how long it will take.
class Pace {
 public:
  // `bytes` so far, since the start.
  void note(io::MonotonicTime now, std::uint64_t bytes);
  // nullopt: nothing came in lately, so nobody can say.
  std::optional<std::chrono::seconds> left(std::uint64_t bytes) const;

 private:
  struct Sample {
    io::MonotonicTime when;
    std::uint64_t bytes = 0;
  };
  std::deque<Sample> samples_;
};

}  // namespace hansa::cluster
