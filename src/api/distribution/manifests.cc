#include <algorithm>

#include "api/api.h"
#include "api/distribution/common.h"
#include "api/distribution/handlers.h"
#include "http/text.h"

namespace hansa::api::distribution {
namespace {

// For requests on what exists: a text that no tag can have names nothing.
Result<oci::Reference> existing_reference(const std::string& text) {
  auto reference = oci::parse_reference(text);
  if (!reference && reference.error().subject == Subject::tag) {
    return make_error(ErrorCode::not_found, Subject::manifest, std::move(reference.error().message));
  }
  return reference;
}

constexpr std::size_t usual_fields = 8;

http::Response manifest_response(const registry::ManifestHead& head) {
  http::Response response;
  response.headers.reserve(usual_fields);
  response.headers.add("Content-Type", head.media_type);
  std::string digest = head.digest.text();
  response.headers.add("ETag", entity_tag(digest));
  response.headers.add(std::string(digest_header), std::move(digest));
  return response;
}

// The whole body, at most oci::max_manifest_size bytes. Takes memory as the bytes come: what a client only announces
// costs none.
io::Task<Result<std::string>> read_manifest(http::Request& request) {
  constexpr std::size_t step = 64 * KiB;
  std::string body;
  const auto most = static_cast<std::size_t>(
      std::min<std::uint64_t>(request.content_length.value_or(oci::max_manifest_size), oci::max_manifest_size));
  std::size_t size = 0;
  while (true) {
    // One more than there may be, to see the end.
    if (body.size() < size + 1) body.resize(std::min(std::max(2 * size, size + step), most + 1));
    const Bytes room = std::as_writable_bytes(std::span(body)).subspan(size);
    HANSA_CO_TRY(const std::size_t count, co_await request.body->read(room));
    size += count;
    if (size > oci::max_manifest_size) {
      co_return make_error(ErrorCode::too_large, Subject::manifest,
                           "a manifest may have at most " + std::to_string(oci::max_manifest_size) + " bytes");
    }
    if (count == 0) break;
  }
  body.resize(size);
  body.shrink_to_fit();  // it stays in a cache
  co_return body;
}

// tag=a&tag=b, and tag=a,b: a comma is in no tag. Doubles are dropped, the order stays.
Result<std::vector<oci::Tag>> tags_of(const http::Query& query) {
  std::vector<oci::Tag> tags;
  for (std::string_view value : query.all("tag")) {
    while (true) {
      const std::size_t comma = value.find(',');
      HANSA_TRY(oci::Tag tag, oci::Tag::parse(http::trimmed(value.substr(0, comma))));
      if (std::ranges::find(tags, tag) == tags.end()) tags.push_back(std::move(tag));
      if (tags.size() > registry::max_tags_per_push) {
        return make_error(ErrorCode::too_many, Subject::tag,
                          "one push may set at most " + std::to_string(registry::max_tags_per_push) + " tags");
      }
      if (comma == std::string_view::npos) break;
      value.remove_prefix(comma + 1);
    }
  }
  return tags;
}

// If-Match: "digest" and If-None-Match: * make a push conditional on what its tags name now.
Result<void> add_conditions(const http::Headers& headers, registry::ManifestPush& push) {
  if (const auto field = headers.get("If-Match")) {
    std::string_view tag = http::trimmed(*field);
    const bool quoted = tag.size() >= 2 && tag.front() == '"' && tag.back() == '"';
    const auto digest = oci::Digest::parse(quoted ? tag.substr(1, tag.size() - 2) : tag);
    if (!digest || headers.all("If-Match").size() != 1) {
      return make_error(ErrorCode::invalid, Subject::request, "If-Match must be one digest in quotes");
    }
    push.if_match = *digest;
  }
  if (const auto field = headers.get("If-None-Match")) {
    if (http::trimmed(*field) != "*") {
      return make_error(ErrorCode::invalid, Subject::request, "If-None-Match of a push must be *");
    }
    push.if_none_match = true;
  }
  return {};
}

Result<registry::ManifestPush> push_of(const Call& call) {
  registry::ManifestPush push;
  HANSA_TRY(push.reference, oci::parse_reference(call.parameter));
  push.media_type = base_media_type(call.request.headers.get("Content-Type").value_or(""));
  // Known before the body is read.
  HANSA_CHECK(oci::manifest_kind(push.media_type));
  HANSA_TRY(push.tags, tags_of(call.request.query));
  if (!push.tags.empty() && std::holds_alternative<oci::Tag>(push.reference)) {
    return make_error(ErrorCode::invalid, Subject::tag, "the tag parameter needs a digest in the path, not a tag");
  }
  HANSA_CHECK(add_conditions(call.request.headers, push));
  return push;
}

}  // namespace

Answer get_manifest(Call& call) {
  HANSA_CO_TRY(auto reference, existing_reference(call.parameter));
  HANSA_CO_TRY(const auto content,
               co_await call.services.registry.get_manifest(call.access, call.repository, std::move(reference)));
  auto response = manifest_response(content.head);
  mark_stale(response, content.head.stale, call.services.metrics);
  if (none_match_hits(call.request.headers, content.head.digest)) {
    response.status = 304;
    co_return response;
  }
  call.services.metrics.download(call.repository.text());
  response.body = content.body;
  co_return response;
}

Answer head_manifest(Call& call) {
  HANSA_CO_TRY(auto reference, existing_reference(call.parameter));
  HANSA_CO_TRY(const auto head,
               co_await call.services.registry.head_manifest(call.access, call.repository, std::move(reference)));
  auto response = manifest_response(head);
  mark_stale(response, head.stale, call.services.metrics);
  if (none_match_hits(call.request.headers, head.digest)) {
    response.status = 304;
  } else {
    response.head_length = head.size;
  }
  co_return response;
}

Answer put_manifest(Call& call) {
  HANSA_CO_TRY(auto push, push_of(call));
  HANSA_CO_TRY(push.body, co_await read_manifest(call.request));
  call.services.metrics.received(push.body.size());
  HANSA_CO_TRY(const auto pushed,
               co_await call.services.registry.put_manifest(call.access, call.repository, std::move(push)));
  call.services.metrics.upload(call.repository.text());
  http::Response response;
  response.status = 201;
  response.headers.add("Location", manifest_path(call.repository, pushed.digest));
  response.headers.add(std::string(digest_header), pushed.digest.text());
  response.headers.add("ETag", entity_tag(pushed.digest.text()));
  if (pushed.subject) response.headers.add("OCI-Subject", pushed.subject->text());
  // Only what the tag parameter asked for (spec.md, "Pushing Manifests with tags").
  if (call.request.query.has("tag")) {
    for (const auto& tag : pushed.tags) response.headers.add("OCI-Tag", tag.text());
  }
  co_return response;
}

Answer delete_manifest(Call& call) {
  HANSA_CO_TRY(auto reference, existing_reference(call.parameter));
  HANSA_CO_CHECK(co_await call.services.registry.delete_manifest(call.access, call.repository, std::move(reference)));
  http::Response response;
  response.status = 202;
  co_return response;
}

}  // namespace hansa::api::distribution
