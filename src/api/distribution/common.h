// What the handlers of the distribution API share: paths, entity tags, paging. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"
#include "metrics/server_metrics.h"
#include "oci/digest.h"
#include "oci/name.h"

namespace hansa::api::distribution {

inline constexpr std::string_view digest_header = "Docker-Content-Digest";

// "/v2/{name}/blobs/{digest}" and its siblings: relative to the server, so that any proxy may stand before it.
std::string blob_path(const oci::RepositoryName& name, const oci::Digest& digest);
std::string manifest_path(const oci::RepositoryName& name, const oci::Digest& digest);
std::string upload_path(const oci::RepositoryName& name, std::string_view session);

// "Text/Html; charset=x" becomes "text/html".
std::string base_media_type(std::string_view field);

// The entity tag of content is its digest in quotes.
std::string entity_tag(std::string_view digest);  // of its text
// If-None-Match: does the field (a list of tags, weak or not, or "*") name this digest? (RFC 9110, 13.1.2)
bool none_match_hits(const http::Headers& headers, const oci::Digest& digest);

// "a b+c" becomes "a%20b%2Bc"; '/' and ':' stay.
std::string query_encode(std::string_view text);

// n of a list: absent, or a number; invalid(request) for anything else or more than one.
Result<std::optional<std::size_t>> page_limit(const http::Query& query);
// last of a list: empty if absent; invalid(request) for more than one.
Result<std::string> page_after(const http::Query& query);

// Adds the Link to the next page: the same list with n, last and `rest` (further parameters, "&a=b").
void add_next_link(http::Response& response, std::string_view path, std::size_t limit, std::string_view last,
                   std::string_view rest = {});

http::Response json_response(std::string body);

// Marks an answer that may be out of date (P6): Warning 110 (RFC 7234, 5.5.1), and counts it. Nothing if not `stale`.
void mark_stale(http::Response& response, bool stale, metrics::ServerMetrics& metrics);

}  // namespace hansa::api::distribution
