#include "api/distribution/distribution.h"

#include "api/api.h"
#include "api/distribution/common.h"
#include "api/distribution/handlers.h"
#include "oci/manifest.h"

namespace hansa::api::distribution {

Answer ping(Call& call) {
  http::Response response = json_response("");
  // Some clients read the challenge from a successful ping, and log in from then on (anonymous reading, pushes by
  // users). The web interface must not: the browser would ask for a password.
  const auto& authenticator = call.services.authenticator;
  if (authenticator.enabled() && call.request.headers.get("X-ZOT-API-CLIENT") != "zot-ui") {
    response.headers.add("WWW-Authenticate", authenticator.challenge());
  }
  co_return response;
}

Answer discover_extensions(Call&) {
  co_return json_response(R"({"extensions":[]})");
}

std::vector<Route> routes() {
  using enum http::Method;
  const std::string manifest = "/v2/{name}/manifests/{reference}";
  const std::string blob = "/v2/{name}/blobs/{digest}";
  const std::string uploads = "/v2/{name}/blobs/uploads/";
  const std::string upload = "/v2/{name}/blobs/uploads/{session}";
  return {
      {get, "/v2/", Need::identity, ping},
      {get, "/v2/_catalog", Need::identity, list_repositories},
      {get, "/v2/_oci/ext/discover", Need::identity, discover_extensions},
      {get, "/v2/{name}/tags/list", Need::read, list_tags},
      {get, "/v2/{name}/referrers/{digest}", Need::read, list_referrers},
      {get, manifest, Need::read, get_manifest},
      {head, manifest, Need::read, head_manifest},
      {put, manifest, Need::push, put_manifest, oci::max_manifest_size, Subject::manifest},
      {del, manifest, Need::remove, delete_manifest},
      {get, blob, Need::read_or_ticket, get_blob},
      {head, blob, Need::read, head_blob},
      {del, blob, Need::remove, delete_blob},
      {post, uploads, Need::push, begin_upload, std::nullopt},
      {get, upload, Need::push, upload_status},
      {patch, upload, Need::push, append_upload, std::nullopt},
      {put, upload, Need::push, finish_upload, std::nullopt},
      {del, upload, Need::push, cancel_upload},
  };
}

}  // namespace hansa::api::distribution
