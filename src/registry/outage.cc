// Reads while the metadata store cannot be reached (P6, H10): another member's word first, then the own view, marked.
#include <nlohmann/json.hpp>

#include "cluster/json_fields.h"
#include "io/scope.h"
#include "io/wait.h"
#include "registry/service_impl.h"

namespace hansa::registry {
namespace {

// What the members that were asked at once have said so far. The first word counts.
struct Asking {
  std::optional<catalog::ManifestState> found;
  std::optional<Error> missing;
  bool settled() const { return found || missing; }
};

std::optional<catalog::ManifestState> read_state(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  auto media_type = cluster::text_in(json, "mediaType");
  const auto size = cluster::number_in(json, "size");
  const auto digest = oci::Digest::parse(cluster::text_in(json, "digest").value_or(""));
  if (!digest || !media_type || !size) return std::nullopt;
  catalog::ManifestState state;
  state.digest = *digest;
  state.media_type = *std::move(media_type);
  state.size = *size;
  return state;
}

io::Task<void> ask_one(io::PeerNetwork* peers, io::NodeId member, std::string arguments, Asking* asking,
                       io::TaskScope* scope) {
  io::PeerRequest request{.verb = "manifest.find", .arguments = std::move(arguments), .body = nullptr};
  auto answer = co_await io::with_deadline(find_limit, peers->call(std::move(member), std::move(request)));
  if (asking->settled()) co_return;
  if (answer) {
    asking->found = read_state(answer->result);
  } else if (answer.error().code == ErrorCode::not_found) {
    asking->missing = std::move(answer).error();
  }
  if (asking->settled()) scope->cancel();  // the others need not answer any more
}

}  // namespace

bool Service::is_outage(const Error& error) const {
  return cluster_.has_value() && (error.code == ErrorCode::unavailable || error.code == ErrorCode::timeout);
}

Result<Service::Seen> Service::stale_view(Error outage) {
  if (!catalog_.passed_within(max_staleness_)) return outage;
  HANSA_TRY(auto view, catalog_.snapshot());
  ++stale_answers_;
  return Seen{.view = std::move(view), .outage = std::move(outage)};
}

io::Task<Result<Service::Seen>> Service::fresh_or_stale() {
  auto fresh = co_await fresh_snapshot();
  if (fresh) co_return Seen{.view = *std::move(fresh), .outage = std::nullopt};
  if (!is_outage(fresh.error())) co_return std::move(fresh).error();
  co_return stale_view(std::move(fresh).error());
}

Error Service::missing_from(Seen& seen, const oci::RepositoryName& repository, Error otherwise) {
  if (!seen.outage) return missing(seen.view, repository, std::move(otherwise));
  return make_error(
      ErrorCode::unavailable, otherwise.subject,
      "not seen here, and the metadata store, which would know, cannot be reached: " + seen.outage->message);
}

io::Task<Result<std::optional<catalog::ManifestState>>> Service::ask_members(oci::RepositoryName repository,
                                                                             oci::Reference reference) {
  const auto now = [this] { return catalog_.boot_time().since_boot.count(); };
  // When nobody could say a moment ago, asking again would only make every read slow.
  if (now() - members_failed_.load() < find_pause.count()) co_return std::optional<catalog::ManifestState>{};
  const std::string arguments =
      nlohmann::json{{"repository", repository.text()}, {"reference", oci::to_string(reference)}}.dump();
  io::TaskContext& context = co_await io::current_context();
  io::TaskScope scope(context.executor());
  Asking asking;
  for (const auto& member : cluster_->members.members()) {
    if (member.id == cluster_->members.self()) continue;
    scope.spawn("ask a member", ask_one(&cluster_->peers, member.id, arguments, &asking, &scope));
  }
  co_await scope.join();
  if (asking.missing) co_return *std::move(asking.missing);
  if (!asking.found) members_failed_ = now();
  co_return std::move(asking.found);
}

io::Task<Result<io::PeerResponse>> Service::on_find(io::PeerRequest request) {
  const auto json = nlohmann::json::parse(request.arguments, nullptr, false);
  if (!json.is_object() || !json.contains("repository") || !json["repository"].is_string() ||
      !json.contains("reference") || !json["reference"].is_string()) {
    co_return make_error(ErrorCode::invalid, Subject::request, "malformed question for a manifest");
  }
  HANSA_CO_TRY(const auto repository, oci::RepositoryName::parse(json["repository"].get<std::string>()));
  HANSA_CO_TRY(const auto reference, oci::parse_reference(json["reference"].get<std::string>()));
  HANSA_CO_TRY(auto view, co_await fresh_snapshot());
  HANSA_CO_TRY(const auto state, look_up(view, repository, reference));
  if (!state) co_return missing(view, repository, no_manifest(repository, reference));
  const nlohmann::json found = {
      {"digest", state->digest.text()}, {"mediaType", state->media_type}, {"size", state->size}};
  co_return io::PeerResponse{.result = found.dump(), .body = nullptr};
}

void Service::serve(cluster::PeerDispatch& dispatch) {
  HANSA_ASSERT(cluster_.has_value(), "only a member of a cluster answers other members");
  dispatch.on("manifest.find", [this](io::NodeId, io::PeerRequest request) { return on_find(std::move(request)); });
  for (const char* verb : {"upload.status", "upload.append", "upload.finish", "upload.cancel"}) {
    dispatch.on(verb, [this](io::NodeId, io::PeerRequest request) { return on_upload(std::move(request)); });
  }
  dispatch.on("upload.find",
              [this](io::NodeId, io::PeerRequest request) { return search_->on_find(std::move(request)); });
  cluster_->relays.set_make_way([this](io::NodeId from, std::string id, std::uint64_t term) {
    return sessions_.make_way(std::move(from), std::move(id), term);
  });
}

}  // namespace hansa::registry
