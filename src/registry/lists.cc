// Use cases that list.
#include <algorithm>

#include "registry/service_impl.h"

namespace hansa::registry {
namespace {

// Pages of `next(after, limit)` until `limit` names are there. A reader that stays long pins the store's log, so each
// page is a transaction of its own; names that come or go meanwhile may be missed or seen, as between two requests.
struct PagePlan {
  std::size_t limit;
  std::size_t step() const { return std::min(limit, max_page); }
};

PagePlan plan_of(const Page& page) {
  return {.limit = std::min(page.limit.value_or(max_unpaged), max_unpaged)};
}

}  // namespace

// On one node a page is kept until its repository changes.
io::Task<Result<NameList>> Service::list_tags(auth::Access who, oci::RepositoryName repository, Page page) {
  HANSA_CO_CHECK(require(who, auth::Action::read, repository));
  const PageStart start{.after = page.after, .limit = plan_of(page).limit};
  const bool keep = !cluster_ && start.limit <= max_page;
  if (keep) {
    HANSA_CO_TRY(const auto fence, co_await catalog_.barrier());
    if (const auto known = tag_pages_.find(fence, repository, start)) co_return *known;
  }
  HANSA_CO_TRY(auto read, co_await read_tags(repository, std::move(page)));
  if (keep) tag_pages_.put({}, read.revision, repository, start, std::make_shared<const NameList>(read.list));
  co_return std::move(read.list);
}

io::Task<Result<Service::TagList>> Service::read_tags(oci::RepositoryName repository, Page page) {
  const auto plan = plan_of(page);
  TagList out;
  NameList& list = out.list;
  std::string after = page.after;
  while (true) {
    HANSA_CO_TRY(auto seen, co_await fresh_or_stale());
    auto& view = seen.view;
    list.stale = list.stale || seen.outage;
    if (list.names.empty()) {
      out.revision = view.revision();
      HANSA_CO_TRY(const auto state, view.repository_state(repository));
      if (!state || !state->populated()) {
        Error none =
            make_error(ErrorCode::not_found, Subject::repository, "there is no repository " + repository.text());
        co_return missing_from(seen, repository, std::move(none));
      }
    }
    if (plan.limit == 0) co_return out;
    const std::size_t want = std::min(plan.step(), plan.limit - list.names.size());
    HANSA_CO_TRY(auto found, view.list_tags(repository, after, want));
    std::ranges::move(found.names, std::back_inserter(list.names));
    list.more = found.more;
    if (!found.more || list.names.size() >= plan.limit) co_return out;
    after = list.names.back();
  }
}

io::Task<Result<NameList>> Service::list_repositories(auth::Access who, Page page) {
  const auto plan = plan_of(page);
  NameList list;
  std::string after = page.after;
  while (plan.limit > 0) {
    HANSA_CO_TRY(auto seen, co_await fresh_or_stale());
    list.stale = list.stale || seen.outage;
    const std::size_t want = std::min(plan.step(), plan.limit - list.names.size());
    const auto readable = [&who](const oci::RepositoryName& name) { return who.may(auth::Action::read, name); };
    HANSA_CO_TRY(auto found, seen.view.list_repositories(after, want, readable));
    std::ranges::move(found.names, std::back_inserter(list.names));
    list.more = found.more;
    if (!found.more || list.names.size() >= plan.limit || list.names.empty()) break;
    after = list.names.back();
  }
  co_return list;
}

io::Task<Result<ReferrerList>> Service::list_referrers(auth::Access who, oci::RepositoryName repository,
                                                       oci::Digest subject, std::vector<std::string> types, Page page) {
  HANSA_CO_CHECK(require(who, auth::Action::read, repository));
  std::optional<oci::Digest> after;
  if (!page.after.empty()) {
    HANSA_CO_TRY(after, oci::Digest::parse(page.after));
  }
  const std::size_t limit = std::min(page.limit.value_or(max_page), max_page);
  ReferrerList list;
  catalog::ReferrerPage found;
  {
    HANSA_CO_TRY(auto seen, co_await fresh_or_stale());
    list.stale = seen.outage.has_value();
    HANSA_CO_TRY(found, seen.view.list_referrers(repository, subject, types, after, limit, max_annotation_bytes));
  }
  list.more = found.more;
  std::size_t bytes = 0;
  for (auto& entry : found.referrers) {
    if (bytes >= max_annotation_bytes) {
      list.more = true;
      break;
    }
    const auto& state = entry.manifest;
    Referrer referrer{.descriptor = {.media_type = state.media_type, .digest = state.digest, .size = state.size},
                      .artifact_type = std::move(entry.artifact_type),
                      .annotations = std::move(entry.annotations)};
    if (entry.annotations_in_body) {
      HANSA_CO_TRY(const auto body, co_await manifest_body(state.digest, state.size));
      HANSA_CO_TRY(auto parsed, co_await read_manifest(state.media_type, body));
      referrer.annotations = std::move(parsed.annotations);
    }
    bytes += oci::size_of(referrer.annotations);
    list.referrers.push_back(std::move(referrer));
  }
  co_return list;
}

}  // namespace hansa::registry
