// A catalogue on the real SQLite store over a simulated disk, with short hands for what tests push and remove.
// For tests only.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "catalog/catalog.h"
#include "sim/ports/clock.h"
#include "sim/ports/disk.h"
#include "sim/ports/random.h"
#include "sim/ports/world.h"

namespace hansa::catalog::testing {

inline oci::RepositoryName name(std::string_view text) {
  return oci::RepositoryName::parse(text).value();
}
inline oci::Tag tag(std::string_view text) {
  return oci::Tag::parse(text).value();
}
inline oci::Digest digest(std::string_view content) {
  return oci::Digest::compute(oci::Algorithm::sha256, as_bytes(content));
}
inline oci::Descriptor blob(std::string_view content) {
  return {"application/vnd.test.layer", digest(content), content.size()};
}

// An image of these layers; its digest is that of `id`.
inline std::shared_ptr<oci::Manifest> image(const std::vector<std::string>& layers) {
  auto manifest = std::make_shared<oci::Manifest>();
  manifest->media_type = oci::media_type::image_manifest;
  manifest->size = 100;
  for (const std::string& layer : layers) manifest->blobs.push_back(blob(layer));
  return manifest;
}
inline std::shared_ptr<oci::Manifest> index(const std::vector<std::string>& children) {
  auto manifest = std::make_shared<oci::Manifest>();
  manifest->kind = oci::ManifestKind::index;
  manifest->media_type = oci::media_type::image_index;
  manifest->size = 200;
  for (const std::string& child : children) {
    manifest->children.push_back({std::string(oci::media_type::image_manifest), digest(child), 100});
  }
  return manifest;
}
inline std::shared_ptr<oci::Manifest> referrer(std::string_view subject, std::string_view type,
                                               const std::vector<std::string>& layers = {}) {
  auto manifest = image(layers);
  manifest->subject = oci::Descriptor{std::string(oci::media_type::image_manifest), digest(subject), 100};
  manifest->artifact_type = type;
  return manifest;
}

// The view under another schema version: opening a database with it drops the tables and fills them anew.
class RebuiltView final : public meta::sqlite::Projection {
 public:
  RebuiltView(View& view, int version) : view_(view), version_(version) {}
  std::string_view name() const override { return view_.name(); }
  int schema_version() const override { return version_; }
  Result<void> create(meta::sqlite::Connection& connection) override { return view_.create(connection); }
  Result<void> apply(meta::sqlite::Connection& connection, const meta::ChangeSet& changes) override {
    return view_.apply(connection, changes);
  }
  Result<void> history_lost(meta::sqlite::Connection& connection, meta::Revision revision) override {
    return view_.history_lost(connection, revision);
  }

 private:
  View& view_;
  int version_;
};

class Bed {
 public:
  explicit Bed(bool founded = true) {
    EXPECT_TRUE(disk.make_directories("/data"));
    open();
    if (founded) found();
  }
  ~Bed() { close(); }

  void open(int view_version = 1) {
    projection = std::make_unique<RebuiltView>(view, view_version);
    meta::sqlite::StoreOptions options;
    options.database.path = "/data/hansa.db";
    options.own_thread = false;
    auto opened = meta::sqlite::Store::open(disk, clock, log, options, {projection.get()});
    ASSERT_TRUE(opened) << describe(opened.error());
    store = *std::move(opened);
    auto made = Catalog::open(*store, view, clock, random, log);
    ASSERT_TRUE(made) << describe(made.error());
    catalog = *std::move(made);
  }
  void close() {
    catalog.reset();
    if (store) store->close();
    store.reset();
  }

  Snapshot now() {
    auto snapshot = catalog->snapshot();
    EXPECT_TRUE(snapshot) << describe(snapshot.error());
    return *std::move(snapshot);
  }
  Result<Submitted> submit(Planner planner) { return sim::run(world, executor, catalog->submit(std::move(planner))); }
  // Commits what was planned earlier; whether it conflicts.
  bool conflicts(const Plan& plan) {
    auto outcome = sim::run(world, executor, store->commit(plan.commit.value()));
    EXPECT_TRUE(outcome) << describe(outcome.error());
    return outcome->status == meta::CommitStatus::conflict;
  }

  NodeRecord node_record() const {
    NodeRecord record;
    record.disk = "disk-1";
    record.boot = "boot-1";
    return record;
  }
  void found() {
    const auto done =
        submit([this](const Planning& p) { return plan_first_start(p, "n1", node_record(), tick_length); });
    ASSERT_TRUE(done) << describe(done.error());
  }
  std::vector<Receipt> receipts() const { return {{"n1", "disk-1", catalog->newest_tick()}}; }

