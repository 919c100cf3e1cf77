// Use cases around uploads.
#include "registry/service_impl.h"

namespace hansa::registry {
namespace {

UploadStatus status_of(const UploadSessions::Session& session) {
  return {.session = session.id, .received = session.staged ? session.staged->size() : session.stored_size};
}

Error out_of_order(std::uint64_t expected, std::uint64_t given) {
  return make_error(ErrorCode::range, Subject::upload,
                    "the next byte of this upload is " + std::to_string(expected) + ", not " + std::to_string(given));
}

}  // namespace

io::Task<Result<UploadStatus>> Service::begin_upload(auth::Access who, oci::RepositoryName repository,
                                                     oci::Algorithm algorithm) {
  HANSA_CO_CHECK(require(who, auth::Action::create, repository));
  HANSA_CO_TRY(const auto session, co_await sessions_.begin(std::move(repository), who.identity().user, algorithm));
  co_return status_of(*session);
}

io::Task<Result<UploadStatus>> Service::upload_status(auth::Access who, oci::RepositoryName repository,
                                                      std::string session) {
  HANSA_CO_CHECK(require(who, auth::Action::create, repository));
  if (auto owner = sessions_.owner_elsewhere(repository, who.identity().user, session)) {
    UploadCall call{.verb = "upload.status", .repository = std::move(repository), .session = std::move(session)};
    co_return co_await forward(io::NodeId(*std::move(owner)), who.identity(), std::move(call), nullptr);
  }
  co_return co_await local_status(who.identity().user, std::move(repository), std::move(session));
}

io::Task<Result<UploadStatus>> Service::local_status(std::string user, oci::RepositoryName repository,
                                                     std::string session) {
  HANSA_CO_TRY(const auto held, co_await sessions_.acquire(std::move(repository), std::move(user), std::move(session)));
  if (held->finished) {
    co_return make_error(ErrorCode::not_found, Subject::upload, "this upload is finished");
  }
  co_return status_of(*held);
}

io::Task<Result<void>> Service::take_in(blob::StagedBlob& staged, cluster::Relay* relay, io::ByteSource& body) {
  auto buffer = take_buffer();
  Result<void> outcome;
  while (true) {
    auto got = co_await body.read(buffer);
    if (!got) {
      outcome = got.error();
      break;
    }
    if (*got == 0) break;
    const auto bytes = Bytes(buffer).first(*got);
    outcome = co_await staged.append(bytes);
    if (!outcome) break;
    if (relay != nullptr) co_await relay->write(bytes);
  }
  give_buffer(std::move(buffer));
  co_return outcome;
}

// To the own disk, and to another member's at the same time.
io::Task<Result<void>> Service::receive(UploadSessions::Session& session, std::optional<ChunkRange> range,
                                        io::ByteSource& body, std::optional<oci::Digest> expected) {
  blob::StagedBlob& staged = *session.staged;
  if (range && range->first != staged.size()) co_return out_of_order(staged.size(), range->first);
  if (cluster_ && staged.size() == 0) {
    // What is here already is so with others, as a rule: they are asked at the end.
    const bool is_here = expected && (co_await blobs_.stat(*expected)).has_value();
    session.relay = is_here ? nullptr : cluster_->relays.begin(staged.algorithm());
  }
  const auto relay = session.relay;
  io::TaskContext& context = co_await io::current_context();
  io::TaskScope scope(context.executor());
  if (relay) relay->resume(scope, staged.size());
  auto outcome = co_await take_in(staged, relay.get(), body);
  // After an error too: the client may go on after what is here.
  if (relay) relay->settle();
  co_await scope.join();
  if (relay && !relay->good()) session.relay.reset();
  if (outcome && range && staged.size() != range->last + 1) {
    co_return make_error(ErrorCode::range, Subject::upload,
                         "the chunk has other than the " + std::to_string(range->last - range->first + 1) +
                             " bytes that its Content-Range says");
  }
  co_return outcome;
}

io::Task<Result<UploadStatus>> Service::append_upload(auth::Access who, oci::RepositoryName repository,
                                                      std::string session, std::optional<ChunkRange> range,
                                                      io::ByteSource& body) {
  HANSA_CO_CHECK(require(who, auth::Action::create, repository));
  if (auto owner = sessions_.owner_elsewhere(repository, who.identity().user, session)) {
    UploadCall call{.verb = "upload.append",
                    .repository = std::move(repository),
                    .session = std::move(session),
                    .range = range,
                    .digest = std::nullopt};
    co_return co_await forward(io::NodeId(*std::move(owner)), who.identity(), std::move(call), &body);
  }
  co_return co_await local_append(who.identity().user, std::move(repository), std::move(session), range, body);
}

io::Task<Result<UploadStatus>> Service::local_append(std::string user, oci::RepositoryName repository,
                                                     std::string session, std::optional<ChunkRange> range,
                                                     io::ByteSource& body) {
  HANSA_CO_TRY(const auto held, co_await sessions_.acquire(std::move(repository), std::move(user), std::move(session)));
  if (!held->staged) {
    co_return make_error(ErrorCode::not_found, Subject::upload, "this upload is finished");
  }
  HANSA_CO_CHECK(co_await receive(*held, range, body));
  co_return status_of(*held);
}

io::Task<Result<void>> Service::finish_upload(auth::Access who, oci::RepositoryName repository, std::string session,
                                              std::optional<ChunkRange> range, io::ByteSource& body,
                                              oci::Digest digest) {
  HANSA_CO_CHECK(require(who, auth::Action::create, repository));
  if (auto owner = sessions_.owner_elsewhere(repository, who.identity().user, session)) {
    UploadCall call{.verb = "upload.finish",
                    .repository = std::move(repository),
                    .session = std::move(session),
                    .range = range,
                    .digest = digest};
    HANSA_CO_CHECK(co_await forward(io::NodeId(*std::move(owner)), who.identity(), std::move(call), &body));
    co_return Result<void>{};
  }
  co_return co_await local_finish(who.identity().user, std::move(repository), std::move(session), range, body, digest);
}

io::Task<Result<void>> Service::local_finish(std::string user, oci::RepositoryName repository, std::string session,
                                             std::optional<ChunkRange> range, io::ByteSource& body,
                                             oci::Digest digest) {
  HANSA_CO_TRY(const auto held, co_await sessions_.acquire(repository, std::move(user), std::move(session)));
  if (held->stored) {
    // Its bytes are stored already: a repeated PUT after a cut answer (H12).
    if (*held->stored != digest) {
      co_return make_error(ErrorCode::not_found, Subject::upload, "this upload ended as " + held->stored->text());
    }
    if (held->finished) co_return Result<void>{};
  } else {
    HANSA_CO_CHECK(co_await receive(*held, range, body, digest));
  }
  co_return co_await complete(*held, std::move(repository), digest);
}

// Verified and synced here, and there at the same time.
io::Task<Service::Stored> Service::store(UploadSessions::Session& session, oci::Digest digest) {
  Stored out{.own = make_error(ErrorCode::internal, "not stored"), .relayed = std::nullopt};
  const auto relay = std::exchange(session.relay, nullptr);
  const std::uint64_t size = session.staged->size();
  io::TaskContext& context = co_await io::current_context();
  io::TaskScope scope(context.executor());
  if (relay && relay->good()) {
    auto other = [](std::shared_ptr<cluster::Relay> by, oci::Digest of, std::uint64_t bytes,
                    std::optional<catalog::Receipt>* receipt) -> io::Task<void> {
      auto got = co_await by->finish(std::move(of), bytes);
      if (got) *receipt = *std::move(got);
    };
    scope.spawn("finish a relay", other(relay, digest, size, &out.relayed));
  }
  out.own = co_await blobs_.finish(session.staged, digest);
  co_await scope.join();
  co_return out;
}

io::Task<Result<void>> Service::complete(UploadSessions::Session& session, oci::RepositoryName repository,
                                         oci::Digest digest) {
  blob::Receipt receipt;
  std::optional<catalog::Receipt> relayed;
  if (session.stored) {
    auto renewed = co_await blobs_.renew_receipt(digest);
    if (!renewed && renewed.error().code == ErrorCode::not_found) {
      // Stored by an earlier try, never named, and swept since.
      HANSA_CO_CHECK(co_await sessions_.discard(session));
      co_return make_error(ErrorCode::not_found, Subject::upload,
                           "the bytes of this upload were not named in time and are gone; start a new upload");
    }
    if (!renewed) co_return renewed.error();
    receipt = std::move(*renewed);
  } else {
    const std::uint64_t size = session.staged->size();
    auto stored = co_await store(session, digest);
    if (!stored.own) {
      const Error error = std::move(stored.own).error();
      // Bytes that are not the digest's are of no use; a full disk leaves them for another try.
      const bool useless = error.code == ErrorCode::invalid || error.code == ErrorCode::io;
      if (useless) {
        auto discarded = co_await sessions_.discard(session);
        if (!discarded) log_.warn("cannot remove a refused upload", {{"error", discarded.error().message}});
      }
      co_return error;
    }
    receipt = std::move(*stored.own);
    relayed = std::move(stored.relayed);
    session.staged.reset();
    session.stored = digest;
    session.stored_size = size;
  }
  HANSA_CO_CHECK(
      co_await link(std::move(repository), digest, session.stored_size, std::move(receipt), std::move(relayed)));
  sessions_.finished(session);
  co_return Result<void>{};
}

io::Task<Result<void>> Service::cancel_upload(auth::Access who, oci::RepositoryName repository, std::string session) {
  HANSA_CO_CHECK(require(who, auth::Action::create, repository));
  if (auto owner = sessions_.owner_elsewhere(repository, who.identity().user, session)) {
    UploadCall call{.verb = "upload.cancel", .repository = std::move(repository), .session = std::move(session)};
    HANSA_CO_CHECK(co_await forward(io::NodeId(*std::move(owner)), who.identity(), std::move(call), nullptr));
    co_return Result<void>{};
  }
  co_return co_await local_cancel(who.identity().user, std::move(repository), std::move(session));
}

io::Task<Result<void>> Service::local_cancel(std::string user, oci::RepositoryName repository, std::string session) {
  HANSA_CO_TRY(const auto held, co_await sessions_.acquire(std::move(repository), std::move(user), std::move(session)));
  if (held->finished) {
    co_return make_error(ErrorCode::not_found, Subject::upload, "this upload is finished");
  }
  co_return co_await sessions_.discard(*held);
}

io::Task<Result<void>> Service::push_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest,
                                          io::ByteSource& body) {
  HANSA_CO_CHECK(require(who, auth::Action::create, repository));
  HANSA_CO_TRY(const auto held, co_await sessions_.begin(repository, who.identity().user, digest.algorithm()));
  auto received = co_await receive(*held, std::nullopt, body, digest);
  Result<void> outcome = received;
  if (received) outcome = co_await complete(*held, std::move(repository), digest);
  if (!outcome && !held->finished) {
    // The client has no session to go on with.
    auto discarded = co_await sessions_.discard(*held);
    if (!discarded) log_.warn("cannot remove a failed upload", {{"error", discarded.error().message}});
  }
  co_return outcome;
}

}  // namespace hansa::registry
