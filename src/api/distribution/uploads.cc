#include "api/api.h"
#include "api/distribution/common.h"
#include "api/distribution/handlers.h"
#include "api/spec_error.h"
#include "http/text.h"

namespace hansa::api::distribution {
namespace {

// Counts what a body brings, whatever becomes of it.
class CountedBody final : public io::ByteSource {
 public:
  CountedBody(io::ByteSource& inner, metrics::ServerMetrics& metrics) : inner_(inner), metrics_(metrics) {}
  ~CountedBody() override { metrics_.received(count_); }
  CountedBody(const CountedBody&) = delete;
  CountedBody& operator=(const CountedBody&) = delete;

  io::Task<Result<std::size_t>> read(Bytes out) override {
    auto result = co_await inner_.read(out);
    if (result) count_ += *result;
    co_return result;
  }

 private:
  io::ByteSource& inner_;
  metrics::ServerMetrics& metrics_;
  std::uint64_t count_ = 0;
};

// "0-99": what has been received; an empty session says "0-0" for want of a form for nothing.
std::string received_range(std::uint64_t received) {
  return "0-" + std::to_string(received == 0 ? 0 : received - 1);
}

http::Response session_response(const Call& call, const registry::UploadStatus& status, int code) {
  http::Response response;
  response.status = code;
  response.headers.add("Location", upload_path(call.repository, status.session));
  response.headers.add("Range", received_range(status.received));
  response.headers.add("Docker-Upload-UUID", status.session);
  response.headers.add("Blob-Upload-UUID", status.session);
  return response;
}

http::Response created(const Call& call, const oci::Digest& digest) {
  http::Response response;
  response.status = 201;
  response.headers.add("Location", blob_path(call.repository, digest));
  response.headers.add(std::string(digest_header), digest.text());
  return response;
}

Error bad_range(std::string message) {
  return make_error(ErrorCode::range, Subject::upload, std::move(message));
}

// Content-Range of a chunk: "<start>-<end>" as the specification has it, or "bytes <start>-<end>/<size>" as HTTP has.
Result<std::optional<registry::ChunkRange>> chunk_range(const http::Request& request) {
  const auto field = request.headers.get("Content-Range");
  if (!field) return std::nullopt;
  std::string_view text = http::trimmed(*field);
  if (text.starts_with("bytes")) text = http::trimmed(text.substr(5));
  text = text.substr(0, text.find('/'));
  const std::size_t dash = text.find('-');
  const auto first = http::parse_decimal(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? std::nullopt : http::parse_decimal(text.substr(dash + 1));
  if (!first || !last || *last < *first) {
    return bad_range("Content-Range must be <first byte>-<last byte>, for example 0-1023");
  }
  const auto length = request.content_length;
  if (length && *last - *first != *length - 1) {
    return bad_range("Content-Range " + std::string(text) + " does not have the " + std::to_string(*length) +
                     " bytes of Content-Length");
  }
  return registry::ChunkRange{.first = *first, .last = *last};
}

// 416 tells where the session stands, so that the client can go on from there.
io::Task<Result<http::Response>> refuse_chunk(Call& call, Error error) {
  auto status = co_await call.services.registry.upload_status(call.access, call.repository, call.parameter);
  if (!status) co_return std::move(status).error();
  http::Response response = error_response(error);
  for (const auto& [name, value] : session_response(call, *status, 416).headers.fields()) {
    response.headers.add(name, value);
  }
  co_return response;
}

// The one digest parameter.
Result<oci::Digest> final_digest(const http::Query& query) {
  const auto values = query.all("digest");
  if (values.size() != 1) {
    return make_error(ErrorCode::invalid, Subject::digest, "the request needs exactly one digest parameter");
  }
  return oci::Digest::parse(values.front());
}

Answer open_session(Call& call, oci::Algorithm algorithm) {
  HANSA_CO_TRY(const auto status,
               co_await call.services.registry.begin_upload(call.access, call.repository, algorithm));
  co_return session_response(call, status, 202);
}

// What cannot be mounted becomes an upload: also for names and digests that are none (spec.md, "Mounting a blob").
Answer mount_or_open(Call& call, std::string mount) {
  const auto digest = oci::Digest::parse(mount);
  if (!digest) co_return co_await open_session(call, oci::Algorithm::sha256);
  std::optional<oci::RepositoryName> from;
  bool source_named_well = true;
  if (const auto name = call.request.query.get("from")) {
    auto parsed = oci::RepositoryName::parse(*name);
    source_named_well = parsed.has_value();
    if (parsed) from = std::move(*parsed);
  }
  bool mounted = false;
  if (source_named_well) {
    HANSA_CO_TRY(mounted, co_await call.services.registry.mount_blob(call.access, call.repository, *digest, from));
  }
  if (mounted) co_return created(call, *digest);
  co_return co_await open_session(call, digest->algorithm());
}

Answer push_whole(Call& call) {
  const std::string type = base_media_type(call.request.headers.get("Content-Type").value_or(""));
  if (!type.empty() && type != oci::media_type::octet_stream) {
    co_return make_error(ErrorCode::unsupported, Subject::media_type,
                         "a blob is pushed with Content-Type: application/octet-stream, not " + type);
  }
  HANSA_CO_TRY(const oci::Digest digest, final_digest(call.request.query));
  CountedBody body(*call.request.body, call.services.metrics);
  HANSA_CO_CHECK(co_await call.services.registry.push_blob(call.access, call.repository, digest, body));
  co_return created(call, digest);
}

}  // namespace

Answer begin_upload(Call& call) {
  const http::Query& query = call.request.query;
  if (const auto mount = query.get("mount")) co_return co_await mount_or_open(call, std::string(*mount));
  if (query.has("from")) {
    co_return make_error(ErrorCode::unsupported, Subject::request, "from needs mount, the digest to be mounted");
  }
  if (query.has("digest")) co_return co_await push_whole(call);
  oci::Algorithm algorithm = oci::Algorithm::sha256;
  if (const auto name = query.get("digest-algorithm")) {
    HANSA_CO_TRY(algorithm, oci::parse_algorithm(*name));
  }
  co_return co_await open_session(call, algorithm);
}

Answer upload_status(Call& call) {
  HANSA_CO_TRY(const auto status,
               co_await call.services.registry.upload_status(call.access, call.repository, call.parameter));
  co_return session_response(call, status, 204);
}

Answer append_upload(Call& call) {
  auto range = chunk_range(call.request);
  if (!range) co_return co_await refuse_chunk(call, std::move(range).error());
  CountedBody body(*call.request.body, call.services.metrics);
  auto status =
      co_await call.services.registry.append_upload(call.access, call.repository, call.parameter, *range, body);
  if (status) co_return session_response(call, *status, 202);
  if (status.error().code != ErrorCode::range) co_return std::move(status).error();
  co_return co_await refuse_chunk(call, std::move(status).error());
}

Answer finish_upload(Call& call) {
  HANSA_CO_TRY(const oci::Digest digest, final_digest(call.request.query));
  auto range = chunk_range(call.request);
  if (!range) co_return co_await refuse_chunk(call, std::move(range).error());
  CountedBody body(*call.request.body, call.services.metrics);
  auto done =
      co_await call.services.registry.finish_upload(call.access, call.repository, call.parameter, *range, body, digest);
  if (done) co_return created(call, digest);
  if (done.error().code != ErrorCode::range) co_return std::move(done).error();
  co_return co_await refuse_chunk(call, std::move(done).error());
}

Answer cancel_upload(Call& call) {
  HANSA_CO_CHECK(co_await call.services.registry.cancel_upload(call.access, call.repository, call.parameter));
  http::Response response;
  response.status = 204;
  co_return response;
}

}  // namespace hansa::api::distribution
