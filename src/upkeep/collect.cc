// Collection: records that nothing needs, then bytes that no record names.
#include <algorithm>

#include "io/wait.h"
#include "upkeep/upkeep.h"

namespace hansa::upkeep {
namespace {

constexpr std::size_t repository_page = 100;  // names read at a time
constexpr std::size_t scan_rows = 1000;       // looked at in one transaction (trap T7)
constexpr std::size_t blob_page = 500;        // files listed at a time
constexpr std::size_t unloaded_page = 20;
// Between chunks: collection takes a fifth of the time of the metadata store's writer at most, for pushes come first.
constexpr int pause_per_work = 4;
constexpr io::Duration longest_pause = std::chrono::milliseconds(100);

}  // namespace

io::Task<void> Upkeep::collect_loop() {
  while (true) {
    auto slept = co_await io::sleep_for(options_.interval);
    if (!slept) co_return;
    auto done = options_.retention.dry_run ? co_await tell_log() : co_await collect();
    if (done) continue;
    if (done.error().code == ErrorCode::cancelled) co_return;
    ports_.log.warn("a collection cycle did not finish; the next one goes on", {{"error", done.error().message}});
  }
}

// Every node of a cluster would tell the same.
io::Task<Result<void>> Upkeep::tell_log() {
  HANSA_CO_TRY(const auto leader, co_await collector_.hold());
  if (!leader) co_return Result<void>{};
  co_return co_await dry_run([this](const std::string& line) { ports_.log.info("dry run", {{"outcome", line}}); });
}

io::Task<Result<void>> Upkeep::collect() {
  if (options_.retention.dry_run) {
    co_return make_error(ErrorCode::conflict,
                         "nothing is removed while storage.retention.dryRun is true; ask for a dry run");
  }
  const Turn turn(collecting_);
  if (!turn.mine()) co_return make_error(ErrorCode::conflict, "a collection is under way; wait for its end");
  HANSA_CO_CHECK(co_await load_references());
  // Records are for one node at a time, bytes for each.
  HANSA_CO_TRY(const auto leader, co_await collector_.hold());
  if (leader) {
    HANSA_CO_CHECK(
        co_await each_repository([this](oci::RepositoryName name) { return sweep_or_tell(std::move(name)); }));
  }
  if (ports_.may_sweep && !ports_.may_sweep()) {
    ports_.log.warn("no bytes are removed while the metadata store's alarm stands");
    co_return Result<void>{};
  }
  co_return co_await sweep_bytes();
}

// Manifests whose references stand in the body only are read before their repository is swept (H15). Each node loads
// them into its own view; where they are loaded, a record that is put again changes nothing, so N nodes do it N times.
// What cannot be read now is left: its repository and all bytes are not swept meanwhile.
io::Task<Result<void>> Upkeep::load_references() {
  while (true) {
    std::vector<catalog::Snapshot::Unloaded> missing;
    {
      HANSA_CO_TRY(auto view, ports_.catalog.snapshot());
      HANSA_CO_TRY(missing, view.unloaded(unloaded_page));
    }
    bool progress = false;
    for (const auto& entry : missing) {
      auto loaded = co_await load_one(entry);
      progress = progress || loaded;
      if (loaded) continue;
      if (loaded.error().code == ErrorCode::cancelled) co_return loaded.error();
      ports_.log.warn("the references of a manifest cannot be read; its repository is not collected",
                      {{"repository", entry.repository.text()},
                       {"digest", entry.digest.text()},
                       {"error", loaded.error().message}});
    }
    if (!progress) co_return Result<void>{};
  }
}

io::Task<Result<void>> Upkeep::load_one(catalog::Snapshot::Unloaded entry) {
  HANSA_CO_TRY(const auto body, co_await read_body(entry.digest));
  auto read = [&entry, &body] { return oci::parse_manifest(entry.media_type, as_bytes(body)); };
  HANSA_CO_TRY(auto parsed, co_await io::blocking(io::Pool::upkeep, std::move(read)));
  auto manifest = std::make_shared<const oci::Manifest>(std::move(parsed));
  catalog::Planner plan = [name = entry.repository, digest = entry.digest,
                           manifest](const catalog::Planning& planning) {
    return plan_load_references(planning, name, digest, manifest);
  };
  auto loaded = co_await ports_.catalog.submit(std::move(plan), catalog::Weight::heavy);
  if (!loaded && loaded.error().code != ErrorCode::not_found) co_return loaded.error();
  co_return Result<void>{};
}

io::Task<Result<std::string>> Upkeep::read_body(oci::Digest digest) {
  Result<std::shared_ptr<blob::BlobReader>> opened = make_error(ErrorCode::internal, "not opened");
  if (ports_.open_body) {
    opened = co_await ports_.open_body(digest);
  } else {
    opened = co_await ports_.blobs.open(digest);
  }
  HANSA_CO_TRY(const auto reader, std::move(opened));
  std::string body(reader->size(), '\0');
  const Bytes out(reinterpret_cast<std::byte*>(body.data()), body.size());
  std::size_t at = 0;
  while (at < out.size()) {
    HANSA_CO_TRY(const auto got, co_await reader->read(at, out.subspan(at)));
    if (got == 0) co_return make_error(ErrorCode::corrupt, Subject::manifest, digest.text() + " is short");
    at += got;
  }
  co_return body;
}

io::Task<Result<void>> Upkeep::each_repository(Visit visit) {
  std::string after;
  while (true) {
    catalog::NamePage page;
    {
      HANSA_CO_TRY(auto view, ports_.catalog.snapshot());
      HANSA_CO_TRY(page, view.all_repositories(after, repository_page));
    }
    for (const auto& text : page.names) {
      HANSA_CO_TRY(auto name, oci::RepositoryName::parse(text));
      HANSA_CO_CHECK(co_await visit(std::move(name)));
    }
    if (!page.more || page.names.empty()) co_return Result<void>{};
    after = page.names.back();
  }
}

// What is wrong with one repository must not keep the others, and the bytes, from being collected.
io::Task<Result<void>> Upkeep::sweep_or_tell(oci::RepositoryName name) {
  const std::string text = name.text();
  auto swept = co_await sweep_repository(std::move(name));
  if (swept) co_return swept;
  const ErrorCode code = swept.error().code;
  const bool its_own = code == ErrorCode::invalid || code == ErrorCode::corrupt || code == ErrorCode::internal;
  if (!its_own) co_return swept;
  ports_.log.error("a repository is not collected", {{"repository", text}, {"error", swept.error().message}});
  co_return Result<void>{};
}

io::Task<Result<void>> Upkeep::sweep_repository(oci::RepositoryName name) {
  HANSA_CO_CHECK(co_await expire_repository(name));
  HANSA_CO_TRY(const auto judgement, co_await judge(name));
  std::optional<catalog::SweepCursor> cursor = catalog::SweepCursor{};
  while (cursor) {
    HANSA_CO_TRY(auto items, co_await next_removals(name, judgement, cursor));
    if (!items.empty()) HANSA_CO_CHECK(co_await sweep_chunks(name, judgement.rules, std::move(items)));
  }
  co_return Result<void>{};
}

io::Task<Result<std::vector<catalog::SweepItem>>> Upkeep::next_removals(const oci::RepositoryName& name,
                                                                        const Judgement& judgement,
                                                                        std::optional<catalog::SweepCursor>& cursor) {
  io::TaskContext& context = co_await io::current_context();
  if (context.cancelled()) co_return make_error(ErrorCode::cancelled, "collection was stopped");
  // A page reads thousands of rows, and where nothing is to be removed one page follows the other: not on the loop.
  auto look = [this, &name, &judgement, from = *cursor]() -> Result<catalog::SweepPage> {
    HANSA_TRY(auto view, ports_.catalog.snapshot());
    return view.sweep_candidates(name, judgement.rules, from, scan_rows);
  };
  HANSA_CO_TRY(auto page, co_await io::blocking(io::Pool::metadata, std::move(look)));
  cursor = page.next;
  std::erase_if(page.items, [&judgement](const catalog::SweepItem& item) {
    return item.kind == catalog::SweepKind::manifest && judgement.kept.contains(item.digest);
  });
  co_return std::move(page.items);
}

// Chunks are independent: removing what nothing holds never makes another record held, so it may stop after any.
io::Task<Result<void>> Upkeep::sweep_chunks(oci::RepositoryName name, catalog::SweepRules rules,
                                            std::vector<catalog::SweepItem> items) {
  for (std::size_t at = 0; at < items.size(); at += catalog::max_sweep_records) {
    HANSA_CO_TRY(const auto leader, co_await collector_.hold());
    if (!leader) co_return Result<void>{};  // lost meanwhile: another node collects
    const std::size_t count = std::min(catalog::max_sweep_records, items.size() - at);
    const auto first = items.begin() + static_cast<std::ptrdiff_t>(at);
    std::vector<catalog::SweepItem> chunk(first, first + static_cast<std::ptrdiff_t>(count));
    catalog::Planner plan = [name, rules, chunk = std::move(chunk), leader](const catalog::Planning& planning) {
      return plan_sweep(planning, name, chunk, rules, leader);
    };
    HANSA_CO_TRY(const std::size_t removed, co_await remove_records(std::move(plan)));
    swept_records_ += removed;
  }
  co_return Result<void>{};
}

io::Task<Result<std::size_t>> Upkeep::remove_records(catalog::Planner plan) {
  std::size_t removed = 0;  // by the last of its plans: what was pushed meanwhile stays
  catalog::Planner counted = [&plan, &removed](const catalog::Planning& planning) {
    auto made = plan(planning);
    removed = made && made->commit ? made->commit->deletes.size() : 0;
    return made;
  };
  const io::MonotonicTime began = ports_.clock.monotonic();
  auto done = co_await ports_.catalog.submit(std::move(counted), catalog::Weight::heavy);
  // A busy repository wins every race; the next cycle finds the rest.
  if (!done && done.error().code != ErrorCode::unavailable) co_return done.error();
  const io::Duration worked = ports_.clock.monotonic() - began;
  HANSA_CO_CHECK(co_await io::sleep_for(std::min(worked * pause_per_work, longest_pause)));
  co_return done && done->changed ? removed : 0;
}

// Those of a page that no record names now.
Result<std::vector<oci::Digest>> Upkeep::unnamed_of(const std::vector<blob::StoredBlob>& page) {
  HANSA_TRY(auto view, ports_.catalog.snapshot());
  std::vector<oci::Digest> unnamed;
  for (const auto& entry : page) {
    HANSA_TRY(const bool named, view.named_anywhere(entry.digest));
    if (!named) unnamed.push_back(entry.digest);
  }
  return unnamed;
}

io::Task<Result<void>> Upkeep::sweep_bytes() {
  std::optional<oci::Digest> after;
  io::TaskContext& context = co_await io::current_context();
  while (true) {
    HANSA_CO_TRY(const auto page, co_await ports_.maintenance.list(after, blob_page));
    // Looked at twice: here cheaply, and under the digest's lock by the store.
    auto look = [this, &page] { return unnamed_of(page); };
    HANSA_CO_TRY(const auto candidates, co_await io::blocking(io::Pool::metadata, std::move(look)));
    if (context.cancelled()) co_return make_error(ErrorCode::cancelled, "collection was stopped");
    if (!candidates.empty()) {
      std::function<bool(const oci::Digest&)> still = [this](const oci::Digest& digest) {
        auto view = ports_.catalog.snapshot();
        if (!view) return false;
        const auto named = view->named_anywhere(digest);
        return named && !*named;
      };
      HANSA_CO_TRY(const std::size_t swept, co_await ports_.maintenance.sweep(candidates, std::move(still)));
      swept_blobs_ += swept;
    }
    if (page.size() < blob_page) break;
    after = page.back().digest;
  }
  HANSA_CO_TRY(const auto removed, co_await ports_.maintenance.empty_trash());
  if (removed > 0) ports_.log.info("unlinked what was swept before", {{"files", removed}});
  co_return Result<void>{};
}

}  // namespace hansa::upkeep
