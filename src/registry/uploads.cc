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

// Of a session that another member had before: perhaps with more bytes.
Error not_whole(const blob::StagedBlob& staged) {
  return make_error(ErrorCode::range, Subject::upload,
                    "this upload goes on with another member of the cluster, which has " +
                        std::to_string(staged.size()) + " bytes of it; send what follows on them");
}

}  // namespace

io::Task<Result<UploadSessions::Hold>> Service::open_session(auth::Access who, oci::RepositoryName repository,
                                                             oci::Algorithm algorithm) {
  auto begun = co_await sessions_.begin(std::move(repository), who.identity().user, who.client(), algorithm);
  if (!begun && begun.error().code == ErrorCode::too_many) note_refused_upload(begun.error());
  co_return begun;
}

void Service::note_refused_upload(const Error& error) {
  std::optional<std::uint64_t> unsaid;
  {
    const std::lock_guard guard(refusals_mutex_);
    unsaid = refusals_pace_.count(catalog_.boot_time());
  }
  if (unsaid) log_.warn("uploads are refused", {{"reason", error.message}, {"refused", *unsaid}});
}

io::Task<Result<UploadStatus>> Service::begin_upload(auth::Access who, oci::RepositoryName repository,
                                                     oci::Algorithm algorithm) {
  HANSA_CO_CHECK(require(who, auth::Action::create, repository));
  HANSA_CO_TRY(const auto session, co_await open_session(who, std::move(repository), algorithm));
  co_return status_of(*session);
}

io::Task<Result<UploadStatus>> Service::upload_status(auth::Access who, oci::RepositoryName repository,
                                                      std::string session) {
  HANSA_CO_CHECK(require(who, auth::Action::create, repository));
  UploadCall call{.verb = "upload.status",
                  .repository = std::move(repository),
                  .user = who.identity().user,
                  .session = std::move(session)};
  co_return co_await serve_upload(std::move(call), nullptr);
}

io::Task<Result<UploadStatus>> Service::append_upload(auth::Access who, oci::RepositoryName repository,
                                                      std::string session, std::optional<ChunkRange> range,
                                                      io::ByteSource& body) {
  HANSA_CO_CHECK(require(who, auth::Action::create, repository));
  UploadCall call{.verb = "upload.append",
                  .repository = std::move(repository),
                  .user = who.identity().user,
                  .session = std::move(session),
                  .range = range};
  co_return co_await serve_upload(std::move(call), &body);
}

io::Task<Result<void>> Service::finish_upload(auth::Access who, oci::RepositoryName repository, std::string session,
                                              std::optional<ChunkRange> range, io::ByteSource& body,
                                              oci::Digest digest) {
  HANSA_CO_CHECK(require(who, auth::Action::create, repository));
  UploadCall call{.verb = "upload.finish",
                  .repository = std::move(repository),
                  .user = who.identity().user,
                  .session = std::move(session),
                  .range = range,
                  .digest = std::move(digest)};
  HANSA_CO_CHECK(co_await serve_upload(std::move(call), &body));
  co_return Result<void>{};
}

io::Task<Result<void>> Service::cancel_upload(auth::Access who, oci::RepositoryName repository, std::string session) {
  HANSA_CO_CHECK(require(who, auth::Action::create, repository));
  UploadCall call{.verb = "upload.cancel",
                  .repository = std::move(repository),
                  .user = who.identity().user,
                  .session = std::move(session)};
  HANSA_CO_CHECK(co_await serve_upload(std::move(call), nullptr));
  co_return Result<void>{};
}

io::Task<Result<UploadStatus>> Service::serve_here(UploadCall call, io::ByteSource& body) {
  UploadStatus done{.session = call.session, .received = 0};
  if (call.verb == "upload.status") co_return co_await local_status(std::move(call));
  if (call.verb == "upload.append") co_return co_await local_append(std::move(call), body);
  if (call.verb == "upload.finish") {
    HANSA_CO_CHECK(co_await local_finish(std::move(call), body));
  } else {
    HANSA_CO_CHECK(co_await local_cancel(std::move(call)));
  }
  co_return done;
}

