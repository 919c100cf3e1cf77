#include "catalog/records.h"

#include <gtest/gtest.h>

#include "catalog/bed_test.h"

namespace hansa::catalog {
namespace {

using testing::digest;
using testing::name;

TEST(Records, KeysComeApartAgain) {
  const auto d = digest("x");
  const std::string text = keys::manifest(name("team/app"), d);
  EXPECT_EQ(text, "manifest/team/app@" + d.text());
  const KeyParts parts = split_key(text);
  EXPECT_EQ(parts.kind, KeyKind::manifest);
  EXPECT_EQ(parts.repository, "team/app");
  EXPECT_EQ(parts.rest, d.text());
  EXPECT_EQ(split_key(keys::tag(name("a/b"), testing::tag("v1"))).rest, "v1");
  EXPECT_EQ(split_key(keys::in(name("a/b"))).repository, "a/b");
  EXPECT_EQ(split_key("head").kind, KeyKind::head);
  EXPECT_EQ(split_key("settings/x").kind, KeyKind::other);
}

TEST(Records, AManifestRecordSurvivesItsText) {
  auto manifest = testing::referrer("subject", "application/sbom", {"a", "b"});
  manifest->annotations = {{"org.x", "1"}, {"quote", "\"\\\n"}};
  ManifestRecord record = make_manifest_record(*manifest);
  record.operation = "op1";
  record.pushed_by = "me";
  record.pushed_ms = 5;
  const auto again = decode_manifest(encode(record));
  ASSERT_TRUE(again) << describe(again.error());
  EXPECT_EQ(again->operation, "op1");
  EXPECT_EQ(again->annotations, manifest->annotations);
  EXPECT_EQ(again->subject, digest("subject"));
  ASSERT_EQ(again->references.size(), 2u);
  EXPECT_EQ(again->references[1].descriptor.digest, digest("b"));
  EXPECT_EQ(encode(*again), encode(record));
}

TEST(Records, FieldsOfANewerVersionAreKept) {
  const auto link = decode_link(R"({"f":1,"op":"a","size":7,"later":{"x":[1]}})");
  ASSERT_TRUE(link);
  LinkRecord changed = *link;
  changed.size = 8;
  EXPECT_EQ(encode(changed), R"({"f":1,"later":{"x":[1]},"op":"a","size":8})");
}

TEST(Records, ANewerFormatAndDamageAreRefused) {
  EXPECT_EQ(decode_link(R"({"f":2,"op":"a"})").error().code, ErrorCode::unsupported);
  EXPECT_EQ(decode_link("nonsense").error().code, ErrorCode::corrupt);
  EXPECT_EQ(decode_tag(R"({"f":1,"d":3})").error().code, ErrorCode::corrupt);
  EXPECT_EQ(decode_manifest(R"({"f":1,"refs":[[9,"x",1,""]]})").error().code, ErrorCode::corrupt);
}

TEST(Records, ManyReferencesStayInTheBody) {
  std::vector<std::string> layers;
  for (int i = 0; i < 1000; ++i) layers.push_back("layer " + std::to_string(i));
  const ManifestRecord record = make_manifest_record(*testing::image(layers));
  EXPECT_TRUE(record.details_in_body);
  EXPECT_TRUE(record.references.empty());
  EXPECT_LT(encode(record).size(), 1000u);
}

TEST(Records, AConfigIsOneReferenceThoughItIsListedAmongTheBlobs) {
  auto manifest = testing::image({"config", "layer", "layer"});
  manifest->config = testing::blob("config");
  const auto items = references_of(*manifest);
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].kind, ReferenceKind::config);
  EXPECT_EQ(items[1].kind, ReferenceKind::layer);
}

TEST(Records, AgeCountsTicksBegunSinceAndNeverMoreWhereMarksAreMissing) {
  TickRecord tick;
  tick.number = 30;
  tick.past = {{10, 100, 0}, {28, 280, 0}, {29, 290, 0}};
  const Revision mod = 300;  // of tick 30
  EXPECT_EQ(age_of(tick, mod, 301), 0u);
  EXPECT_EQ(age_of(tick, mod, 300), 0u);  // in the tick's own commit
  EXPECT_EQ(age_of(tick, mod, 299), 1u);
  EXPECT_EQ(age_of(tick, mod, 285), 2u);
  EXPECT_EQ(age_of(tick, mod, 110), 3u);  // the truth is up to 20: never more than what is known
  EXPECT_EQ(age_of(tick, mod, 50), 21u);
}

TEST(Records, MeasuredAgeIsNeverMoreThanWhatTicksMeasured) {
  TickRecord tick;
  tick.number = 30;
  tick.measured_ms = 9000;
  tick.past = {{10, 100, 0, 2000}, {28, 280, 0, 8000}, {29, 290, 0, 8400}};
  const Revision mod = 300;  // of tick 30
  EXPECT_EQ(measured_since(tick, mod, 300), 0);
  EXPECT_EQ(measured_since(tick, mod, 295), 0);  // in tick 29, of which nobody knows how much was over
  EXPECT_EQ(measured_since(tick, mod, 285), 600);
  EXPECT_EQ(measured_since(tick, mod, 110), 1000);
  EXPECT_EQ(measured_since(tick, mod, 50), 7000);
  for (TickMark& mark : tick.past) mark.measured_ms = 0;  // of a version that did not measure
  tick.measured_ms = 500;
  EXPECT_EQ(measured_since(tick, mod, 50), 500) << "since the upgrade";
}

TEST(Records, ATickMeasuresTheShorterOfWhatWasPromisedAndWhatPassed) {
  testing::Bed bed;
  bed.tick(2);
  const auto length = [&](io::Duration passed) {
    bed.must([&](const Planning& p) { return plan_tick(p, bed.catalog->newest_tick(), passed); });
    return bed.now().tick().value()->record.measured_ms;
  };
  const std::int64_t before = bed.now().tick().value()->record.measured_ms;
  EXPECT_EQ(before, 2 * 7 * 60 * 1000);
  EXPECT_EQ(length(std::chrono::hours(3)), before + 7 * 60 * 1000);  // the one that ends had the old length
  EXPECT_EQ(length(std::chrono::seconds(1)), before + 7 * 60 * 1000 + 1000);
}

TEST(Records, WhoWroteAValueIsKnownAlsoThroughAGrave) {
  GraveRecord grave;
  grave.operation = "delete";
  grave.was = make_manifest_record(*testing::image({}));
  grave.was.operation = "put";
  EXPECT_TRUE(written_by(encode(grave), "delete"));
  EXPECT_TRUE(written_by(encode(grave), "put"));
  EXPECT_FALSE(written_by(encode(grave), "other"));
  EXPECT_TRUE(written_by(R"({"op":"abc","n":2})", "abc"));
}

}  // namespace
}  // namespace hansa::catalog
