#include "registry/service.h"

#include <limits>

#include "registry/service_impl.h"

namespace hansa::registry {
namespace {

Error refusal(const auth::Access& who, std::string_view action, const oci::RepositoryName& repository) {
  const std::string what = "\"" + std::string(action) + "\" in the repository " + repository.text();
  if (who.identity().anonymous()) {
    return make_error(ErrorCode::unauthenticated, Subject::repository, "log in: " + what + " needs a user's rights");
  }
  return make_error(ErrorCode::denied, Subject::repository,
                    "the user \"" + who.identity().user + "\" has no right to " + what);
}

SessionOptions session_options(const RegistryOptions& options, const std::optional<ClusterParts>& cluster) {
  SessionOptions sessions{.secret = options.secret,
                          .node = {},
                          .max_open = options.max_uploads,
                          .max_of_one = options.max_uploads_per_client,
                          .max_bytes = options.max_upload_bytes,
                          .max_bytes_of_one = options.max_upload_bytes_per_client,
                          .in_use = {}};
  if (cluster) {
    sessions.node = cluster->node;
    sessions.in_use = [&copies = cluster->copies, &relays = cluster->relays](const std::string& id) {
      return copies.is_staging(id) || relays.is_staging(id);
    };
  }
  return sessions;
}

}  // namespace

Result<void> require(const auth::Access& who, auth::Action action, const oci::RepositoryName& repository) {
  if (who.may(action, repository)) return {};
  return refusal(who, auth::to_string(action), repository);
}

Result<void> require_push(const auth::Access& who, const oci::RepositoryName& repository) {
  if (who.may_push(repository)) return {};
  return refusal(who, auth::to_string(auth::Action::create), repository);
}

std::unique_ptr<RegistryService> make_registry(catalog::Catalog& catalog, blob::BlobStore& blobs, io::Random& random,
                                               Logger& log, RegistryOptions options,
                                               std::optional<ClusterParts> cluster) {
  return std::make_unique<Service>(catalog, blobs, random, log, std::move(options), std::move(cluster));
}

Service::Service(catalog::Catalog& catalog, blob::BlobStore& blobs, io::Random& random, Logger& log,
                 RegistryOptions options, std::optional<ClusterParts> cluster)
    : catalog_(catalog),
      blobs_(blobs),
      random_(random),
      log_(log),
      cluster_(std::move(cluster)),
      secret_(options.secret),
      max_staleness_(options.max_staleness),
      pulls_(options.pulls),
      members_failed_(std::numeric_limits<std::int64_t>::min() / 2),
      sessions_(
          blobs, random, [&catalog] { return catalog.newest_tick(); }, session_options(options, cluster_)),
      bodies_(options.manifest_cache),
      looks_(catalog.changes()),
      blob_looks_(catalog.changes()),
      tag_pages_(catalog.changes()) {
  if (!cluster_) return;
  search_ = std::make_unique<SessionSearch>(SessionSearch::Ports{.peers = cluster_->peers,
                                                                 .members = cluster_->members,
                                                                 .pulses = cluster_->pulses,
                                                                 .relays = cluster_->relays,
                                                                 .blobs = blobs_,
                                                                 .sessions = sessions_,
                                                                 .boot_time = [this] { return catalog_.boot_time(); },
                                                                 .log = log_});
}

io::Task<Result<catalog::Snapshot>> Service::fresh_snapshot() {
  HANSA_CO_CHECK(co_await catalog_.barrier());
  co_return catalog_.snapshot();
}

Error Service::missing(catalog::Snapshot& view, const oci::RepositoryName& repository, Error otherwise) {
  auto state = view.repository_state(repository);
  if (!state) return std::move(state).error();
  if (*state && (*state)->populated()) return otherwise;
  return make_error(ErrorCode::not_found, Subject::repository, "there is no repository " + repository.text());
}

io::Task<Error> Service::missing_now(oci::RepositoryName repository, Error otherwise) {
  auto view = co_await fresh_snapshot();
  if (!view) co_return std::move(view).error();
  co_return missing(*view, repository, std::move(otherwise));
}

io::Task<Result<std::shared_ptr<blob::BlobReader>>> Service::open_blob(oci::Digest digest) {
  if (cluster_) return cluster_->copies.obtain(digest);
  return blobs_.open(digest);
}

io::Task<Result<bool>> Service::has_bytes(oci::Digest digest) {
  const auto here = co_await blobs_.stat(digest);
  if (here) co_return true;
  if (here.error().code != ErrorCode::not_found) co_return here.error();
  if (!cluster_) co_return false;
  const auto begun = co_await io::with_deadline(bytes_limit, cluster_->copies.stream(digest));
  if (!begun && begun.error().code == ErrorCode::cancelled) co_return begun.error();
  co_return begun.has_value();
}

io::Task<Result<std::shared_ptr<blob::BlobReader>>> Service::open_checked(oci::Digest digest, std::uint64_t size,
                                                                          std::uint64_t offset, std::uint64_t length) {
  constexpr int attempts = 2;
  // Only who reads to the end can be given bytes of a blob that is still coming: the last ones wait for its digest.
  const bool to_end = offset < size && length >= size - offset;
  Result<std::shared_ptr<blob::BlobReader>> opened = make_error(ErrorCode::internal, "not opened");
  for (int attempt = 0; attempt < attempts; ++attempt) {
    if (cluster_ && to_end && size >= stream_from) {
      opened = co_await cluster_->copies.stream(digest);
    } else {
      opened = co_await open_blob(digest);
    }
    if (!opened) co_return opened;
    const std::uint64_t first = std::min(checked_first, length);
    // What comes only now has nothing to be checked before it is sent.
    if ((*opened)->is_growing() || (*opened)->is_verified(offset, first)) co_return opened;
    auto sound = co_await (*opened)->verify(offset, first);
    if (sound) co_return opened;
    if (!cluster_ || sound.error().code != ErrorCode::corrupt) co_return std::move(sound).error();
    opened = std::move(sound).error();
  }
  co_return opened;
}

// Enough receipts for the commit: the own one, and those of other members that the layout asks for (P1).
io::Task<Result<std::vector<catalog::Receipt>>> Service::confirm(oci::Digest digest, std::uint64_t size,
                                                                 blob::Receipt own,
                                                                 std::optional<catalog::Receipt> relayed) {
  if (cluster_) {
    co_return co_await cluster_->copies.confirm(std::move(digest), size, std::move(own), std::move(relayed));
  }
  co_return std::vector<catalog::Receipt>{{.node = std::move(own.node), .disk = std::move(own.disk), .tick = own.tick}};
}

io::Task<Result<void>> Service::submit_with_receipts(oci::Digest digest, std::uint64_t size, blob::Receipt own,
                                                     std::optional<catalog::Receipt> relayed, ReceiptPlanner plan,
                                                     catalog::Weight weight) {
  for (int attempt = 0; attempt < max_receipt_renewals; ++attempt) {
    HANSA_CO_TRY(const auto receipts,
                 co_await confirm(digest, size, std::move(own), std::exchange(relayed, std::nullopt)));
    auto submitted = co_await catalog_.submit(plan(receipts), weight);
    if (submitted) co_return Result<void>{};
    if (submitted.error().code != ErrorCode::conflict) co_return submitted.error();
    auto renewed = co_await blobs_.renew_receipt(digest);
    if (!renewed && renewed.error().code == ErrorCode::not_found) {
      // Two ticks went by between its fsync and here, and the sweep took it: rightly, nothing named it yet.
      co_return make_error(ErrorCode::unavailable, Subject::blob,
                           "the push of " + digest.text() + " took so long that it must be sent again");
    }
    if (!renewed) co_return renewed.error();
    own = std::move(*renewed);
  }
  co_return make_error(ErrorCode::unavailable, "the slow clock ran ahead of this push again and again; try again");
}

io::Task<Result<void>> Service::link(oci::RepositoryName repository, oci::Digest digest, std::uint64_t size,
                                     blob::Receipt receipt, std::optional<catalog::Receipt> relayed) {
  ReceiptPlanner plan = [repository, digest, size](const std::vector<catalog::Receipt>& fresh) -> catalog::Planner {
    catalog::LinkUpload upload{.repository = repository, .digest = digest, .size = size, .receipts = fresh};
    return [upload = std::move(upload)](const catalog::Planning& planning) { return plan_link(planning, upload); };
  };
  co_return co_await submit_with_receipts(digest, size, std::move(receipt), std::move(relayed), std::move(plan));
}

io::Task<Result<bool>> Service::load_references() {
  constexpr std::size_t at_once = 20;
  std::vector<catalog::Snapshot::Unloaded> missing;
  {
    HANSA_CO_TRY(auto view, catalog_.snapshot());
    HANSA_CO_TRY(missing, view.unloaded(at_once));
  }
  for (const auto& entry : missing) {
    HANSA_CO_TRY(const auto reader, co_await open_blob(entry.digest));
    const std::uint64_t size = reader->size();
    HANSA_CO_TRY(const auto body, co_await manifest_body(entry.digest, size));
    HANSA_CO_TRY(auto parsed, co_await read_manifest(entry.media_type, body));
    auto manifest = std::make_shared<const oci::Manifest>(std::move(parsed));
    catalog::Planner plan = [name = entry.repository, digest = entry.digest,
                             manifest](const catalog::Planning& planning) {
      return plan_load_references(planning, name, digest, manifest);
    };
    HANSA_CO_CHECK(co_await catalog_.submit(std::move(plan), weight_of(*manifest)));
  }
  co_return !missing.empty();
}

io::Task<Result<void>> Service::submit_removal(catalog::Planner plan) {
  auto done = co_await catalog_.submit(plan);
  if (!done && done.error().code == ErrorCode::unavailable && done.error().subject == Subject::repository) {
    HANSA_CO_TRY(const bool loaded, co_await load_references());
    if (loaded) done = co_await catalog_.submit(std::move(plan));
  }
  if (!done) co_return std::move(done).error();
  co_return Result<void>{};
}

std::vector<std::byte> Service::take_buffer() {
  {
    const std::lock_guard guard(buffers_mutex_);
    if (!buffers_.empty()) {
      auto buffer = std::move(buffers_.back());
      buffers_.pop_back();
      return buffer;
    }
  }
  return std::vector<std::byte>(upload_buffer);
}

void Service::give_buffer(std::vector<std::byte> buffer) {
  const std::lock_guard guard(buffers_mutex_);
  if (buffers_.size() < kept_buffers) buffers_.push_back(std::move(buffer));
}

}  // namespace hansa::registry
