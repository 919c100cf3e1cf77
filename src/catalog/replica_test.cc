// The catalogue's tables in a copy that was loaded anew against those in one that followed every change.
#include "meta/sqlite/replica.h"

#include <gtest/gtest.h>

#include "catalog/bed_test.h"
#include "catalog/model_test.h"

namespace hansa::catalog {
namespace {

using testing::Bed;
using testing::digest;
using testing::Model;
using testing::name;

// A copy on a disk of its own.
struct Copy {
  explicit Copy(Bed& bed, const std::string& file) {
    meta::sqlite::DatabaseOptions options;
    options.path = "/data/" + file;
    replica = meta::sqlite::Replica::open(bed.disk, bed.clock, bed.log, options, {&view}).value();
  }
  View view;
  std::unique_ptr<meta::sqlite::Replica> replica;
};

// All rows of a query, in its order.
std::string rows(Copy& copy, std::string_view sql, int columns) {
  std::string all;
  const auto read = copy.replica->read().value();
  auto statement = read->connection().prepare(sql).value();
  while (statement.step().value()) {
    for (int i = 0; i < columns; ++i) {
      const auto bytes = statement.column_blob(i);
      all += std::string(as_text(bytes)) + "|";
    }
    all += "\n";
  }
  return all;
}

// The tables with names in place of interned numbers; `lost` and `touched` depend on when a copy learned of things.
std::string tables(Copy& copy) {
  constexpr std::string_view digest_of = "(SELECT hex(name) FROM catalog_digest WHERE id=";
  const auto named = [digest_of](std::string_view column) {
    return "ifnull(" + std::string(digest_of) + std::string(column) + "),'-')";
  };
  std::string all =
      rows(copy, "SELECT name, manifests, tags, links, graves, unloaded FROM catalog_repo ORDER BY name", 6);
  all += rows(copy, "SELECT * FROM catalog_total", 4);
  all += rows(copy,
              "SELECT r.name, " + named("h.digest") + ", manifest_create, manifest_mod, grave_mod, loaded, " +
                  named("h.subject") +
                  ", is_index, size FROM catalog_holder h JOIN catalog_repo r ON r.id=h.repo "
                  "ORDER BY 1, 2",
              9);
  all += rows(copy,
              "SELECT r.name, " + named("f.digest") + ", " + named("h.digest") +
                  ", kind, f.size FROM catalog_ref f JOIN "
                  "catalog_repo r ON r.id=f.repo JOIN catalog_holder h ON h.id=f.holder ORDER BY 1, 2, 3, 4",
              5);
  all += rows(copy,
              "SELECT r.name, " + named("f.subject") +
                  ", hex(f.name), artifact_type FROM catalog_referrer f JOIN "
                  "catalog_repo r ON r.id=f.repo ORDER BY 1, 2, 3",
              4);
  all += rows(copy,
              "SELECT r.name, t.name, " + named("t.digest") +
                  ", mod FROM catalog_tag t JOIN catalog_repo r ON "
                  "r.id=t.repo ORDER BY 1, 2",
              4);
  all += rows(copy,
              "SELECT r.name, " + named("l.digest") +
                  ", mod, size, gone FROM catalog_link l JOIN catalog_repo r ON "
                  "r.id=l.repo ORDER BY 1, 2",
              5);
  return all + rows(copy, "SELECT hex(name) FROM catalog_digest ORDER BY 1", 1);
}

void step(Bed& bed, Model& model, sim::SimRandom& random) {
  const std::string repository = model.draw_repository(random);
  const std::string content = model.draw_blob(random);
  const std::string id = model.draw_manifest(random);
  const std::string tag = model.draw_tag(random);
  // Refusals are part of it.
  const auto submit = [&bed](const Planner& planner) { (void)bed.submit(planner).has_value(); };
  switch (random.below(9)) {
    case 0:
    case 1: return bed.link(repository, content);
    case 2:
    case 3:
    case 4: return submit(bed.putting(repository, id, model.manifest(id), {tag}));
    case 5: return submit(bed.deleting_tag(repository, tag));
    case 6: return submit(bed.deleting_manifest(repository, id));
    case 7: return submit(bed.deleting_blob(repository, content));
    default:
      if (random.one_in(2)) return bed.tick();
      (void)model.sweep(repository);
      (void)bed.sweep(repository);
  }
}

Revision load(Copy& copy, Bed& bed, std::size_t page_size) {
  const auto now = bed.store->snapshot().value();
  EXPECT_TRUE(copy.replica->begin_load());
  std::string after;
  while (true) {
    const auto page = now->range("", after, page_size).value();
    if (page.empty()) break;
    after = page.back().key;
    EXPECT_TRUE(copy.replica->load(page));
  }
  EXPECT_TRUE(copy.replica->finish_load(now->revision(), "origin"));
  return now->revision();
}

TEST(CatalogCopy, LoadedAnewItHasTheTablesOfOneThatFollowedEveryChange) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Bed bed;
    Model model;
    sim::SimRandom random(seed);
    Copy following(bed, "following.db");
    Copy loaded(bed, "loaded.db");
    const auto feed = [&following](const meta::ChangeSet& changes) {
      EXPECT_TRUE(following.replica->apply(std::span(&changes, 1)));
    };
    const auto subscription = bed.store->follow(0, feed).value();
    for (int round = 0; round < 6; ++round) {
      for (int i = 0; i < 50; ++i) step(bed, model, random);
      const Revision at = load(loaded, bed, 1 + seed * 7);
      ASSERT_EQ(following.replica->position().revision, at);
      ASSERT_EQ(tables(loaded), tables(following));
      EXPECT_EQ(loaded.replica->sums().value().sums, following.replica->sums().value().sums);
    }
    EXPECT_NE(rows(following, "SELECT 1 FROM catalog_holder WHERE grave_mod>0", 1), "") << "this seed shows too little";
  }
}

// When a tag went while the copy was away, no record says: the pages that lack it are older than its end.
TEST(CatalogCopy, LoadedAnewAManifestsAgeBeginsAtTheLoading) {
  Bed bed;
  Copy copy(bed, "copy.db");
  bed.link("app", "layer");
  bed.put("app", "m", testing::image({"layer"}), {"t"});
  load(copy, bed, 1);
  for (int i = 0; i < 5; ++i) bed.link("app", "later " + std::to_string(i));
  bed.must(bed.deleting_tag("app", "t"));
  const Revision at = load(copy, bed, 1);
  EXPECT_EQ(rows(copy, "SELECT lost FROM catalog_holder", 1), std::to_string(at) + "|\n");
}

}  // namespace
}  // namespace hansa::catalog
