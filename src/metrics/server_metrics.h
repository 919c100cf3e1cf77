// ServerMetrics: what a Hansa server counts, under its fixed names.
//
// The request counters are written by `api`; the numbers of the node and of the listeners are pulled at each scrape
// from the source that the server sets. Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "metrics/metrics.h"

namespace hansa::metrics {

struct BuildInfo {
  std::string version;       // of Hansa
  std::string spec_version;  // distSpecVersion
  std::string commit;
};

// Of the metadata store that a member shares with others, and of its own view. Counts are since the start.
struct MetadataNumbers {
  bool reachable = false;
  bool alarm = false;              // the store went back in time, or somebody else writes there
  std::uint64_t view_lag = 0;      // revisions that the view lacks, now
  std::uint64_t barriers = 0;      // asked for
  std::uint64_t engine_reads = 0;  // made for them
  std::uint64_t commits = 0;
  std::uint64_t unknown_commits = 0;  // whose outcome the store did not say
  std::uint64_t resyncs = 0;          // of the view, from the beginning
  std::uint64_t view_differences = 0;
  std::uint64_t size = 0;  // of the store, bytes, now
};

// What a member lacks of what the catalogue names, and what it fetched from others.
struct CopyNumbers {
  std::uint64_t missing = 0;        // blobs, now
  std::uint64_t missing_bytes = 0;  // now, as far as the catalogue knows
  std::uint64_t left_out = 0;       // of the missing blobs: those that nobody could give
  std::uint64_t filled = 0;         // blobs fetched in the background, since the start
  std::uint64_t filled_bytes = 0;
  std::uint64_t fetched = 0;  // all blobs fetched from members, since the start
  std::uint64_t fetched_bytes = 0;
};

// Read at a scrape. All counts are of now, except those marked "since the start".
struct NodeNumbers {
  bool ready = false;
  std::uint64_t uploads = 0;                  // open sessions
  std::uint64_t uploads_refused = 0;          // since the start
  std::uint64_t uploads_refused_clients = 0;  // of those: over the limit of one user or client
  std::uint64_t repositories = 0;
  std::uint64_t manifests = 0;
  std::uint64_t swept_blobs = 0;    // since the start
  std::uint64_t expired_tags = 0;   // since the start
  std::uint64_t corrupt_blobs = 0;  // since the start
  std::uint64_t disk_total = 0;     // bytes
  std::uint64_t disk_available = 0;
  std::uint64_t members = 1;  // that are not gone; a single node is its only one
  std::uint64_t members_alive = 1;
  std::uint64_t redirects = 0;                             // of clients to other members, since the start
  std::optional<MetadataNumbers> metadata = std::nullopt;  // of a member of a cluster
  CopyNumbers copies = {};                                 // of a member of a cluster
  std::uint64_t connections = 0;                           // open now
  std::uint64_t connections_accepted = 0;                  // since the start
  std::uint64_t connections_refused = 0;                   // since the start
  std::uint64_t connections_refused_clients = 0;           // of those: over the limit of one client
};

class ServerMetrics {
 public:
  explicit ServerMetrics(const BuildInfo& build);

  // One answered request. `method` is the HTTP method in upper case, `repository` empty: none ("N/A").
  void request(std::string_view method, int status, double seconds, const std::string& repository);
  void download(const std::string& repository);                                      // a manifest was read
  void upload(const std::string& repository);                                        // a manifest was pushed
  void sent(std::uint64_t bytes) { sent_.add(static_cast<double>(bytes)); }          // blob bytes handed to the network
  void stale_answer() { stale_answers_.add(); }                                      // given without a quorum, marked
  void received(std::uint64_t bytes) { received_.add(static_cast<double>(bytes)); }  // body bytes taken from it

  // Where the node's numbers come from; called at each scrape. Set once, before the first scrape.
  void set_source(std::function<NodeNumbers()> source);
  std::string render() { return registry_.render(); }
  Registry& registry() { return registry_; }  // for further metrics

 private:
  static constexpr std::size_t methods = 8;  // the known ones and "other"
  static constexpr std::size_t max_status = 600;
  Counter requests_of(std::size_t method, int status);
  void set_members(const NodeNumbers& now);

  Registry registry_;
  std::vector<Histogram> latencies_;  // by method
  // Made at first use, then read without a lock.
  std::array<std::array<std::atomic<const Counter*>, max_status>, methods> requests_{};
  std::mutex making_;
  std::vector<std::unique_ptr<Counter>> made_;
  PerRepository<Summary> repository_latency_;
  PerRepository<Counter> downloads_;
  PerRepository<Counter> uploads_;
  Counter sent_;
  Counter received_;
  Counter stale_answers_;
};

}  // namespace hansa::metrics