io::Task<Result<UploadStatus>> Service::local_status(UploadCall call) {
  HANSA_CO_TRY(const auto held, co_await sessions_.acquire(call.repository, call.user, call.session));
  if (held->finished) {
    co_return make_error(ErrorCode::not_found, Subject::upload, "this upload is finished");
  }
  HANSA_CO_CHECK(co_await check_still_owner(*held, call));
  if (const auto relay = held->relay) {
    co_await relay->check();
    HANSA_CO_CHECK(co_await check_not_superseded(*held));
  }
  held->unsure = false;
  co_return status_of(*held);
}

// ---- receiving ----------------------------------------------------------------------------------------------------

// `placed`: the client has said where its bytes belong, or need not.
io::Task<Result<void>> Service::take_in(UploadSessions::Session& session, bool placed, io::ByteSource& body) {
  blob::StagedBlob& staged = *session.staged;
  const auto relay = session.relay;
  auto buffer = take_buffer();
  Result<void> outcome;
  while (true) {
    auto got = co_await body.read(buffer);
    if (!got) {
      outcome = got.error();
      break;
    }
    if (*got == 0) break;
    if (!placed) {
      outcome = not_whole(staged);
      break;
    }
    const auto bytes = Bytes(buffer).first(*got);
    outcome = sessions_.grow(session, bytes.size());
    if (!outcome) {
      if (outcome.error().code == ErrorCode::too_many) note_refused_upload(outcome.error());
      break;
    }
    outcome = co_await staged.append(bytes);
    if (!outcome) break;
    if (relay) co_await relay->write(bytes);
  }
  give_buffer(std::move(buffer));
  co_return outcome;
}

// To the own disk, and to another member's at the same time.
io::Task<Result<void>> Service::receive(UploadSessions::Session& session, Incoming incoming, io::ByteSource& body) {
  blob::StagedBlob& staged = *session.staged;
  const auto& range = incoming.range;
  if (range && range->first != staged.size()) co_return out_of_order(staged.size(), range->first);
  const bool placed = range.has_value() || !session.unsure;
  if (range) session.unsure = false;
  if (cluster_ && (!session.relay || !session.relay->good())) {
    session.relay.reset();
    // What is here already is so with others, as a rule: they are asked at the end.
    const bool is_here = incoming.expected && staged.size() == 0 && (co_await blobs_.stat(*incoming.expected));
    if (!is_here) begin_relay(session, incoming.known_to_client);
  }
  const auto relay = session.relay;
  io::TaskContext& context = co_await io::current_context();
  io::TaskScope scope(context.executor());
  if (relay) relay->resume(scope, staged.size(), incoming.more_follows ? 1 : cluster::relay_from);
  auto outcome = co_await take_in(session, placed, body);
  // After an error too: the client may go on after what is here.
  if (relay) relay->settle();
  co_await scope.join();
  if (cluster_) {
    if (outcome && incoming.more_follows) co_await copy_now(session);
    HANSA_CO_CHECK(co_await check_not_superseded(session));
  }
  if (outcome && range && staged.size() != range->last + 1) {
    co_return make_error(ErrorCode::range, Subject::upload,
                         "the chunk has other than the " + std::to_string(range->last - range->first + 1) +
                             " bytes that its Content-Range says");
  }
  co_return outcome;
}

void Service::begin_relay(UploadSessions::Session& session, bool keep, const io::NodeId& except) {
  session.relay = cluster_->relays.begin(
      {.id = session.id, .algorithm = session.staged->algorithm(), .term = session.term, .keep = keep}, except);
}

// The second copy of what is here, where it is not made yet: the relay broke off, or could not be begun.
io::Task<void> Service::copy_now(UploadSessions::Session& session) {
  const std::uint64_t size = session.staged->size();
  for (int tries = 0; tries < max_relay_tries; ++tries) {
    if (session.relay && (session.relay->superseded() || (session.relay->good() && session.relay->has() == size))) {
      co_return;
    }
    if (!session.relay || !session.relay->good()) {
      begin_relay(session, true, session.relay ? session.relay->to() : io::NodeId());
    }
    if (!session.relay) co_return;
    io::TaskContext& context = co_await io::current_context();
    io::TaskScope scope(context.executor());
    session.relay->catch_up(scope, size);
    co_await scope.join();
  }
}