  // Planners of the usual operations.
  Planner linking(std::string_view repository, std::string_view content) const {
    const LinkUpload upload{name(repository), digest(content), content.size(), receipts()};
    return [upload](const Planning& p) { return plan_link(p, upload); };
  }
  ManifestPut push(std::string_view repository, std::string_view id, std::shared_ptr<const oci::Manifest> manifest,
                   const std::vector<std::string>& tags = {}) const {
    ManifestPut put;
    put.repository = name(repository);
    put.digest = digest(id);
    put.manifest = std::move(manifest);
    for (const std::string& text : tags) put.tags.push_back(tag(text));
    put.receipts = receipts();
    put.user = "tester";
    return put;
  }
  Planner putting(std::string_view repository, std::string_view id, std::shared_ptr<const oci::Manifest> manifest,
                  const std::vector<std::string>& tags = {}) const {
    const ManifestPut put = push(repository, id, std::move(manifest), tags);
    return [put](const Planning& p) { return plan_put_manifest(p, put); };
  }
  Planner mounting(std::string_view repository, std::string_view from, std::string_view content) const {
    const Mount mount{name(repository), name(from), digest(content)};
    return [mount](const Planning& p) { return plan_mount(p, mount); };
  }
  Planner deleting_tag(std::string_view repository, std::string_view text) const {
    return [n = name(repository), t = tag(text)](const Planning& p) { return plan_delete_tag(p, n, t); };
  }
  Planner deleting_manifest(std::string_view repository, std::string_view id) const {
    return [n = name(repository), d = digest(id)](const Planning& p) { return plan_delete_manifest(p, n, d); };
  }
  Planner deleting_blob(std::string_view repository, std::string_view content) const {
    return [n = name(repository), d = digest(content)](const Planning& p) { return plan_delete_blob(p, n, d); };
  }
  Planner renewing_blob(std::string_view repository, std::string_view content) const {
    return [n = name(repository), d = digest(content)](const Planning& p) { return plan_renew_blob(p, n, d); };
  }
  Planner sweeping(std::string_view repository, std::vector<SweepItem> items, SweepRules rules = {}) const {
    return [n = name(repository), items = std::move(items), rules](const Planning& p) {
      return plan_sweep(p, n, items, rules);
    };
  }
  Planner ticking() const {
    return [current = catalog->newest_tick()](const Planning& p) { return plan_tick(p, current, tick_length); };
  }

  // The same, carried out; they must succeed.
  void link(std::string_view repository, std::string_view content) { must(linking(repository, content)); }
  void put(std::string_view repository, std::string_view id, std::shared_ptr<const oci::Manifest> manifest,
           const std::vector<std::string>& tags = {}) {
    must(putting(repository, id, std::move(manifest), tags));
  }
  void must(Planner planner) {
    const auto done = submit(std::move(planner));
    EXPECT_TRUE(done) << describe(done.error());
  }
  // The error of an operation that must be refused; `internal` when it was not.
  ErrorCode refusal(Planner planner) {
    const auto done = submit(std::move(planner));
    EXPECT_FALSE(done) << "it was carried out";
    return done ? ErrorCode::internal : done.error().code;
  }
  void tick(int times = 1) {
    for (int i = 0; i < times; ++i) must(ticking());
  }
  std::vector<SweepItem> candidates(std::string_view repository, std::size_t scan = 1000, SweepRules rules = {}) {
    std::vector<SweepItem> all;
    std::optional<SweepCursor> from = SweepCursor{};
    while (from) {
      auto page = now().sweep_candidates(name(repository), rules, *from, scan);
      EXPECT_TRUE(page) << describe(page.error());
      all.insert(all.end(), page->items.begin(), page->items.end());
      from = page->next;
    }
    return all;
  }
  // One whole sweep; how many records went.
  std::size_t sweep(std::string_view repository) {
    auto items = candidates(repository);
    for (std::size_t i = 0; i < items.size(); i += max_sweep_records) {
      const auto end = std::min(items.size(), i + max_sweep_records);
      must(sweeping(repository, {items.begin() + static_cast<std::ptrdiff_t>(i),
                                 items.begin() + static_cast<std::ptrdiff_t>(end)}));
    }
    return items.size();
  }

  static constexpr io::Duration tick_length = std::chrono::minutes(7);
  sim::World world;
  sim::SimExecutor executor{world, "n1"};
  sim::SimClock clock{world, "n1"};
  sim::SimDisk disk{world, "n1"};
  sim::SimRandom random{7, "catalog"};
  NullLogger log;
  View view;
  std::unique_ptr<RebuiltView> projection;
  std::unique_ptr<meta::sqlite::Store> store;
  std::unique_ptr<Catalog> catalog;
};

}  // namespace hansa::catalog::testing
