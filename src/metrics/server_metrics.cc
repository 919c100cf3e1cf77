#include "metrics/server_metrics.h"

#include <algorithm>

namespace hansa::metrics {
namespace {

// The last one stands for all others, so that clients cannot make labels.
constexpr std::array<std::string_view, 8> method_names = {"GET",   "HEAD",   "POST",    "PUT",
                                                          "PATCH", "DELETE", "OPTIONS", "OTHER"};
const std::vector<double> method_buckets = {0.05, 0.5, 1, 5, 30, 60, 600};  // seconds; zot's

std::size_t index_of(std::string_view method) {
  const auto found = std::ranges::find(method_names, method);
  return found == method_names.end() ? method_names.size() - 1 : static_cast<std::size_t>(found - method_names.begin());
}

}  // namespace

ServerMetrics::ServerMetrics(const BuildInfo& build)
    : repository_latency_([this](const Labels& labels) {
        return registry_.summary("zot_http_repo_latency_seconds", "Latency of serving requests of one repository",
                                 labels);
      }),
      downloads_([this](const Labels& labels) {
        return registry_.counter("zot_repo_downloads_total", "Manifests read", labels);
      }),
      uploads_([this](const Labels& labels) {
        return registry_.counter("zot_repo_uploads_total", "Manifests pushed", labels);
      }),
      sent_(registry_.counter("hansa_blob_sent_bytes_total", "Blob bytes handed to the network")),
      received_(registry_.counter("hansa_body_received_bytes_total", "Bytes of request bodies read")),
      stale_answers_(registry_.counter("hansa_stale_answers_total", "Answers given from the view without a quorum")) {
  registry_.gauge("zot_up", "Whether the server answers").set(1);
  registry_
      .gauge("zot_info", "The build, as labels; always 0",
             {{"commit", build.commit}, {"binaryType", "hansa"}, {"goVersion", ""}, {"version", build.spec_version}})
      .set(0);
  registry_
      .gauge("hansa_info", "The build, as labels; always 1", {{"version", build.version}, {"commit", build.commit}})
      .set(1);
  for (const auto name : method_names) {
    latencies_.push_back(registry_.histogram("zot_http_method_latency_seconds", "Latency of serving requests",
                                             {{"method", std::string(name)}}, method_buckets));
  }
}

Counter ServerMetrics::requests_of(std::size_t method, int status) {
  auto& slot = requests_[method][static_cast<std::size_t>(status)];
  if (const Counter* known = slot.load(std::memory_order_acquire)) return *known;
  const std::scoped_lock lock(making_);
  if (const Counter* known = slot.load(std::memory_order_acquire)) return *known;
  made_.push_back(std::make_unique<Counter>(
      registry_.counter("zot_http_requests_total", "Answered HTTP requests",
                        {{"method", std::string(method_names[method])}, {"code", std::to_string(status)}})));
  slot.store(made_.back().get(), std::memory_order_release);
  return *made_.back();
}

void ServerMetrics::request(std::string_view method, int status, double seconds, const std::string& repository) {
  const std::size_t index = index_of(method);
  requests_of(index, std::clamp(status, 0, static_cast<int>(max_status) - 1)).add();
  latencies_[index].observe(seconds);
  static const std::string no_repository = "N/A";
  repository_latency_.of(repository.empty() ? no_repository : repository).observe(seconds);
}

void ServerMetrics::download(const std::string& repository) {
  downloads_.of(repository).add();
}

void ServerMetrics::upload(const std::string& repository) {
  uploads_.of(repository).add();
}

void ServerMetrics::set_members(const NodeNumbers& now) {
  const auto set = [this](const std::string& name, const std::string& help, std::uint64_t value) {
    registry_.gauge(name, help).set(static_cast<double>(value));
  };
  set("hansa_members", "Members of the cluster", now.members);
  set("hansa_members_alive", "Members that give a sign of life", now.members_alive);
  if (!now.metadata) return;
  set("hansa_redirects", "Blob requests sent to another member since the start", now.redirects);
  const CopyNumbers& copies = now.copies;
  set("hansa_missing_blobs", "Blobs that this member lacks and fetches", copies.missing);
  set("hansa_missing_bytes", "Bytes of those blobs", copies.missing_bytes);
  set("hansa_left_out_blobs", "Those among them that nobody could give yet", copies.left_out);
  set("hansa_filled_blobs", "Blobs fetched for the own disk since the start", copies.filled);
  set("hansa_filled_bytes", "Bytes of those blobs", copies.filled_bytes);
  set("hansa_fetched_blobs", "All blobs fetched from members since the start", copies.fetched);
  set("hansa_fetched_bytes", "Bytes of those blobs", copies.fetched_bytes);
  const MetadataNumbers& store = *now.metadata;
  set("hansa_metadata_reachable", "1 when the metadata store answered last", store.reachable ? 1 : 0);
  set("hansa_metadata_alarm", "1 while an alarm about the metadata store stands", store.alarm ? 1 : 0);
  set("hansa_metadata_size_bytes", "Size of the metadata store", store.size);
  set("hansa_metadata_barriers", "Barriers asked for since the start", store.barriers);
  set("hansa_metadata_barrier_reads", "Engine reads made for barriers since the start", store.engine_reads);
  set("hansa_metadata_commits", "Commits tried since the start", store.commits);
  set("hansa_metadata_unknown_commits", "Commits since the start whose outcome was unknown", store.unknown_commits);
  set("hansa_view_lag_revisions", "Revisions that the view lacks", store.view_lag);
  set("hansa_view_resyncs", "Times since the start that the view was loaded anew", store.resyncs);
  set("hansa_view_differences", "Differences between members' views found since the start", store.view_differences);
}

void ServerMetrics::set_source(std::function<NodeNumbers()> source) {
  struct Gauges {
    Gauge ready, uploads, uploads_refused, uploads_refused_clients, repositories, manifests, swept, expired, corrupt,
        disk_total, disk_available, open, accepted, refused, refused_clients;
  };
  const auto gauge = [this](const std::string& name, const std::string& help) { return registry_.gauge(name, help); };
  const Gauges gauges{
      .ready = gauge("hansa_ready", "1 when the node serves"),
      .uploads = gauge("hansa_uploads", "Open upload sessions"),
      .uploads_refused = gauge("hansa_uploads_refused", "Uploads refused over a limit since the start"),
      .uploads_refused_clients =
          gauge("hansa_uploads_refused_per_client", "Those among them over the limit of one user or address"),
      .repositories = gauge("hansa_repositories", "Repositories"),
      .manifests = gauge("hansa_manifests", "Manifests"),
      .swept = gauge("hansa_swept_blobs", "Blobs that garbage collection removed since the start"),
      .expired = gauge("hansa_expired_tags", "Tags that retention removed since the start"),
      .corrupt = gauge("hansa_corrupt_blobs", "Blobs found damaged since the start"),
      .disk_total = gauge("hansa_disk_total_bytes", "Size of the data disk"),
      .disk_available = gauge("hansa_disk_available_bytes", "Free space of the data disk"),
      .open = gauge("hansa_connections", "Open connections"),
      .accepted = gauge("hansa_connections_accepted", "Connections accepted since the start"),
      .refused = gauge("hansa_connections_refused", "Connections refused over a limit since the start"),
      .refused_clients =
          gauge("hansa_connections_refused_per_client", "Those among them over the limit of one address"),
  };
  registry_.before_scrape([this, gauges, source = std::move(source)] {
    const auto set = [](const Gauge& to, std::uint64_t value) { to.set(static_cast<double>(value)); };
    const NodeNumbers now = source();
    gauges.ready.set(now.ready ? 1 : 0);
    set(gauges.uploads, now.uploads);
    set(gauges.uploads_refused, now.uploads_refused);
    set(gauges.uploads_refused_clients, now.uploads_refused_clients);
    set(gauges.repositories, now.repositories);
    set(gauges.manifests, now.manifests);
    set(gauges.swept, now.swept_blobs);
    set(gauges.expired, now.expired_tags);
    set(gauges.corrupt, now.corrupt_blobs);
    set(gauges.disk_total, now.disk_total);
    set(gauges.disk_available, now.disk_available);
    set(gauges.open, now.connections);
    set(gauges.accepted, now.connections_accepted);
    set(gauges.refused, now.connections_refused);
    set(gauges.refused_clients, now.connections_refused_clients);
    set_members(now);
  });
}

}  // namespace hansa::metrics