// What another member has taken up is over here.
io::Task<Result<void>> Service::check_not_superseded(UploadSessions::Session& session) {
  if (!session.relay || !session.relay->superseded()) co_return Result<void>{};
  co_return co_await give_up(session);
}

io::Task<Result<void>> Service::give_up(UploadSessions::Session& session) {
  session.relay.reset();
  auto gone = co_await sessions_.discard(session);
  if (!gone) log_.warn("cannot remove an upload that goes on elsewhere", {{"error", gone.error().message}});
  co_return make_error(ErrorCode::unavailable, Subject::upload,
                       "another member has gone on with this upload; ask where it stands and go on from there");
}

// Without a peer that follows, this node may have been cut off, and another one gone on.
io::Task<Result<void>> Service::check_still_owner(UploadSessions::Session& session, UploadCall call) {
  if (!cluster_ || !session.staged || session.staged->size() == 0) co_return Result<void>{};
  if (session.relay && session.relay->good()) co_return Result<void>{};
  auto opened_by = sessions_.opened_by(call.repository, call.user, call.session);
  if (!opened_by || cluster_->copies.second_copies().empty()) co_return Result<void>{};
  const auto highest = co_await search_->highest_term({.repository = std::move(call.repository),
                                                       .user = std::move(call.user),
                                                       .id = std::move(call.session),
                                                       .opened_by = io::NodeId(*std::move(opened_by))});
  if (highest <= session.term) co_return Result<void>{};
  co_return co_await give_up(session);
}

io::Task<Result<UploadStatus>> Service::local_append(UploadCall call, io::ByteSource& body) {
  HANSA_CO_TRY(const auto held, co_await sessions_.acquire(call.repository, call.user, call.session));
  if (!held->staged) {
    co_return make_error(ErrorCode::not_found, Subject::upload, "this upload is finished");
  }
  HANSA_CO_CHECK(co_await check_still_owner(*held, call));
  HANSA_CO_CHECK(co_await receive(*held, {.range = call.range, .expected = {}, .more_follows = true}, body));
  co_return status_of(*held);
}

// ---- the end ------------------------------------------------------------------------------------------------------

io::Task<Result<void>> Service::local_finish(UploadCall call, io::ByteSource& body) {
  const oci::Digest digest = *call.digest;
  HANSA_CO_TRY(const auto held, co_await sessions_.acquire(call.repository, call.user, call.session));
  if (held->stored) {
    // Its bytes are stored already: a repeated PUT after a cut answer (H12).
    if (*held->stored != digest) {
      co_return make_error(ErrorCode::not_found, Subject::upload, "this upload ended as " + held->stored->text());
    }
    if (held->finished) co_return Result<void>{};
  } else {
    HANSA_CO_CHECK(co_await check_still_owner(*held, call));
    HANSA_CO_CHECK(co_await receive(*held, {.range = call.range, .expected = digest}, body));
  }
  co_return co_await complete(*held, std::move(call.repository), digest);
}

io::Task<bool> Service::is_done(const oci::RepositoryName& repository, std::optional<oci::Digest> digest) {
  if (!digest) co_return false;
  catalog::Planner plan = [repository, of = *std::move(digest)](const catalog::Planning& planning) {
    return plan_renew_blob(planning, repository, of);
  };
  co_return (co_await catalog_.submit(std::move(plan))).has_value();
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
      if (error.code == ErrorCode::invalid && session.unsure) co_return not_whole(*session.staged);
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

io::Task<Result<void>> Service::local_cancel(UploadCall call) {
  HANSA_CO_TRY(const auto held,
               co_await sessions_.acquire(std::move(call.repository), std::move(call.user), std::move(call.session)));
  if (held->finished) {
    co_return make_error(ErrorCode::not_found, Subject::upload, "this upload is finished");
  }
  co_return co_await sessions_.discard(*held);
}

io::Task<Result<void>> Service::push_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest,
                                          io::ByteSource& body) {
  HANSA_CO_CHECK(require(who, auth::Action::create, repository));
  HANSA_CO_TRY(const auto held, co_await open_session(who, repository, digest.algorithm()));
  auto received = co_await receive(*held, {.range = {}, .expected = digest, .known_to_client = false}, body);
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
