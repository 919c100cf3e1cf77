// The view against what it is derived from: references beside the commit, rebuilding, and random operations against a
// plain model.
#include "catalog/view.h"

#include <gtest/gtest.h>

#include "catalog/bed_test.h"
#include "catalog/model_test.h"

namespace hansa::catalog {
namespace {

using testing::Bed;
using testing::digest;
using testing::image;
using testing::index;
using testing::Model;
using testing::name;
using testing::referrer;

std::shared_ptr<oci::Manifest> large_image(Bed& bed) {
  std::vector<std::string> layers;
  for (int i = 0; i < 600; ++i) {
    layers.push_back("layer " + std::to_string(i));
    bed.link("app", layers.back());
  }
  return image(layers);
}

// References over 32 KiB are not in the record, but in the view all the same (H15).
TEST(View, LargeManifestsHoldTheirBlobs) {
  Bed bed;
  const auto large = large_image(bed);
  bed.put("app", "large", large, {"v"});
  EXPECT_TRUE(bed.now().manifest_record(name("app"), digest("large")).value()->record.details_in_body);
  EXPECT_TRUE(bed.now().blob(name("app"), digest("layer 599")).value()->held);
  EXPECT_EQ(bed.refusal(bed.deleting_blob("app", "layer 599")), ErrorCode::referenced);
  EXPECT_TRUE(bed.now().unloaded(10)->empty());
  bed.must(bed.deleting_manifest("app", "large"));  // its grave needs no body: the references are the same
  EXPECT_TRUE(bed.now().unloaded(10)->empty());
  bed.must(bed.deleting_blob("app", "layer 599"));
  EXPECT_TRUE(bed.now().named_anywhere(digest("layer 599")).value());
  bed.close();
  bed.open();  // a restart keeps them
  EXPECT_TRUE(bed.now().unloaded(10)->empty());
}

TEST(View, AfterARebuildNothingIsSweptUntilTheBodiesAreRead) {
  Bed bed;
  bed.link("app", "stray");
  const auto large = large_image(bed);
  bed.put("app", "large", large, {"v"});
  bed.put("app", "buried", large);
  bed.must(bed.deleting_manifest("app", "buried"));
  bed.tick(10);
  EXPECT_EQ(bed.candidates("app").size(), 2u);
  bed.close();
  bed.open(2);
  EXPECT_TRUE(bed.candidates("app").empty());
  EXPECT_TRUE(bed.now().named_anywhere(digest("whatever")).value());
  EXPECT_EQ(bed.refusal(bed.deleting_blob("app", "layer 3")), ErrorCode::unavailable);
  const auto unloaded = bed.now().unloaded(10).value();
  ASSERT_EQ(unloaded.size(), 2u);
  for (const auto& entry : unloaded) {
    EXPECT_EQ(entry.media_type, oci::media_type::image_manifest);
    bed.must([&](const Planning& p) { return plan_load_references(p, entry.repository, entry.digest, large); });
  }
  EXPECT_TRUE(bed.now().unloaded(10)->empty());
  EXPECT_TRUE(bed.now().blob(name("app"), digest("layer 3")).value()->held);
  EXPECT_EQ(bed.candidates("app").size(), 1u);  // the stray link; the grave was put again and is young
  const auto again =
      bed.submit([&](const Planning& p) { return plan_load_references(p, name("app"), digest("large"), large); });
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->changed);
}

// What an operator asks, over all that the model ever named.
std::string answers(Bed& bed, const Model& model) {
  std::string all;
  Snapshot view = bed.now();
  const auto yes = [&all](const auto& value) { all += value.value() ? '1' : '0'; };
  for (const std::string& repository : Model::repositories) {
    const auto n = name(repository);
    const auto state = view.repository_state(n).value();
    if (state) {
      all += "\n" + repository + " m" + std::to_string(state->manifests) + " t" + std::to_string(state->tags) + " l" +
             std::to_string(state->links) + " g" + std::to_string(state->graves) + " ";
    }
    for (const std::string& id : model.all_ids()) {
      const auto d = digest(id);
      all += ' ';
      yes(view.satisfies_push(n, d));
      yes(view.is_child(n, d));
      yes(view.manifest_held(n, d));
      const auto present = view.blob(n, d).value();
      all += present ? std::to_string(present->size) + present->media_type.substr(0, 1) : "-";
      const auto manifest = view.manifest(n, d).value();
      all += manifest ? std::to_string(manifest->create) + "/" + std::to_string(manifest->mod) : "-";
      for (const auto& entry : view.list_referrers(n, d, {}, std::nullopt, 100, MiB)->referrers) {
        all += "<" + entry.manifest.digest.hex().substr(0, 4);
      }
    }
    for (const auto& text : view.list_tags(n, "", 100)->names) all += " " + text;
  }
  for (const auto& text : view.list_repositories("", 100)->names) all += " " + text;
  for (const std::string& id : model.all_ids()) yes(view.named_anywhere(digest(id)));
  const auto totals = view.totals().value();
  all += " " + std::to_string(totals.repositories) + "," + std::to_string(totals.manifests) + "," +
         std::to_string(totals.tags) + "," + std::to_string(totals.links);
  return all;
}

// One random operation on both; they must agree on whether it is allowed.
void step(Bed& bed, Model& model, sim::SimRandom& random) {
  const std::string repository = model.draw_repository(random);
  const std::string content = model.draw_blob(random);
  const std::string id = model.draw_manifest(random);
  const std::string tag = model.draw_tag(random);
  const auto agree = [&](const char* what, bool allowed, const Planner& planner) {
    const auto done = bed.submit(planner);
    EXPECT_EQ(done.has_value(), allowed) << what << " " << repository << " " << content << " " << id << " " << tag
                                         << (done ? "" : describe(done.error()));
  };
  switch (random.below(10)) {
    case 0:
    case 1: model.link(repository, content); return bed.link(repository, content);
    case 2:
    case 3:
    case 4: return agree("put", model.put(repository, id, tag), bed.putting(repository, id, model.manifest(id), {tag}));
    case 5: {
      const std::string from = model.draw_repository(random);
      return agree("mount", model.mount(repository, from, content), bed.mounting(repository, from, content));
    }
    case 6: return agree("delete tag", model.delete_tag(repository, tag), bed.deleting_tag(repository, tag));
    case 7:
      return agree("delete manifest", model.delete_manifest(repository, id), bed.deleting_manifest(repository, id));
    case 8: return agree("delete blob", model.delete_blob(repository, content), bed.deleting_blob(repository, content));
    default:
      if (!random.one_in(3)) {
        model.tick();
        return bed.tick();
      }
      EXPECT_EQ(bed.sweep(repository), model.sweep(repository)) << "sweep " << repository;
  }
}

void compare(Bed& bed, const Model& model) {
  Snapshot view = bed.now();
  for (const std::string& repository : Model::repositories) {
    const auto n = name(repository);
    for (const std::string& id : model.all_ids()) {
      const auto d = digest(id);
      EXPECT_EQ(view.blob(n, d)->has_value(), model.present(repository, id)) << repository << " " << id;
      EXPECT_EQ(view.manifest(n, d)->has_value(), model.has_manifest(repository, id)) << repository << " " << id;
    }
    EXPECT_EQ(view.list_tags(n, "", 100)->names, model.tags(repository)) << repository;
  }
  for (const std::string& id : model.all_ids()) {
    EXPECT_EQ(view.named_anywhere(digest(id)).value(), model.named(id)) << id;
  }
}

TEST(View, RandomOperationsAgreeWithThePlainModel) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Bed bed;
    Model model;
    sim::SimRandom random(seed);
    for (int i = 0; i < 600 && !::testing::Test::HasFailure(); ++i) {
      SCOPED_TRACE("step " + std::to_string(i));
      step(bed, model, random);
      if (i % 10 == 0) compare(bed, model);
    }
    compare(bed, model);
    EXPECT_GT(model.swept(), 0u) << "the sweeps of this seed found nothing: it shows too little";
    // Rebuilding the tables from the records gives the same answers.
    const std::string before = answers(bed, model);
    bed.close();
    bed.open(2);
    EXPECT_EQ(answers(bed, model), before);
  }
}

}  // namespace
}  // namespace hansa::catalog
