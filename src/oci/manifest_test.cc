#include "oci/manifest.h"

#include <gtest/gtest.h>

#include <string>

namespace hansa::oci {
namespace {

const std::string hex_a = "sha256:" + std::string(64, 'a');
const std::string hex_b = "sha256:" + std::string(64, 'b');

std::string descriptor(std::string_view type, const std::string& digest = hex_a, std::string_view more = "") {
  return R"({"mediaType":")" + std::string(type) + R"(","digest":")" + digest + R"(","size":7)" + std::string(more) +
         "}";
}

const std::string config = descriptor(media_type::image_config);
const std::string layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", hex_b);

std::string image(const std::string& members) {
  return R"({"schemaVersion":2,)" + members + "}";
}
std::string plain_image() {
  return image(R"("config":)" + config + R"(,"layers":[)" + layer + "]");
}

Result<Manifest> parse(const std::string& body, std::string_view type = media_type::image_manifest) {
  return parse_manifest(type, as_bytes(body));
}

// The body is refused as an invalid manifest, with `part` in the message.
void expect_refused(const std::string& body, std::string_view part,
                    std::string_view type = media_type::image_manifest) {
  const auto manifest = parse(body, type);
  ASSERT_FALSE(manifest) << body.substr(0, 300);
  EXPECT_EQ(manifest.error().code, ErrorCode::invalid);
  EXPECT_EQ(manifest.error().subject, Subject::manifest);
  EXPECT_NE(manifest.error().message.find(part), std::string::npos) << manifest.error().message;
}

TEST(Manifest, ReadsAnImage) {
  const std::string body = image(R"("mediaType":")" + std::string(media_type::image_manifest) + R"(","config":)" +
                                 config + R"(,"layers":[)" + layer + R"(],"subject":)" +
                                 descriptor(media_type::image_manifest, hex_b) + R"(,"annotations":{"k":"v","":"e"})");
  const auto manifest = parse(body);
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->kind, ManifestKind::image);
  EXPECT_EQ(manifest->media_type, media_type::image_manifest);
  EXPECT_EQ(manifest->size, body.size());
  ASSERT_EQ(manifest->blobs.size(), 2U);
  EXPECT_EQ(manifest->blobs[0].digest.text(), hex_a);
  EXPECT_EQ(manifest->blobs[1].digest.text(), hex_b);
  EXPECT_EQ(manifest->blobs[1].size, 7U);
  EXPECT_EQ(manifest->config->media_type, media_type::image_config);
  EXPECT_EQ(manifest->artifact_type, media_type::image_config);
  EXPECT_EQ(manifest->subject->digest.text(), hex_b);
  EXPECT_EQ(manifest->annotations, (Annotations{{"k", "v"}, {"", "e"}}));
}

TEST(Manifest, ReadsAnIndexAndAllowsAnEmptyOne) {
  const std::string child = descriptor(media_type::image_manifest, hex_b, R"(,"platform":{"os":"linux"})");
  const auto manifest = parse(image(R"("artifactType":"a/b","manifests":[)" + child + "]"), media_type::image_index);
  ASSERT_TRUE(manifest);
  EXPECT_EQ(manifest->kind, ManifestKind::index);
  ASSERT_EQ(manifest->children.size(), 1U);
  EXPECT_EQ(manifest->children[0].media_type, media_type::image_manifest);
  EXPECT_EQ(manifest->artifact_type, "a/b");

  const auto empty = parse(image(R"("manifests":[])"), media_type::image_index);
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->children.empty());
  EXPECT_EQ(empty->artifact_type, "");
}

TEST(Manifest, ReadsDockerTypesWithoutOciFields) {
  const auto manifest =
      parse(image(R"("config":)" + config + R"(,"layers":[],"subject":"not a descriptor","annotations":3)"),
            media_type::docker_manifest);
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_FALSE(manifest->subject);
  EXPECT_TRUE(manifest->annotations.empty());
  const auto list = parse(image(R"("manifests":[)" + layer + "]"), media_type::docker_list);
  ASSERT_TRUE(list);
  EXPECT_EQ(list->kind, ManifestKind::index);
}

