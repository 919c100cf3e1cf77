#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/api.h"
#include "api/distribution/common.h"
#include "api/distribution/handlers.h"
#include "base/assert.h"

namespace hansa::api::distribution {
namespace {

// Without n clients expect everything in one answer; beyond this there is a Link to the rest.
constexpr std::size_t max_names = 100'000;
// The specification advises an answer of at most 4 MiB; a descriptor with annotations has some hundred bytes.
constexpr std::size_t max_referrers = registry::max_page;

std::string dump(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

struct Wanted {
  std::size_t limit = max_names;
  std::string after;
};

// Collects pages until `wanted` is there or nothing more. `fetch(page)` gives the next one.
template <class Fetch>
io::Task<Result<registry::NameList>> collect(Wanted wanted, Fetch fetch) {
  registry::NameList all;
  while (true) {
    const std::size_t rest = wanted.limit - all.names.size();
    registry::Page page{.limit = std::min(rest, registry::max_page),
                        .after = all.names.empty() ? wanted.after : all.names.back()};
    HANSA_CO_TRY(registry::NameList part, co_await fetch(std::move(page)));
    std::ranges::move(part.names, std::back_inserter(all.names));
    all.more = part.more;
    all.stale = all.stale || part.stale;
    if (!part.more || part.names.empty() || all.names.size() >= wanted.limit) co_return all;
  }
}

// ["a","b"]: no name of a repository or a tag holds what JSON escapes.
void append_names(std::string& out, const std::vector<std::string>& names) {
  std::size_t size = out.size() + 2;
  for (const auto& name : names) size += name.size() + 3;
  out.reserve(size + 1);
  out += '[';
  for (const auto& name : names) {
    HANSA_ASSERT(name.find_first_of("\"\\") == std::string::npos, "names hold no quotes");
    if (&name != &names.front()) out += ',';
    out += '"';
    out += name;
    out += '"';
  }
  out += ']';
}

http::Response names_response(std::string body, const std::string& path, const Wanted& wanted,
                              const registry::NameList& list) {
  append_names(body, list.names);
  body += '}';
  auto response = json_response(std::move(body));
  if (list.more && !list.names.empty()) add_next_link(response, path, wanted.limit, list.names.back());
  return response;
}

}  // namespace

Answer list_tags(Call& call) {
  Wanted wanted;
  HANSA_CO_TRY(const auto limit, page_limit(call.request.query));
  HANSA_CO_TRY(wanted.after, page_after(call.request.query));
  wanted.limit = std::min(limit.value_or(max_names), max_names);
  const auto fetch = [&call](registry::Page page) {
    return call.services.registry.list_tags(call.access, call.repository, std::move(page));
  };
  HANSA_CO_TRY(const auto list, co_await collect(wanted, fetch));
  std::string body = "{\"name\":\"" + call.repository.text() + "\",\"tags\":";
  auto response = names_response(std::move(body), "/v2/" + call.repository.text() + "/tags/list", wanted, list);
  mark_stale(response, list.stale, call.services.metrics);
  co_return response;
}

Answer list_repositories(Call& call) {
  Wanted wanted;
  // Not of the specification: clients have been sending anything as n, which then means all.
  const auto limit = page_limit(call.request.query);
  if (limit && *limit) wanted.limit = std::min(**limit, max_names);
  HANSA_CO_TRY(wanted.after, page_after(call.request.query));
  const auto fetch = [&call](registry::Page page) {
    return call.services.registry.list_repositories(call.access, std::move(page));
  };
  HANSA_CO_TRY(const auto list, co_await collect(wanted, fetch));
  auto response = names_response("{\"repositories\":", "/v2/_catalog", wanted, list);
  mark_stale(response, list.stale, call.services.metrics);
  co_return response;
}

Answer list_referrers(Call& call) {
  HANSA_CO_TRY(const oci::Digest subject, oci::Digest::parse(call.parameter));
  HANSA_CO_TRY(const auto limit, page_limit(call.request.query));
  HANSA_CO_TRY(std::string after, page_after(call.request.query));
  std::vector<std::string> types;
  std::string rest;
  for (const auto type : call.request.query.all("artifactType")) {
    if (type.empty()) continue;
    types.emplace_back(type);
    rest += "&artifactType=" + query_encode(type);
  }
  const bool filtered = !types.empty();
  const std::size_t count = std::min(limit.value_or(max_referrers), max_referrers);
  HANSA_CO_TRY(const auto list, co_await call.services.registry.list_referrers(
                                    call.access, call.repository, subject, std::move(types),
                                    registry::Page{.limit = count, .after = std::move(after)}));
  nlohmann::json manifests = nlohmann::json::array();
  for (const auto& referrer : list.referrers) {
    nlohmann::json descriptor = {{"mediaType", referrer.descriptor.media_type},
                                 {"digest", referrer.descriptor.digest.text()},
                                 {"size", referrer.descriptor.size}};
    if (!referrer.artifact_type.empty()) descriptor["artifactType"] = referrer.artifact_type;
    if (!referrer.annotations.empty()) descriptor["annotations"] = referrer.annotations;
    manifests.push_back(std::move(descriptor));
  }
  const nlohmann::json body = {
      {"schemaVersion", 2}, {"mediaType", oci::media_type::image_index}, {"manifests", std::move(manifests)}};
  auto response = json_response(dump(body));
  response.headers.set("Content-Type", std::string(oci::media_type::image_index));
  mark_stale(response, list.stale, call.services.metrics);
  if (filtered) response.headers.add("OCI-Filters-Applied", "artifactType");
  if (list.more && !list.referrers.empty()) {
    const std::string path = "/v2/" + call.repository.text() + "/referrers/" + subject.text();
    add_next_link(response, path, count, list.referrers.back().descriptor.digest.text(), rest);
  }
  co_return response;
}

}  // namespace hansa::api::distribution
