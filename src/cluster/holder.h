// Holder: keeps this node's mark holds/<id> true (DESIGN 6.4; design review,
// section 3): everything that the catalogue names at the mark's revision lies
// fsynced on this disk, except `but`. For layouts with replicas: all.
//
// First a scan of what the view names, then the feed: whatever is missing is
// fetched; the mark's revision is the last with nothing owed; what cannot be
// had for give_up_after goes into `but`, and is tried again. A mark is put
// every publish_interval at most, and only if `but`, the layout or a manifest,
// link or grave changed since; one member alone puts it at changes of `but` and
// of the layout only.
//
// Thread rule: run() on the executor; note_lost() and progress() from any
// thread. What is given outlives it; close the scope first.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "blob/store.h"
#include "catalog/catalog.h"
#include "catalog/member_plan.h"
#include "io/clock.h"
#include "io/scope.h"
#include "meta/store.h"

namespace hansa::cluster {

inline constexpr io::Duration publish_interval = std::chrono::seconds(2);
inline constexpr io::Duration give_up_after = std::chrono::seconds(60);
inline constexpr std::size_t max_feed_queue = 100'000;  // changes; more make a new scan

struct HolderProgress {
  bool scanned = false;    // the first scan is done
  std::uint64_t owed = 0;  // blobs that are known to be missing, without `but`
  std::uint64_t but = 0;
  catalog::Revision marked = 0;  // of the mark last put
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
  };
  explicit Holder(Ports ports) : ports_(std::move(ports)) {}

  void run(io::TaskScope& scope);
  // Puts the digest into `but` and commits that: await it before a file is
  // quarantined or given up.
  io::Task<Result<void>> lose(oci::Digest digest);
  // The same, soon: for those who have found a file missing already.
  void note_lost(const oci::Digest& digest);
  HolderProgress progress() const;

 private:
  struct Named {  // by the feed
    catalog::Revision revision = 0;
    std::string key;
    std::string value;
  };
  struct Owed {
    catalog::Revision since = 0;  // the change that named it
    io::MonotonicTime asked;      // when it was first missing
  };

  io::Task<void> loop();
  io::Task<Result<void>> round();
  Result<void> follow();
  io::Task<Result<void>> scan();
  io::Task<Result<void>> take_feed();
  io::Task<Result<void>> want(oci::Digest digest, catalog::Revision since);
  io::Task<Result<void>> settle();
  io::Task<Result<void>> retry_left_out();
  io::Task<Result<void>> publish(bool urgent);
  bool may_move() const;

  Ports ports_;
  mutable std::mutex mutex_;  // guards what the feed and note_lost() fill, and progress_
  std::vector<Named> feed_;
  catalog::Revision fed_ = 0;  // revision of the newest change set seen
  bool overflow_ = false;
  std::vector<oci::Digest> lost_;
  HolderProgress progress_;

  bool scanned_ = false;
  catalog::Revision taken_ = 0;     // everything up to it was looked at
  catalog::Revision relevant_ = 0;  // newest change of a manifest, link or grave
  std::map<oci::Digest, Owed> owed_;
  std::set<oci::Digest> but_;
  bool but_changed_ = false;
  catalog::HoldsRecord put_;            // as last put
  catalog::Revision put_relevant_ = 0;  // relevant_ at that time
  std::uint64_t put_layout_ = 0;
  io::MonotonicTime put_when_;
  io::MonotonicTime retried_;
  std::unique_ptr<meta::Subscription> subscription_;  // last: ends before what its listener uses
};

}  // namespace hansa::cluster
