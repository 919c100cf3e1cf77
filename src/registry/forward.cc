// Upload sessions that another member has: every request of them is passed on to it with the caller's name (DESIGN.md
// 6.1). The caller's rights are checked where the request arrived; the owner believes its peers. Who the owner is once
// the one that opened the session does not answer: session_search.h.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "cluster/json_fields.h"
#include "cluster/while_moving.h"
#include "registry/lent_source.h"
#include "registry/rewind_source.h"
#include "registry/service_impl.h"

namespace hansa::registry {
namespace {

// What a client is told when its session's owner did not answer as a registry does.
Error forwarded(Error error, const io::NodeId& owner) {
  switch (error.code) {
    case ErrorCode::unavailable:
    case ErrorCode::timeout:
    case ErrorCode::disconnected:
    case ErrorCode::unauthenticated:  // between members: not the client's business
    case ErrorCode::denied:
    case ErrorCode::unsupported:
    case ErrorCode::internal:
      return make_error(ErrorCode::unavailable, Subject::upload,
                        "the member " + owner.value() + ", which has this upload, cannot go on with it now; " +
                            "try again later: " + error.message);
    default: return error;
  }
}

std::string text_or_none(const nlohmann::json& json, const char* name) {
  return cluster::text_in(json, name).value_or("");
}

bool is_unreachable(ErrorCode code) {
  return code == ErrorCode::unavailable || code == ErrorCode::timeout || code == ErrorCode::disconnected ||
         code == ErrorCode::ambiguous;
}

std::string received_text(std::uint64_t received) {
  return nlohmann::json{{"received", received}}.dump();
}

}  // namespace

io::Task<Result<UploadStatus>> Service::serve_upload(UploadCall call, io::ByteSource* body) {
  if (cluster_ && !sessions_.find_open(call.session)) {
    if (auto opened_by = sessions_.opened_by(call.repository, call.user, call.session)) {
      co_return co_await serve_elsewhere(std::move(call), body, io::NodeId(*std::move(opened_by)));
    }
  }
  io::MemorySource none{ConstBytes{}};
  co_return co_await serve_here(std::move(call), body == nullptr ? none : *body);
}

bool Service::answers_pings(const io::NodeId& id) const {
  const auto members = cluster_->members.members();
  return std::ranges::find(members, id, &cluster::MemberState::id) != members.end() && cluster_->pulses.fresh(id);
}

// Where it was last, or where it was opened, as long as that member answers; else where it is found.
io::Task<Result<UploadStatus>> Service::serve_elsewhere(UploadCall call, io::ByteSource* body, io::NodeId opened_by) {
  const io::NodeId& self = cluster_->members.self();
  const SessionSearch::Wanted wanted{
      .repository = call.repository, .user = call.user, .id = call.session, .opened_by = opened_by};
  auto at = std::optional(search_->hint(call.session).value_or(opened_by));
  if (!answers_pings(*at)) at.reset();
  io::MemorySource none{ConstBytes{}};
  RewindSource again(body == nullptr ? none : *body);
  for (int tries = 0; tries < max_forwards;) {
    if (!at || (*at == self && !sessions_.find_open(call.session))) {
      auto found = co_await search_->find(wanted);
      if (!found && found.error().code == ErrorCode::not_found && co_await is_done(call.repository, call.digest)) {
        co_return UploadStatus{.session = std::move(call.session), .received = 0};
      }
      if (!found) co_return std::move(found).error();
      at = *std::move(found);
    }
    if (*at == self) co_return co_await serve_here(std::move(call), again);
    if (*at == opened_by) {
      search_->forget(call.session);
    } else {
      search_->note(call.session, *at);
    }
    ++tries;
    auto done = co_await forward(*at, call, body == nullptr ? nullptr : &again);
    if (done.answered && !done.elsewhere) co_return std::move(done.answer);
    search_->note(call.session, done.elsewhere.value_or(io::NodeId()));
    // It answers pings: a hiccup; unless it said that it stops.
    const bool stopped = done.refused && cluster_->pulses.leaving(*at) && tries < max_forwards;
    // Whether it took any of a body without a range nobody can say, unless it said who has the upload.
    const bool may_repeat = done.elsewhere || stopped || call.range;
    if (done.body_used && (!may_repeat || !again.rewind())) co_return std::move(done.answer);
    if (!done.elsewhere && answers_pings(*at) && !stopped) co_return std::move(done.answer);
    at = std::move(done.elsewhere);
  }
  co_return make_error(ErrorCode::unavailable, Subject::upload,
                       "the members do not agree yet who goes on with this upload; try again later");
}

io::Task<Result<io::PeerResponse>> Service::send_call(io::NodeId to, io::PeerRequest request, io::ByteSource* body,
                                                      BodySent* sent) {
  if (body == nullptr) {
    co_return co_await io::with_deadline(forward_limit, cluster_->peers.call(std::move(to), std::move(request)));
  }
  auto lent = std::make_shared<LentSource>(*body);
  request.body = lent;
  // A slow client is not the owner's fault: while its bytes are waited for, time does not count.
  cluster::Progress progress = [lent, beat = std::uint64_t{0}]() mutable {
    if (lent->reading()) ++beat;
    return lent->given() + beat;
  };
  cluster::Limit limit = [lent] { return lent->ended() ? forward_end_limit : forward_stall_limit; };
  auto answer = co_await cluster::while_moving(std::move(limit), std::move(progress),
                                               cluster_->peers.call(std::move(to), std::move(request)));
  co_await lent->take_back();
  *sent = {.any = lent->given() > 0, .broken = lent->error()};
  co_return answer;
}

io::Task<Service::Forwarded> Service::forward(io::NodeId to, UploadCall call, io::ByteSource* body) {
  nlohmann::json arguments = {{"user", call.user}, {"repository", call.repository.text()}, {"session", call.session}};
  if (call.range) {
    arguments["first"] = call.range->first;
    arguments["last"] = call.range->last;
  }
  if (call.digest) arguments["digest"] = call.digest->text();
  io::PeerRequest request{.verb = std::move(call.verb), .arguments = arguments.dump(), .body = nullptr};
  BodySent sent;
  const auto answer = co_await send_call(to, std::move(request), body, &sent);
  const auto cannot_go_on = [&to](const std::string& why) {
    return forwarded(make_error(ErrorCode::unavailable, Subject::upload, why), to);
  };
  // The client's own body broke: that is what it is told.
  if (!answer && sent.broken) co_return Forwarded{.answer = *sent.broken};
  if (!answer) {
    co_return Forwarded{.answer = forwarded(answer.error(), to),
                        .answered = !is_unreachable(answer.error().code),
                        .refused = answer.error().code == ErrorCode::unavailable,
                        .body_used = sent.any};
  }
  const auto json = nlohmann::json::parse(answer->result, nullptr, false);
  const auto received = json.is_object() ? cluster::number_in(json, "received") : std::nullopt;
  if (received) {
    co_return Forwarded{.answer = UploadStatus{.session = std::move(call.session), .received = *received},
                        .body_used = sent.any};
  }
  std::string elsewhere = json.is_object() ? text_or_none(json, "elsewhere") : std::string();
  if (elsewhere.empty()) co_return Forwarded{.answer = cannot_go_on("its answer cannot be understood")};
  co_return Forwarded{.answer = cannot_go_on("the upload goes on with " + elsewhere),
                      .elsewhere = io::NodeId(std::move(elsewhere)),
                      .body_used = sent.any};
}

io::Task<Result<io::PeerResponse>> Service::on_upload(io::PeerRequest request) {
  const auto json = nlohmann::json::parse(request.arguments, nullptr, false);
  if (!json.is_object()) co_return make_error(ErrorCode::invalid, Subject::request, "malformed arguments of an upload");
  HANSA_CO_TRY(auto repository, oci::RepositoryName::parse(text_or_none(json, "repository")));
  UploadCall call{.verb = std::move(request.verb),
                  .repository = std::move(repository),
                  .user = text_or_none(json, "user"),
                  .session = text_or_none(json, "session")};
  if (const auto first = cluster::number_in(json, "first")) {
    call.range = ChunkRange{.first = *first, .last = cluster::number_in(json, "last").value_or(*first)};
  }
  if (call.verb == "upload.finish") {
    HANSA_CO_TRY(call.digest, oci::Digest::parse(text_or_none(json, "digest")));
  }
  if (!request.body) request.body = std::make_shared<io::MemorySource>(ConstBytes{});
  auto opened_by = sessions_.opened_by(call.repository, call.user, call.session);
  if (opened_by && !sessions_.find_open(call.session)) {
    // A member that was asked asks, but passes nothing on: the one that asked does.
    const SessionSearch::Wanted wanted{.repository = call.repository,
                                       .user = call.user,
                                       .id = call.session,
                                       .opened_by = io::NodeId(*std::move(opened_by))};
    auto at = co_await search_->find(wanted);
    if (!at && at.error().code == ErrorCode::not_found && co_await is_done(call.repository, call.digest)) {
      co_return io::PeerResponse{.result = received_text(0), .body = nullptr};
    }
    if (!at) co_return std::move(at).error();
    if (*at != cluster_->members.self()) {
      co_return io::PeerResponse{.result = nlohmann::json{{"elsewhere", at->value()}}.dump(), .body = nullptr};
    }
  }
  HANSA_CO_TRY(const auto status, co_await serve_here(std::move(call), *request.body));
  co_return io::PeerResponse{.result = received_text(status.received), .body = nullptr};
}

}  // namespace hansa::registry
