// The undo of collection: what its graves, its memory of tags and the trash still hold goes back.
#include "catalog/plan_retention.h"
#include "io/wait.h"
#include "upkeep/upkeep.h"

namespace hansa::upkeep {
namespace {

constexpr std::size_t tag_page = 500;
constexpr std::size_t max_manifests = 100'000;  // put back in one repository at a time

}  // namespace

io::Task<Result<PutBack>> Upkeep::undo(std::optional<oci::RepositoryName> only,
                                       std::function<void(const std::string&)> tell) {
  const Turn turn(collecting_);
  if (!turn.mine()) co_return make_error(ErrorCode::conflict, "a collection is under way; wait for its end");
  PutBack done;
  if (only) {
    HANSA_CO_CHECK(co_await put_back(*std::move(only), tell, done));
  } else {
    HANSA_CO_CHECK(co_await each_repository(
        [this, &tell, &done](oci::RepositoryName name) { return put_back(std::move(name), tell, done); }));
  }
  // After the records, which name them.
  HANSA_CO_TRY(done.files, co_await ports_.maintenance.restore_trash());
  ports_.log.info(
      "collection was undone",
      {{"manifests", done.manifests}, {"tags", done.tags}, {"files", done.files}, {"impossible", done.impossible}});
  co_return done;
}

io::Task<Result<void>> Upkeep::put_back(oci::RepositoryName name, const std::function<void(const std::string&)>& tell,
                                        PutBack& done) {
  HANSA_CO_CHECK(co_await put_back_manifests(name, tell, done));
  std::string after;
  while (true) {
    auto look = [this, &name, &after]() -> Result<std::vector<catalog::TagDetail>> {
      HANSA_TRY(auto view, ports_.catalog.snapshot());
      return view.expired_tags(name, after, tag_page);
    };
    HANSA_CO_TRY(const auto page, co_await io::blocking(io::Pool::metadata, std::move(look)));
    for (const catalog::TagDetail& entry : page) {
      after = entry.tag.text();
      catalog::Planner plan = [&name, &entry](const catalog::Planning& planning) {
        return plan_put_back_tag(planning, name, entry.tag);
      };
      auto put = co_await ports_.catalog.submit(std::move(plan));
      if (put && put->changed) ++done.tags;
      if (put) continue;
      if (put.error().code != ErrorCode::missing_reference) co_return put.error();
      ++done.impossible;
      tell("cannot put back " + name.text() + ":" + entry.tag.text() + ": " + put.error().message);
    }
    if (page.size() < tag_page) co_return Result<void>{};
  }
}

// An index comes after what it lists, whatever their order: as long as one more was possible, those left are tried
// again.
io::Task<Result<void>> Upkeep::put_back_manifests(const oci::RepositoryName& name,
                                                  const std::function<void(const std::string&)>& tell, PutBack& done) {
  auto look = [this, &name]() -> Result<std::vector<oci::Digest>> {
    HANSA_TRY(auto view, ports_.catalog.snapshot());
    return view.swept_manifests(name, max_manifests);
  };
  HANSA_CO_TRY(auto left, co_await io::blocking(io::Pool::metadata, std::move(look)));
  bool progress = true;
  std::vector<std::string> refusals;
  while (progress && !left.empty()) {
    progress = false;
    refusals.clear();
    std::vector<oci::Digest> again;
    for (const oci::Digest& digest : left) {
      catalog::Planner plan = [&name, &digest](const catalog::Planning& planning) {
        return plan_put_back_manifest(planning, name, digest);
      };
      auto put = co_await ports_.catalog.submit(std::move(plan), catalog::Weight::heavy);
      if (put) {
        progress = true;
        if (put->changed) ++done.manifests;
      } else if (put.error().code == ErrorCode::missing_reference) {
        again.push_back(digest);
        refusals.push_back(put.error().message);
      } else if (put.error().code != ErrorCode::not_found) {  // its grave went meanwhile
        co_return put.error();
      }
    }
    left = std::move(again);
  }
  done.impossible += left.size();
  for (const std::string& refusal : refusals) tell("cannot put back: " + refusal);
  co_return Result<void>{};
}

}  // namespace hansa::upkeep
