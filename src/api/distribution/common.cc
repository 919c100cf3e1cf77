#include "api/distribution/common.h"

#include "http/text.h"

namespace hansa::api::distribution {
namespace {

std::string repository_path(const oci::RepositoryName& name, std::string_view rest) {
  std::string path = "/v2/";
  path += name.text();
  path += rest;
  return path;
}

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-._~/:").find(c) != std::string_view::npos;
}

}  // namespace

std::string blob_path(const oci::RepositoryName& name, const oci::Digest& digest) {
  return repository_path(name, "/blobs/" + digest.text());
}

std::string manifest_path(const oci::RepositoryName& name, const oci::Digest& digest) {
  return repository_path(name, "/manifests/" + digest.text());
}

std::string upload_path(const oci::RepositoryName& name, std::string_view session) {
  return repository_path(name, "/blobs/uploads/" + std::string(session));
}

std::string base_media_type(std::string_view field) {
  std::string type(http::trimmed(field.substr(0, field.find(';'))));
  for (char& c : type) c = http::lower(c);
  return type;
}

std::string entity_tag(std::string_view digest) {
  std::string tag;
  tag.reserve(digest.size() + 2);
  tag += '"';
  tag += digest;
  tag += '"';
  return tag;
}

bool none_match_hits(const http::Headers& headers, const oci::Digest& digest) {
  const auto fields = headers.all("If-None-Match");
  if (fields.empty()) return false;
  const std::string tag = entity_tag(digest.text());
  for (std::string_view field : fields) {
    while (!field.empty()) {
      const std::string_view element = field.substr(0, field.find(','));
      field.remove_prefix(std::min(field.size(), element.size() + 1));
      std::string_view candidate = http::trimmed(element);
      if (candidate == "*") return true;
      if (candidate.starts_with("W/")) candidate.remove_prefix(2);
      if (candidate == tag) return true;
    }
  }
  return false;
}

std::string query_encode(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    if (is_plain(c)) {
      encoded += c;
      continue;
    }
    constexpr std::string_view digits = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(c);
    encoded += '%';
    encoded += digits[byte >> 4U];
    encoded += digits[byte & 15U];
  }
  return encoded;
}

Result<std::optional<std::size_t>> page_limit(const http::Query& query) {
  const auto values = query.all("n");
  if (values.empty()) return std::nullopt;
  const auto number = values.size() == 1 ? http::parse_decimal(values.front()) : std::nullopt;
  if (!number) {
    return make_error(ErrorCode::invalid, Subject::request, "n must be given once, as a whole number from 0");
  }
  return static_cast<std::size_t>(*number);
}

Result<std::string> page_after(const http::Query& query) {
  const auto values = query.all("last");
  if (values.empty()) return std::string();
  if (values.size() > 1) return make_error(ErrorCode::invalid, Subject::request, "last must be given once");
  return std::string(values.front());
}

void add_next_link(http::Response& response, std::string_view path, std::size_t limit, std::string_view last,
                   std::string_view rest) {
  std::string link = "<";
  link += path;
  link += "?n=" + std::to_string(limit) + "&last=" + query_encode(last);
  link += rest;
  link += ">; rel=\"next\"";
  response.headers.add("Link", std::move(link));
}

void mark_stale(http::Response& response, bool stale, metrics::ServerMetrics& metrics) {
  if (!stale) return;
  response.headers.add("Warning",
                       "110 hansa \"the metadata store cannot be reached; this is what this node saw last\"");
  metrics.stale_answer();
}

http::Response json_response(std::string body) {
  http::Response response;
  response.headers.add("Content-Type", "application/json");
  response.body = std::move(body);
  return response;
}

}  // namespace hansa::api::distribution