TEST(Manifest, TheArtifactTypeFieldWinsOverTheConfigsType) {
  const std::string rest = R"("config":)" + descriptor(media_type::empty) + R"(,"layers":[])";
  EXPECT_EQ(parse(image(R"("artifactType":"a/b",)" + rest))->artifact_type, "a/b");
  EXPECT_EQ(parse(image(R"("artifactType":"",)" + rest))->artifact_type, media_type::empty);
}

TEST(Manifest, NonDistributableLayersNeedNotBeHeld) {
  for (const std::string& type : {std::string("application/vnd.oci.image.layer.nondistributable.v1.tar"),
                                  std::string("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
                                  std::string("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"),
                                  std::string("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")}) {
    const auto manifest =
        parse(image(R"("config":)" + config + R"(,"layers":[)" + descriptor(type, hex_b) + "," + layer + "]"));
    ASSERT_TRUE(manifest);
    ASSERT_EQ(manifest->foreign.size(), 1U) << type;
    EXPECT_EQ(manifest->foreign[0].media_type, type);
    EXPECT_EQ(manifest->blobs.size(), 2U);
  }
}

TEST(Manifest, UnknownFieldsDataAndNullsAreAllowed) {
  const std::string with_data = descriptor(media_type::empty, hex_a, R"(,"data":"e30=","urls":["u"],"x":{"y":[1.5]})");
  EXPECT_TRUE(parse(image(R"("config":)" + with_data +
                          R"(,"layers":[],"subject":null,"annotations":null,"manifests":null,"new.field":[{"a":1}])")));
}

TEST(Manifest, RefusesWhatIsNotAManifest) {
  expect_refused("", "empty");
  expect_refused("{", "not JSON");
  expect_refused("[]", "JSON object");
  expect_refused("\"\xff\"", "not JSON");
  expect_refused(plain_image() + "x", "not JSON");
  expect_refused("{}", "schemaVersion");
  expect_refused(R"({"schemaVersion":1,"config":)" + config + R"(,"layers":[]})", "schemaVersion");
  expect_refused(R"({"schemaVersion":"2","config":)" + config + R"(,"layers":[]})", "schemaVersion");
}

TEST(Manifest, RefusesMissingAndMalformedFields) {
  expect_refused(image(R"("layers":[])"), "config is missing");
  expect_refused(image(R"("config":)" + config), "layers is missing");
  expect_refused(image(R"("config":[],"layers":[])"), "config must be an object");
  expect_refused(image(R"("config":)" + config + R"(,"layers":{})"), "layers must be a list");
  expect_refused(image(R"("config":)" + config + R"(,"layers":[1])"), "layers[0] must be an object");
  expect_refused(image(R"("a":1)"), "manifests is missing", media_type::image_index);
  const auto layers = [](const std::string& text) {
    return image(R"("config":)" + config + R"(,"layers":[)" + text + "]");
  };
  expect_refused(layers(R"({"digest":")" + hex_a + R"(","size":1})"), "mediaType is missing");
  expect_refused(layers(R"({"mediaType":"a/t","size":1})"), "digest is missing");
  expect_refused(layers(R"({"mediaType":"a/t","digest":"sha256:x","size":1})"), "digest");
  expect_refused(layers(R"({"mediaType":"a/t","digest":")" + hex_a + R"("})"), "size is missing");
  expect_refused(layers(R"({"mediaType":"a/t","digest":")" + hex_a + R"(","size":-1})"), "size");
  expect_refused(layers(R"({"mediaType":"a/t","digest":")" + hex_a + R"(","size":1.5})"), "size");
  const std::string rest = R"("config":)" + config + R"(,"layers":[],)";
  expect_refused(image(rest + R"("annotations":{"k":1})"), "annotations");
  expect_refused(image(rest + R"("annotations":[])"), "annotations");
  expect_refused(image(rest + R"("artifactType":1)"), "artifactType");
  expect_refused(image(rest + R"("subject":{"digest":"x"})"), "subject");
}

TEST(Manifest, MediaTypesAreOfTheirGrammarSinceTheyBecomeHeaders) {
  const auto with_layer = [](const std::string& type) {
    return image(R"("config":)" + config + R"(,"layers":[)" + descriptor(type, hex_b) + "]");
  };
  EXPECT_TRUE(parse(with_layer("application/vnd.x.y-z_1+json")));
  for (const std::string bad : {"t", "a/", "/b", "a/b/c", "a/b; c=d", "a /b", R"(a/b\r\nSet-Cookie: x)", "a/\u00e4"}) {
    expect_refused(with_layer(bad), "mediaType");
  }
  expect_refused(with_layer("a/" + std::string(128, 'b')), "mediaType");
  expect_refused(image(R"("artifactType":"no","config":)" + config + R"(,"layers":[])"), "artifactType");
}

TEST(Manifest, RefusesABodyThatIsImageAndIndexAtOnce) {
  expect_refused(image(R"("config":)" + config + R"(,"layers":[],"manifests":[])"), "manifests");
  expect_refused(image(R"("manifests":[],"layers":[])"), "layers", media_type::image_index);
  expect_refused(image(R"("manifests":[],"config":)" + config), "config", media_type::image_index);
}

TEST(Manifest, RefusesAMediaTypeThatIsNotTheContentType) {
  const std::string rest = R"(,"config":)" + config + R"(,"layers":[])";
  expect_refused(image(R"("mediaType":")" + std::string(media_type::image_index) + "\"" + rest), "mediaType");
  expect_refused(image(R"("mediaType":7)" + rest), "mediaType");
  expect_refused(image(R"("mediaType":")" + std::string(media_type::image_manifest) + "\"" + rest), "mediaType",
                 media_type::docker_manifest);
}

