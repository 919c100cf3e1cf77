// Upload sessions that another member has: every request of them is passed on to it with the caller's name (DESIGN.md
// 6.1). The caller's rights are checked where the request arrived; the owner believes its peers.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "cluster/while_moving.h"
#include "registry/lent_source.h"
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

std::string text_in(const nlohmann::json& json, const char* name) {
  const auto field = json.find(name);
  return field != json.end() && field->is_string() ? field->get<std::string>() : std::string();
}

std::optional<std::uint64_t> number_in(const nlohmann::json& json, const char* name) {
  const auto field = json.find(name);
  if (field == json.end() || !field->is_number_unsigned()) return std::nullopt;
  return field->get<std::uint64_t>();
}

std::string received_text(std::uint64_t received) {
  return nlohmann::json{{"received", received}}.dump();
}

}  // namespace

io::Task<Result<io::PeerResponse>> Service::send_call(io::NodeId owner, io::PeerRequest request, io::ByteSource* body) {
  if (body == nullptr) {
    auto answer = co_await io::with_deadline(forward_limit, cluster_->peers.call(owner, std::move(request)));
    if (!answer) co_return forwarded(std::move(answer).error(), owner);
    co_return answer;
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
                                               cluster_->peers.call(owner, std::move(request)));
  co_await lent->take_back();
  if (answer) co_return answer;
  // The client's own body broke: that is what it is told.
  if (lent->error()) co_return *lent->error();
  co_return forwarded(std::move(answer).error(), owner);
}

io::Task<Result<UploadStatus>> Service::forward(io::NodeId owner, auth::Identity who, UploadCall call,
                                                io::ByteSource* body) {
  const auto members = cluster_->members.members();
  if (std::ranges::find(members, owner, &cluster::MemberState::id) == members.end()) {
    co_return make_error(ErrorCode::not_found, Subject::upload,
                         "the member " + owner.value() + ", which had this upload, is gone; start a new one");
  }
  nlohmann::json arguments = {
      {"user", who.user}, {"groups", who.groups}, {"repository", call.repository.text()}, {"session", call.session}};
  if (call.range) {
    arguments["first"] = call.range->first;
    arguments["last"] = call.range->last;
  }
  if (call.digest) arguments["digest"] = call.digest->text();
  io::PeerRequest request{.verb = std::move(call.verb), .arguments = arguments.dump(), .body = nullptr};
  HANSA_CO_TRY(const auto answer, co_await send_call(owner, std::move(request), body));
  const auto json = nlohmann::json::parse(answer.result, nullptr, false);
  const auto received = json.is_object() ? number_in(json, "received") : std::nullopt;
  if (!received) {
    co_return make_error(ErrorCode::unavailable, Subject::upload,
                         "the member " + owner.value() + " gave an answer that cannot be understood");
  }
  co_return UploadStatus{.session = std::move(call.session), .received = *received};
}

io::Task<Result<io::PeerResponse>> Service::on_upload(io::PeerRequest request) {
  const auto json = nlohmann::json::parse(request.arguments, nullptr, false);
  if (!json.is_object()) co_return make_error(ErrorCode::invalid, Subject::request, "malformed arguments of an upload");
  HANSA_CO_TRY(auto repository, oci::RepositoryName::parse(text_in(json, "repository")));
  std::string user = text_in(json, "user");
  std::string session = text_in(json, "session");
  std::optional<ChunkRange> range;
  if (const auto first = number_in(json, "first")) {
    range = ChunkRange{.first = *first, .last = number_in(json, "last").value_or(*first)};
  }
  if (!request.body) request.body = std::make_shared<io::MemorySource>(ConstBytes{});
  std::uint64_t received = 0;
  if (request.verb == "upload.status") {
    HANSA_CO_TRY(const auto status, co_await local_status(std::move(user), std::move(repository), std::move(session)));
    received = status.received;
  } else if (request.verb == "upload.append") {
    HANSA_CO_TRY(const auto status, co_await local_append(std::move(user), std::move(repository), std::move(session),
                                                          range, *request.body));
    received = status.received;
  } else if (request.verb == "upload.finish") {
    HANSA_CO_TRY(const auto digest, oci::Digest::parse(text_in(json, "digest")));
    HANSA_CO_CHECK(co_await local_finish(std::move(user), std::move(repository), std::move(session), range,
                                         *request.body, digest));
  } else {
    HANSA_CO_CHECK(co_await local_cancel(std::move(user), std::move(repository), std::move(session)));
  }
  co_return io::PeerResponse{.result = received_text(received), .body = nullptr};
}

}  // namespace hansa::registry
