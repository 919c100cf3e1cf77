#include "api/spec_error.h"

#include <nlohmann/json.hpp>

namespace hansa::api {
namespace {

constexpr SpecError blob_unknown{404, "BLOB_UNKNOWN", "blob unknown to registry"};
constexpr SpecError upload_invalid{400, "BLOB_UPLOAD_INVALID", "blob upload invalid"};
constexpr SpecError upload_unknown{404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"};
constexpr SpecError digest_invalid{400, "DIGEST_INVALID", "provided digest did not match uploaded content"};
constexpr SpecError reference_unknown{400, "MANIFEST_BLOB_UNKNOWN",
                                      "manifest references a manifest or blob unknown to registry"};
constexpr SpecError manifest_invalid{400, "MANIFEST_INVALID", "manifest invalid"};
constexpr SpecError manifest_unknown{404, "MANIFEST_UNKNOWN", "manifest unknown to registry"};
constexpr SpecError name_invalid{400, "NAME_INVALID", "invalid repository name"};
constexpr SpecError name_unknown{404, "NAME_UNKNOWN", "repository name not known to registry"};
constexpr SpecError size_invalid{400, "SIZE_INVALID", "provided length did not match content length"};
constexpr SpecError unauthorized{401, "UNAUTHORIZED", "authentication required"};
constexpr SpecError denied{403, "DENIED", "requested access to the resource is denied"};
constexpr SpecError unsupported{405, "UNSUPPORTED", "the operation is unsupported"};
constexpr SpecError too_many{429, "TOOMANYREQUESTS", "too many requests"};
// Not the specification's: for what it has no code for. Clients go by the status.
constexpr SpecError unavailable{503, "UNAVAILABLE", "the registry cannot do this now"};
constexpr SpecError unknown{500, "UNKNOWN", "an error of the registry itself"};

SpecError with(SpecError error, int status) {
  error.status = status;
  return error;
}

SpecError invalid(Subject subject) {
  switch (subject) {
    case Subject::repository:
    case Subject::name: return name_invalid;
    case Subject::manifest:
    case Subject::tag:
    case Subject::reference: return manifest_invalid;
    case Subject::blob:
    case Subject::digest: return digest_invalid;
    case Subject::upload: return upload_invalid;
    case Subject::media_type: return with(manifest_invalid, 415);
    case Subject::none:
    case Subject::request:
    case Subject::config:
    case Subject::file: return with(unsupported, 400);
  }
  return unknown;
}

SpecError not_found(Subject subject) {
  switch (subject) {
    case Subject::repository:
    case Subject::name: return name_unknown;
    case Subject::manifest:
    case Subject::tag:
    case Subject::reference: return manifest_unknown;
    case Subject::blob:
    case Subject::digest: return blob_unknown;
    case Subject::upload: return upload_unknown;
    case Subject::media_type:
    case Subject::none:
    case Subject::request: return with(unsupported, 404);
    // A file of ours that should be there: not the client's business.
    case Subject::config:
    case Subject::file: return unknown;
  }
  return unknown;
}

SpecError refused(Subject subject) {  // unsupported
  switch (subject) {
    case Subject::media_type: return with(manifest_invalid, 415);
    case Subject::manifest:
    case Subject::tag:
    case Subject::reference: return manifest_invalid;
    case Subject::digest: return digest_invalid;
    case Subject::upload: return upload_invalid;
    case Subject::none:
    case Subject::repository:
    case Subject::name:
    case Subject::blob:
    case Subject::request:
    case Subject::config:
    case Subject::file: return unsupported;
  }
  return unknown;
}

bool about_manifest(Subject subject) {
  return subject == Subject::manifest || subject == Subject::tag || subject == Subject::reference;
}

}  // namespace

SpecError spec_error_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::invalid: return invalid(error.subject);
    case ErrorCode::not_found: return not_found(error.subject);
    case ErrorCode::exists: return with(about_manifest(error.subject) ? manifest_invalid : unsupported, 409);
    case ErrorCode::precondition: return with(manifest_invalid, 412);
    case ErrorCode::referenced: return with(denied, 405);
    case ErrorCode::missing_reference: return reference_unknown;
    case ErrorCode::range: return with(error.subject == Subject::upload ? upload_invalid : size_invalid, 416);
    case ErrorCode::too_large: return with(about_manifest(error.subject) ? manifest_invalid : size_invalid, 413);
    case ErrorCode::too_many:
      // Too many tags in one URL; everything else is about slowing down.
      return error.subject == Subject::tag ? with(manifest_invalid, 414) : too_many;
    case ErrorCode::out_of_space: return with(unavailable, 507);
    case ErrorCode::unauthenticated: return unauthorized;
    case ErrorCode::denied: return denied;
    case ErrorCode::unsupported: return refused(error.subject);
    case ErrorCode::disconnected: return upload_invalid;
    case ErrorCode::timeout: return error.subject == Subject::request ? with(upload_invalid, 408) : unavailable;
    // Bytes that cannot be had now are 503, never 404; a lost race and an unsettled commit may be tried again.
    case ErrorCode::corrupt:
    case ErrorCode::conflict:
    case ErrorCode::unavailable:
    case ErrorCode::cancelled:
    case ErrorCode::ambiguous: return unavailable;
    case ErrorCode::io:
    case ErrorCode::internal: return unknown;
  }
  return unknown;
}

namespace {

// For clients: our own files are named in the log alone.
std::string description_of(const Error& error, int status) {
  if (status == 500) return "the server's log has the details of this error";
  if (error.code == ErrorCode::out_of_space && error.subject == Subject::file) {
    return "the disk of this registry is full, so nothing can be pushed; pulls and deletes go on. Ask who runs it to "
           "make "
           "room; the server's log names the file";
  }
  return error.message;
}

}  // namespace

http::Response error_response(const Error& error) {
  const SpecError spec = spec_error_of(error);
  const std::string description = description_of(error, spec.status);
  const nlohmann::json body = {
      {"errors", {{{"code", spec.code}, {"message", spec.message}, {"detail", {{"description", description}}}}}}};
  http::Response response;
  response.status = spec.status;
  response.headers.add("Content-Type", "application/json");
  if (spec.status == 429 || spec.status == 503) response.headers.add("Retry-After", std::string(retry_after_seconds));
  // A client's bytes may stand in the message: whatever is not UTF-8 becomes U+FFFD.
  response.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return response;
}

}  // namespace hansa::api
