// Holder: keeps this node's mark holds/<id> true (DESIGN 6.4; design review, section 3): everything that the catalogue
// names at the mark's revision lies fsynced on this disk, except `but`. For layouts with replicas: all. It is the one
// loop of repair: joins, losses, rot, returning and restored disks all come down to "named and not here".
//
// First a scan of what the view names, then the feed: whatever is missing is fetched, so many at a time; the mark's
// revision is the last with nothing owed; what cannot be had for give_up_after goes into `but`, and is tried again. A
// mark is put every publish_interval at most, and only if `but`, the layout or what the registry keeps changed since
// (tags too: an old copy of this disk is known by its marks); one member alone puts it at changes of `but` and of the
// layout only.
//
// What the mark said to be here and is not (a damaged file, one that a scan finds missing although the mark of the run
// before covers it) goes into `but` first, and is then fetched. A damaged file leaves its place before that commit:
// it must give no receipt any more, and should the process end in between, the next scan finds it (ADR 0005).
//
// A disk that the catalogue did not know (restored, copied) claims nothing before its files were hashed (H4); what it
// lacks is fetched meanwhile.
//
// Thread rule: run() on the executor; note_lost() and progress() from any thread. What is given outlives it; close the
// scope first.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "blob/store.h"
#include "catalog/catalog.h"
#include "catalog/member_plan.h"
#include "cluster/missing.h"
#include "io/clock.h"
#include "io/scope.h"
#include "meta/store.h"

namespace hansa::cluster {

inline constexpr io::Duration publish_interval = std::chrono::seconds(2);
inline constexpr std::size_t default_fills = 4;         // blobs that are fetched at once
inline constexpr std::size_t max_feed_queue = 100'000;  // changes; more make a new scan

struct HolderProgress {
  bool scanned = false;      // the first scan is done
  std::uint64_t owed = 0;    // blobs that are known to be missing, without `but`
  std::uint64_t but = 0;     // blobs
  std::uint64_t bytes = 0;   // of both, as far as the catalogue knows
  std::uint64_t filled = 0;  // blobs that were fetched since the start
  std::uint64_t filled_bytes = 0;
  std::optional<std::chrono::seconds> left;  // until nothing is missing, at the pace of late; empty: nobody can say
  catalog::Revision marked = 0;              // of the mark last put
};

class Holder {
 public:
  struct Ports {
    meta::MetadataStore& store;
    catalog::Catalog& catalog;
    blob::BlobStore& blobs;
    io::Clock& clock;
    Logger& log;
    std::string node;
    std::string disk;
    std::string boot;
    // Gets the blob durably onto this disk from another member. Null: nothing
    // can be fetched.
    std::function<io::Task<Result<void>>(oci::Digest)> fetch;
    // The number of the mark that is put next, durable on this disk on return. Null: marks have none.
    std::function<io::Task<Result<std::uint64_t>>()> number_mark = nullptr;
    std::size_t fills = default_fills;
    // Whether the files that lay here at the start are known to be what their names say. Null: they are.
    std::function<bool()> believed = nullptr;
  };
  explicit Holder(Ports ports) : ports_(std::move(ports)) {}

  void run(io::TaskScope& scope);
  // The bytes of a blob were found damaged or missing: it goes into `but`, and is fetched from another member.
  void note_lost(const oci::Digest& digest);
  HolderProgress progress() const;

 private:
  struct Named {  // by the feed
    catalog::Revision revision = 0;
    std::string key;
    std::string value;
  };
  io::Task<void> loop();
  io::Task<Result<void>> round();
  Result<void> follow();
  io::Task<Result<void>> scan();
  io::Task<Result<void>> take_feed();
  io::Task<Result<void>> take_change(Named change);
  io::Task<Result<void>> want(oci::Digest digest, catalog::Revision named, const catalog::HoldsRecord* mark);
  void take_lost();
  void start_fills();
  io::Task<void> fill_loop();
  io::Task<Result<void>> fill(oci::Digest digest);
  void show_progress();
  io::Task<Result<void>> publish(bool believed);
  io::Task<std::uint64_t> number_mark();

  Ports ports_;
  mutable std::mutex mutex_;  // guards what the feed and note_lost() fill, and progress_
  std::vector<Named> feed_;
  catalog::Revision fed_ = 0;       // revision of the newest change set seen
  catalog::Revision fed_news_ = 0;  // of the newest one that changed what the registry keeps
  bool overflow_ = false;
  std::vector<oci::Digest> lost_;
  HolderProgress progress_;

  bool scanned_ = false;
  catalog::Revision taken_ = 0;     // everything up to it was looked at
  catalog::Revision relevant_ = 0;  // newest change of what the registry keeps
  Missing missing_;
  Pace pace_;
  std::uint64_t filled_ = 0;
  std::uint64_t filled_bytes_ = 0;
  std::size_t filling_ = 0;       // fill_loops that run
  io::MonotonicTime fills_from_;  // not before: the disk was full
  io::TaskScope* scope_ = nullptr;
  bool urgent_ = false;                 // the mark says more than is true
  catalog::HoldsRecord put_;            // as last put
  catalog::Revision put_relevant_ = 0;  // relevant_ at that time
  bool put_owing_ = false;              // whether something was owed, so that it stayed behind
  std::uint64_t put_layout_ = 0;
  std::uint64_t put_left_out_ = 0;  // left_out_changes() at that time
  io::MonotonicTime put_when_;
  std::unique_ptr<meta::Subscription> subscription_;  // last: ends before what its listener uses
};

}  // namespace hansa::cluster
