// What members do for each other's clients: uploads are passed on to the member that has them, and who has lost the
// metadata store asks one that reaches it.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/wait.h"
#include "registry/service_impl.h"

namespace hansa::registry {
namespace {

using Json = nlohmann::json;

constexpr io::Duration find_deadline = std::chrono::seconds(1);     // of one peer
constexpr std::size_t find_peers = 2;                               // asked for one request
constexpr io::Duration nobody_knows_for = std::chrono::seconds(2);  // then they are asked again

// A body that belongs to somebody else, for as long as that one waits for the call.
class BorrowedSource final : public io::ByteSource {
 public:
  explicit BorrowedSource(io::ByteSource* body) : body_(body) {}
  void end() { body_ = nullptr; }
  io::Task<Result<std::size_t>> read(Bytes out) override {
    if (body_ == nullptr) co_return make_error(ErrorCode::disconnected, "the request has ended");
    co_return co_await body_->read(out);
  }

 private:
  io::ByteSource* body_;
};

Error not_understood() {
  return make_error(ErrorCode::invalid, Subject::request, "a peer's request is not understood");
}

std::string text(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<std::uint64_t> number(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint64_t>();
}

struct UploadCall {
  auth::Identity who;
  oci::RepositoryName repository;
  std::string session;
  std::optional<ChunkRange> range;
  std::optional<oci::Digest> digest;
};

Result<UploadCall> parse_upload(const std::string& arguments) {
  const Json json = Json::parse(arguments, nullptr, false);
  if (!json.is_object()) return not_understood();
  UploadCall call;
  call.who.user = text(json, "user");
  if (const auto groups = json.find("groups"); groups != json.end() && groups->is_array()) {
    for (const auto& group : *groups) {
      if (group.is_string()) call.who.groups.push_back(group.get<std::string>());
    }
  }
  HANSA_TRY(call.repository, oci::RepositoryName::parse(text(json, "repository")));
  call.session = text(json, "session");
  const auto first = number(json, "first");
  const auto last = number(json, "last");
  if (first && last) call.range = ChunkRange{.first = *first, .last = *last};
  if (const std::string digest = text(json, "digest"); !digest.empty()) {
    HANSA_TRY(call.digest, oci::Digest::parse(digest));
  }
  return call;
}

}  // namespace

// ---- uploads ----------------------------------------------------------------------------------------------------

io::Task<Result<std::uint64_t>> Service::forward(std::string owner, Forward request) {
  const auto members = cluster_->members.members();
  const auto found = std::ranges::find(members, io::NodeId(owner), &cluster::MemberState::id);
  if (found == members.end()) {
    co_return make_error(ErrorCode::not_found, Subject::upload,
                         "the member that had this upload is gone; start a new one");
  }
  Json json = {{"user", request.who.user},
               {"groups", request.who.groups},
               {"repository", request.repository.text()},
               {"session", request.session}};
  if (request.range) json["first"] = request.range->first;
  if (request.range) json["last"] = request.range->last;
  if (request.digest) json["digest"] = request.digest->text();
  std::shared_ptr<BorrowedSource> body;
  if (request.body != nullptr) body = std::make_shared<BorrowedSource>(request.body);
  io::PeerRequest call{.verb = request.verb, .arguments = json.dump(), .body = body};
  auto answer = co_await cluster_->peers.call(io::NodeId(owner), std::move(call));
  if (body) body->end();
  if (!answer && (answer.error().code == ErrorCode::ambiguous || answer.error().code == ErrorCode::unavailable)) {
    co_return make_error(ErrorCode::unavailable, Subject::upload,
                         "the member that has this upload does not answer; try again later, or start a new one");
  }
  if (!answer) co_return std::move(answer).error();
  const Json result = Json::parse(answer->result, nullptr, false);
  if (!result.is_object()) co_return make_error(ErrorCode::corrupt, "a peer's answer is not understood");
  co_return number(result, "received").value_or(0);
}

// The peer has authenticated its client and checked the rights; the session belongs to that user.
io::Task<Result<io::PeerResponse>> Service::answer_upload(io::PeerRequest request) {
  HANSA_CO_TRY(UploadCall call, parse_upload(request.arguments));
  // Passed on once: a session that is not here is nowhere.
  if (!sessions_.foreign_owner(call.session).empty()) {
    co_return make_error(ErrorCode::not_found, Subject::upload, "this member does not have this upload");
  }
  const auth::Access who(call.who, auth::allow_everything());
  io::MemorySource nothing({});
  io::ByteSource& body = request.body ? *request.body : nothing;
  std::uint64_t received = 0;
  if (request.verb == "upload.status") {
    HANSA_CO_TRY(const auto status, co_await upload_status(who, call.repository, call.session));
    received = status.received;
  } else if (request.verb == "upload.append") {
    HANSA_CO_TRY(const auto status, co_await append_upload(who, call.repository, call.session, call.range, body));
    received = status.received;
  } else if (request.verb == "upload.finish") {
    if (!call.digest) co_return not_understood();
    HANSA_CO_CHECK(co_await finish_upload(who, call.repository, call.session, call.range, body, *call.digest));
  } else {
    HANSA_CO_CHECK(co_await cancel_upload(who, call.repository, call.session));
  }
  co_return io::PeerResponse{.result = Json{{"received", received}}.dump(), .body = nullptr};
}

// ---- without the metadata store ---------------------------------------------------------------------------------

io::Task<std::optional<Result<catalog::ManifestState>>> Service::ask_peers(oci::RepositoryName repository,
                                                                           oci::Reference reference) {
  if (catalog_.monotonic().since_origin.count() < ask_peers_from_) co_return std::nullopt;
  const std::string arguments =
      Json{{"repository", repository.text()}, {"reference", oci::to_string(reference)}}.dump();
  auto peers = cluster_->copies.others(false);
  if (peers.size() > find_peers) peers.resize(find_peers);
  for (const auto& peer : peers) {
    io::PeerRequest request{.verb = "manifest.find", .arguments = arguments, .body = nullptr};
    auto answer = co_await io::with_deadline(find_deadline, cluster_->peers.call(peer, std::move(request)));
    if (!answer && answer.error().code == ErrorCode::not_found) co_return std::move(answer).error();
    if (!answer) continue;
    const Json json = Json::parse(answer->result, nullptr, false);
    if (!json.is_object()) continue;
    auto digest = oci::Digest::parse(text(json, "digest"));
    if (!digest) continue;
    catalog::ManifestState state;
    state.digest = std::move(*digest);
    state.media_type = text(json, "mediaType");
    state.size = number(json, "size").value_or(0);
    co_return state;
  }
  ask_peers_from_ = (catalog_.monotonic() + nobody_knows_for).since_origin.count();
  co_return std::nullopt;
}

io::Task<Result<io::PeerResponse>> Service::answer_find(io::PeerRequest request) {
  const Json json = Json::parse(request.arguments, nullptr, false);
  if (!json.is_object()) co_return not_understood();
  HANSA_CO_TRY(const auto repository, oci::RepositoryName::parse(text(json, "repository")));
  HANSA_CO_TRY(const auto reference, oci::parse_reference(text(json, "reference")));
  HANSA_CO_TRY(auto view, co_await fresh_snapshot());
  HANSA_CO_TRY(const auto state, manifest_in(view, repository, reference));
  const Json result = {{"digest", state.digest.text()}, {"mediaType", state.media_type}, {"size", state.size}};
  co_return io::PeerResponse{.result = result.dump(), .body = nullptr};
}

void Service::serve(cluster::PeerDispatch& dispatch) {
  for (const char* verb : {"upload.status", "upload.append", "upload.finish", "upload.cancel"}) {
    dispatch.on(verb, [this](io::NodeId, io::PeerRequest request) { return answer_upload(std::move(request)); });
  }
  dispatch.on("manifest.find", [this](io::NodeId, io::PeerRequest request) { return answer_find(std::move(request)); });
}

}  // namespace hansa::registry
