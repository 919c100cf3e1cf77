// Use cases around blobs that are there.
#include <algorithm>

#include "registry/service_impl.h"
#include "registry/ticket.h"

namespace hansa::registry {
namespace {

Error no_blob(const oci::RepositoryName& repository, const oci::Digest& digest) {
  return make_error(ErrorCode::not_found, Subject::blob,
                    "the repository " + repository.text() + " has no blob " + digest.text());
}

BlobHead head_of(const oci::Digest& digest, const catalog::BlobState& state, bool stale) {
  return {.digest = digest, .size = state.size, .media_type = state.media_type, .stale = stale};
}

// The reader, which keeps the handle for as long as anybody keeps it.
std::shared_ptr<blob::BlobReader> counted(std::shared_ptr<blob::BlobReader> reader,
                                          std::shared_ptr<const void> handle) {
  struct Both {
    std::shared_ptr<blob::BlobReader> reader;
    std::shared_ptr<const void> handle;
  };
  blob::BlobReader* raw = reader.get();
  return {std::make_shared<Both>(Both{std::move(reader), std::move(handle)}), raw};
}

}  // namespace

io::Task<Result<BlobHead>> Service::head_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest) {
  HANSA_CO_CHECK(require(who, auth::Action::read, repository));
  std::optional<catalog::BlobState> state;
  bool stale = false;
  {
    HANSA_CO_TRY(auto seen, co_await fresh_or_stale());
    HANSA_CO_TRY(state, seen.view.blob(repository, digest));
    if (!state) co_return missing_from(seen, repository, no_blob(repository, digest));
    stale = seen.outage.has_value();
  }
  if (!stale && who.may_push(repository)) {
    // A pusher takes a 200 for "no need to upload": so the bytes must be there, or be uploaded again, and the blob is
    // protected for another grace time (H6).
    HANSA_CO_TRY(const bool there, co_await has_bytes(digest));
    if (!there) {
      log_.warn("a blob whose bytes are lost is asked for by a pusher, who is to upload it again",
                {{"repository", repository.text()}, {"digest", digest.text()}});
      co_return no_blob(repository, digest);
    }
    catalog::Planner plan = [repository, digest](const catalog::Planning& planning) {
      return plan_renew_blob(planning, repository, digest);
    };
    auto renewed = co_await catalog_.submit(std::move(plan));
    if (!renewed && renewed.error().code == ErrorCode::not_found) co_return no_blob(repository, digest);
    if (!renewed) co_return renewed.error();
  }
  co_return head_of(digest, *state, stale);
}

// Where the client goes for the bytes; nullopt: nowhere, they are sent from here.
Result<std::optional<BlobElsewhere>> Service::elsewhere(catalog::Snapshot& view, const oci::RepositoryName& repository,
                                                        const oci::Digest& digest, std::uint64_t size,
                                                        const BlobPull& pull) {
  // Whoever was sent here is not sent on.
  if (!cluster_ || !pull.may_redirect || !pull.ticket.empty()) return std::optional<BlobElsewhere>();
  const std::uint64_t bytes = std::min(pull.length, size - std::min(size, pull.offset));
  HANSA_TRY(
      auto url,
      cluster_->sources.elsewhere(
          view,
          {.digest = digest, .offset = pull.offset, .bytes = bytes, .secure = pull.secure, .client = pull.client}));
  if (!url) return std::optional<BlobElsewhere>();
  return std::optional(
      BlobElsewhere{.url = *std::move(url), .ticket = make_ticket(secret_, repository, digest, catalog_.wall_time())});
}

io::Task<Result<BlobContent>> Service::get_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest,
                                                BlobPull pull) {
  if (pull.ticket.empty()) {
    HANSA_CO_CHECK(require(who, auth::Action::read, repository));
  } else {
    HANSA_CO_CHECK(check_ticket(secret_, pull.ticket, repository, digest, catalog_.wall_time()));
  }
  std::shared_ptr<const catalog::BlobState> state;
  std::optional<BlobElsewhere> other;
  bool stale = false;
  if (!cluster_) {
    HANSA_CO_TRY(const auto fence, co_await catalog_.barrier());
    state = blob_looks_.find(fence, repository, digest);
  }
  if (!state) {
    HANSA_CO_TRY(auto seen, co_await fresh_or_stale());
    HANSA_CO_TRY(auto found, seen.view.blob(repository, digest));
    if (!found) co_return missing_from(seen, repository, no_blob(repository, digest));
    state = std::make_shared<const catalog::BlobState>(*std::move(found));
    stale = seen.outage.has_value();
    // Without a quorum the other's barrier passes no more than this one's.
    if (!stale) {
      HANSA_CO_TRY(other, elsewhere(seen.view, repository, digest, state->size, pull));
    }
    if (!cluster_) blob_looks_.put({}, seen.view.revision(), repository, digest, state);
  }
  if (other) co_return BlobContent{.head = head_of(digest, *state, false), .reader = nullptr, .elsewhere = other};
  auto opened = co_await open_checked(digest, state->size, pull.offset, pull.length);
  if (!opened && opened.error().code == ErrorCode::not_found) {
    log_.error("a blob's file is missing", {{"repository", repository.text()}, {"digest", digest.text()}});
    co_return make_error(ErrorCode::unavailable, Subject::blob,
                         "the bytes of " + digest.text() + " cannot be had now; push the blob again to heal it");
  }
  if (!opened) co_return opened.error();
  BlobContent content{.head = head_of(digest, *state, stale), .reader = std::move(*opened), .elsewhere = {}};
  // A manifest names what it likes; the stored file is the truth.
  content.head.size = content.reader->size();
  if (cluster_) {
    const std::uint64_t bytes = std::min(pull.length, content.head.size - std::min(content.head.size, pull.offset));
    content.reader = counted(std::move(content.reader), cluster_->sources.sending(bytes));
  }
  co_return content;
}

io::Task<Result<void>> Service::delete_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest) {
  HANSA_CO_CHECK(require(who, auth::Action::remove, repository));
  catalog::Planner plan = [repository, digest](const catalog::Planning& planning) {
    return plan_delete_blob(planning, repository, digest);
  };
  auto done = co_await submit_removal(std::move(plan));
  if (done) co_return Result<void>{};
  if (done.error().code != ErrorCode::not_found) co_return done.error();
  co_return co_await missing_now(repository, no_blob(repository, digest));
}

io::Task<Result<bool>> Service::mount_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest,
                                           std::optional<oci::RepositoryName> from) {
  HANSA_CO_CHECK(require(who, auth::Action::create, repository));
  // Where the bytes are lost the client is to upload them.
  HANSA_CO_TRY(const bool there, co_await has_bytes(digest));
  if (!there) co_return false;
  std::vector<oci::RepositoryName> sources;
  if (from) {
    sources.push_back(*from);
  } else {
    HANSA_CO_TRY(auto view, co_await fresh_snapshot());
    HANSA_CO_TRY(sources, view.repositories_holding(digest, max_mount_candidates));
  }
  for (const auto& source : sources) {
    if (!who.may(auth::Action::read, source)) continue;
    catalog::Mount mount{.repository = repository, .from = source, .digest = digest};
    catalog::Planner plan = [mount](const catalog::Planning& planning) { return plan_mount(planning, mount); };
    auto mounted = co_await catalog_.submit(std::move(plan));
    if (mounted) co_return true;
    if (mounted.error().code != ErrorCode::not_found) co_return mounted.error();
  }
  co_return false;
}

}  // namespace hansa::registry