TEST(Manifest, RefusesDuplicateKeysAtEveryDepth) {
  const std::string rest = R"("config":)" + config + R"(,"layers":[])";
  expect_refused(image(rest + R"(,"layers":[])"), "occurs twice");
  expect_refused(image(rest + R"(,"x":[{"y":{"a":1,"b":2,"a":1}}])"), "occurs twice");
  // An escape spells the same key.
  expect_refused(image(rest + R"(,"\u006cayers":[])"), "occurs twice");
}

TEST(Manifest, RefusesDeepNesting) {
  const std::string rest = R"("config":)" + config + R"(,"layers":[],"x":)";
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + "1" + std::string(depth, ']'); };
  EXPECT_TRUE(parse(image(rest + nested(max_json_depth - 2))));
  expect_refused(image(rest + nested(max_json_depth)), "nested");
  expect_refused(image(rest + nested(500'000)), "");
}

TEST(Manifest, AllowsTenThousandReferencesAndNoMore) {
  const auto index = [](std::size_t count) {
    std::string list;
    for (std::size_t i = 0; i < count; ++i) list += (i == 0 ? "" : ",") + layer;
    return image(R"("manifests":[)" + list + "]");
  };
  const auto full = parse(index(max_references), media_type::image_index);
  ASSERT_TRUE(full) << full.error().message;
  EXPECT_EQ(full->children.size(), max_references);
  expect_refused(index(max_references + 1), "10000", media_type::image_index);
}

TEST(Manifest, RefusesMoreThanFourMebibytes) {
  const std::string head = R"({"schemaVersion":2,"manifests":[],"x":")";
  const auto of_size = [&](std::size_t size) { return head + std::string(size - head.size() - 2, 'x') + "\"}"; };
  EXPECT_TRUE(parse(of_size(max_manifest_size), media_type::image_index));
  const auto large = parse(of_size(max_manifest_size + 1), media_type::image_index);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, ErrorCode::too_large);
}

TEST(Manifest, RefusesOtherTypesAndNamesTheAcceptedOnes) {
  for (const std::string_view type :
       {"", "application/json", "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws", "application/vnd.oci.artifact.manifest.v1+json"}) {
    const auto manifest = parse(plain_image(), type);
    ASSERT_FALSE(manifest);
    EXPECT_EQ(manifest.error().code, ErrorCode::unsupported);
    EXPECT_EQ(manifest.error().subject, Subject::media_type);
    EXPECT_NE(manifest.error().message.find(media_type::image_index), std::string::npos);
  }
}

}  // namespace
}  // namespace hansa::oci
