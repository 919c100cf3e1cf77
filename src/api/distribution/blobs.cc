#include <algorithm>

#include "api/access_log.h"
#include "api/api.h"
#include "api/distribution/common.h"
#include "api/distribution/handlers.h"
#include "api/distribution/pull_span.h"
#include "api/distribution/reader_source.h"
#include "http/range.h"
#include "http/text.h"

namespace hansa::api::distribution {
namespace {

Result<oci::Digest> digest_of(const Call& call) {
  return oci::Digest::parse(call.parameter);
}

// Who pushes chooses the media type, text/html as well: a browser that opens a blob must not run it as a page of this
// registry, with the rights of whoever is logged in.
http::Response blob_response(const registry::BlobHead& head) {
  http::Response response;
  response.headers.add("Content-Type", head.media_type);
  response.headers.add("Content-Security-Policy", "default-src 'none'; sandbox");
  response.headers.add("X-Content-Type-Options", "nosniff");
  response.headers.add(std::string(digest_header), head.digest.text());
  response.headers.add("ETag", entity_tag(head.digest.text()));
  response.headers.add("Accept-Ranges", "bytes");
  return response;
}

std::string content_range(const http::ByteRange& range, std::uint64_t size) {
  return "bytes " + std::to_string(range.offset) + "-" + std::to_string(range.offset + range.length - 1) + "/" +
         std::to_string(size);
}

http::FileBody file_body(const std::shared_ptr<blob::BlobReader>& reader, std::uint64_t offset, std::uint64_t length) {
  http::FileBody body{
      .descriptor = reader->descriptor(), .offset = offset, .length = length, .keep = reader, .prepare = {}};
  constexpr std::uint64_t soon = 64 * KiB;
  if (reader->is_growing()) body.first_piece = soon;
  // What this process checked lately goes out without asking again.
  if (!reader->is_verified(offset, length)) {
    body.prepare = [reader](std::uint64_t at, std::uint64_t count) { return reader->verify(at, count); };
  }
  return body;
}

http::Body body_of(const std::shared_ptr<blob::BlobReader>& reader, std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return std::string();
  if (reader->descriptor() >= 0) return file_body(reader, offset, length);
  return http::StreamBody{.source = std::make_shared<ReaderSource>(reader, std::vector<Piece>{{"", offset, length}}),
                          .length = length};
}

// If-Range holds an entity tag or a date; only our own strong tag means "still the same".
bool range_applies(const http::Headers& headers, const oci::Digest& digest) {
  const auto condition = headers.get("If-Range");
  return !condition || http::trimmed(*condition) == entity_tag(digest.text());
}

// A field in bytes that cannot be read is answered 416 as an unsatisfiable one, which RFC 9110 leaves open and the
// conformance program asks for ("bytes=500-0"); too many ranges get the whole blob.
http::Ranges ranges_of(const http::Headers& headers, const registry::BlobHead& head) {
  const auto field = headers.get("Range");
  if (!field || !range_applies(headers, head.digest)) return {};
  http::Ranges ranges = http::parse_ranges(*field, head.size);
  constexpr std::string_view unit = "bytes=";
  const bool in_bytes = http::same_name(http::trimmed(*field).substr(0, unit.size()), unit);
  const auto commas = static_cast<std::size_t>(std::ranges::count(*field, ','));
  if (ranges.outcome == http::RangeOutcome::none && in_bytes && commas < http::max_ranges) {
    ranges.outcome = http::RangeOutcome::unsatisfiable;
  }
  return ranges;
}

// multipart/byteranges (RFC 9110, 14.6). No blob holds the boundary but by chance: it is part of the blob's own hash.
http::Response multipart(http::Response response, const registry::BlobContent& content,
                         const std::vector<http::ByteRange>& list) {
  const std::string boundary = content.head.digest.hex().substr(0, 40);
  std::vector<Piece> pieces;
  std::uint64_t length = 0;
  const auto add_text = [&](std::string text) {
    length += text.size();
    pieces.push_back({std::move(text), 0, 0});
  };
  for (const auto& range : list) {
    add_text((pieces.empty() ? "--" : "\r\n--") + boundary + "\r\nContent-Type: " + content.head.media_type +
             "\r\nContent-Range: " + content_range(range, content.head.size) + "\r\n\r\n");
    length += range.length;
    pieces.push_back({"", range.offset, range.length});
  }
  add_text("\r\n--" + boundary + "--\r\n");
  response.headers.set("Content-Type", "multipart/byteranges; boundary=" + boundary);
  if (content.reader->descriptor() < 0) {
    response.body =
        http::StreamBody{.source = std::make_shared<ReaderSource>(content.reader, std::move(pieces)), .length = length};
    return response;
  }
  std::vector<std::variant<std::string, http::FileBody>> parts;
  for (auto& piece : pieces) {
    if (piece.length == 0) {
      parts.emplace_back(std::move(piece.text));
    } else {
      parts.emplace_back(file_body(content.reader, piece.offset, piece.length));
    }
  }
  response.body = std::move(parts);
  return response;
}

http::Response ranged(http::Response response, const registry::BlobContent& content, const http::Ranges& ranges) {
  response.status = 206;
  if (ranges.list.size() > 1) return multipart(std::move(response), content, ranges.list);
  const http::ByteRange range = ranges.list.front();
  response.headers.add("Content-Range", content_range(range, content.head.size));
  response.body = body_of(content.reader, range.offset, range.length);
  return response;
}

// What the registry needs to know to choose who sends; the size is not known yet.
registry::BlobPull pull_of(const Call& call, const oci::Digest& digest) {
  registry::BlobPull pull;
  pull.may_redirect = true;
  pull.secure = call.request.connection.tls;
  pull.client = call.request.connection.client;
  pull.ticket = call.ticket;
  if (none_match_hits(call.request.headers, digest)) {
    pull.length = 0;  // the answer has no body: no byte is checked for it, and nobody is sent anywhere
    return pull;
  }
  if (const auto field = call.request.headers.get("Range")) {
    const PullSpan span = span_of(*field);
    pull.offset = span.offset;
    pull.length = span.length;
  }
  return pull;
}

// 307 keeps the method; nobody may keep the answer, for its ticket ends and the next request may go elsewhere.
http::Response redirect(const Call& call, const registry::BlobElsewhere& to, const oci::Digest& digest) {
  http::Response response;
  response.status = 307;
  response.headers.add("Location", to.url + blob_path(call.repository, digest) + "?ticket=" + to.ticket);
  response.headers.add("Cache-Control", "no-store");
  response.headers.add(std::string(digest_header), digest.text());
  return response;
}

}  // namespace

Answer get_blob(Call& call) {
  HANSA_CO_TRY(const oci::Digest digest, digest_of(call));
  HANSA_CO_TRY(const auto content,
               co_await call.services.registry.get_blob(call.access, call.repository, digest, pull_of(call, digest)));
  const auto& headers = call.request.headers;
  if (content.elsewhere && !none_match_hits(headers, digest)) co_return redirect(call, *content.elsewhere, digest);
  auto response = blob_response(content.head);
  mark_stale(response, content.head.stale, call.services.metrics);
  if (none_match_hits(headers, digest)) {
    response.status = 304;
    co_return response;
  }
  const http::Ranges ranges = ranges_of(headers, content.head);
  if (ranges.outcome == http::RangeOutcome::unsatisfiable) {
    response.status = 416;
    response.headers.add("Content-Range", "bytes */" + std::to_string(content.head.size));
    co_return response;
  }
  const bool part = ranges.outcome == http::RangeOutcome::ranges;
  if (part) {
    response = ranged(std::move(response), content, ranges);
  } else {
    response.body = body_of(content.reader, 0, content.head.size);
  }
  call.services.metrics.sent(body_size(response.body));
  co_return response;
}

Answer head_blob(Call& call) {
  HANSA_CO_TRY(const oci::Digest digest, digest_of(call));
  HANSA_CO_TRY(const auto head, co_await call.services.registry.head_blob(call.access, call.repository, digest));
  auto response = blob_response(head);
  mark_stale(response, head.stale, call.services.metrics);
  if (none_match_hits(call.request.headers, digest)) {
    response.status = 304;
  } else {
    response.head_length = head.size;
  }
  co_return response;
}

Answer delete_blob(Call& call) {
  HANSA_CO_TRY(const oci::Digest digest, digest_of(call));
  HANSA_CO_CHECK(co_await call.services.registry.delete_blob(call.access, call.repository, digest));
  http::Response response;
  response.status = 202;
  co_return response;
}

}  // namespace hansa::api::distribution
