// Manifests, blobs and upload sessions as clients write them.
#include <gtest/gtest.h>

#include "api/distribution/distribution.h"
#include "api/testing/bed.h"
#include "api/testing/memory_registry.h"

namespace hansa::api::distribution {
namespace {

using http::Method;
using testing::expect_error;
using testing::Fields;
using testing::header;
using testing::text_of;

oci::Digest digest_of(std::string_view text) {
  return oci::Digest::compute(oci::Algorithm::sha256, as_bytes(text));
}

class PushTest : public ::testing::Test {
 protected:
  PushTest() { bed.set_routes(routes()); }
  http::Response put(const std::string& target, const std::string& body, Fields fields = {}) {
    return bed.send(Method::put, target, fields, body);
  }
  http::Response put_manifest(const std::string& reference, Fields more = {}) {
    more.emplace_back("Content-Type", std::string(oci::media_type::image_index));
    return put("/v2/r/manifests/" + reference, index, more);
  }
  http::Response post(const std::string& query = "", const std::string& body = "", const Fields& fields = {}) {
    return bed.send(Method::post, "/v2/r/blobs/uploads/" + query, fields, body);
  }
  void expect_session(const http::Response& response, int status, const std::string& range) {
    EXPECT_EQ(response.status, status) << text_of(response);
    EXPECT_EQ(header(response, "Location"), "/v2/r/blobs/uploads/s1");
    EXPECT_EQ(header(response, "Range"), range);
    EXPECT_EQ(header(response, "Docker-Upload-UUID"), "s1");
  }
  void expect_created(const http::Response& response, const oci::Digest& digest) {
    EXPECT_EQ(response.status, 201) << text_of(response);
    EXPECT_EQ(header(response, "Location"), "/v2/r/blobs/" + digest.text());
    EXPECT_EQ(header(response, "Docker-Content-Digest"), digest.text());
  }
  const std::string& blob(const oci::Digest& digest) { return registry.repositories["r"].blobs[digest]; }

  const std::string index = R"({"schemaVersion":2,"manifests":[]})";
  const oci::Digest index_digest = digest_of(index);
  const std::string session = "/v2/r/blobs/uploads/s1";
  testing::MemoryRegistry registry;
  testing::Bed bed{registry};
};

TEST_F(PushTest, AManifestIsCreatedUnderItsTag) {
  const auto response = put_manifest("v1");
  EXPECT_EQ(response.status, 201);
  EXPECT_EQ(header(response, "Location"), "/v2/r/manifests/" + index_digest.text());
  EXPECT_EQ(header(response, "Docker-Content-Digest"), index_digest.text());
  EXPECT_FALSE(response.headers.get("OCI-Subject"));
  EXPECT_FALSE(response.headers.get("OCI-Tag"));
  EXPECT_EQ(registry.repositories["r"].tags["v1"], index_digest);
}

TEST_F(PushTest, ParametersOfTheContentTypeAreIgnored) {
  const auto type = std::string(oci::media_type::image_index) + "; charset=utf-8";
  EXPECT_EQ(put("/v2/r/manifests/v1", index, {{"Content-Type", type}}).status, 201);
  EXPECT_EQ(registry.pushed->media_type, oci::media_type::image_index);
}

TEST_F(PushTest, OtherContentTypesAre415) {
  expect_error(put("/v2/r/manifests/v1", index, {{"Content-Type", "application/json"}}), 415, "MANIFEST_INVALID");
  expect_error(put("/v2/r/manifests/v1", index), 415, "MANIFEST_INVALID");
}

TEST_F(PushTest, ASubjectIsAcknowledged) {
  const auto subject = digest_of("subject");
  const std::string body =
      R"({"schemaVersion":2,"manifests":[],"subject":{"mediaType":"a/b","size":1,"digest":")" + subject.text() + "\"}}";
  const auto response = put("/v2/r/manifests/v1", body, {{"Content-Type", std::string(oci::media_type::image_index)}});
  EXPECT_EQ(header(response, "OCI-Subject"), subject.text());
}

TEST_F(PushTest, OnePushSetsManyTags) {
  const auto response = put_manifest(index_digest.text() + "?tag=a&tag=b,c&tag=a");
  EXPECT_EQ(response.status, 201);
  EXPECT_EQ(response.headers.all("OCI-Tag"), (std::vector<std::string_view>{"a", "b", "c"}));
  EXPECT_EQ(registry.repositories["r"].tags.size(), 3U);
  std::string query = "?";
  for (int i = 0; i < 100; ++i) query += "tag=t" + std::to_string(i) + "&";
  EXPECT_EQ(put_manifest(index_digest.text() + query).headers.all("OCI-Tag").size(), 100U);
  expect_error(put_manifest(index_digest.text() + query + "tag=more"), 414, "MANIFEST_INVALID");
}

TEST_F(PushTest, TagParametersAreChecked) {
  expect_error(put_manifest(index_digest.text() + "?tag="), 400, "MANIFEST_INVALID");
  expect_error(put_manifest(index_digest.text() + "?tag=.x"), 400, "MANIFEST_INVALID");
  expect_error(put_manifest("v1?tag=a"), 400, "MANIFEST_INVALID");
}

TEST_F(PushTest, BadReferencesAndBodiesAre400) {
  expect_error(put_manifest("sha256:baddigeststring"), 400, "DIGEST_INVALID");
  expect_error(put_manifest(".bad"), 400, "MANIFEST_INVALID");
  const Fields type = {{"Content-Type", std::string(oci::media_type::image_index)}};
  expect_error(put("/v2/r/manifests/v1", "{}", type), 400, "MANIFEST_INVALID");
  expect_error(put("/v2/r/manifests/v1", "", type), 400, "MANIFEST_INVALID");
  registry.failure = make_error(ErrorCode::missing_reference, Subject::manifest, "no such layer");
  expect_error(put_manifest("v1"), 400, "MANIFEST_BLOB_UNKNOWN");
}

TEST_F(PushTest, ManifestsOverTheLimitAre413AlsoWhenChunked) {
  const Fields type = {{"Content-Type", std::string(oci::media_type::image_index)}};
  const std::string big(oci::max_manifest_size + 1, ' ');
  expect_error(put("/v2/r/manifests/v1", big, type), 413, "MANIFEST_INVALID");
  expect_error(bed.send(Method::put, "/v2/r/manifests/v1", type, big, true), 413, "MANIFEST_INVALID");
  const std::string padded = index + std::string(oci::max_manifest_size - index.size(), ' ');
  EXPECT_EQ(bed.send(Method::put, "/v2/r/manifests/v1", type, padded, true).status, 201);
}

TEST_F(PushTest, ConditionsReachTheRegistry) {
  EXPECT_EQ(put_manifest("v1", {{"If-Match", "\"" + index_digest.text() + "\""}}).status, 201);
  EXPECT_EQ(registry.pushed->if_match, index_digest);
  EXPECT_EQ(put_manifest("v1", {{"If-None-Match", "*"}}).status, 201);
  EXPECT_TRUE(registry.pushed->if_none_match);
  EXPECT_FALSE(registry.pushed->if_match);
  registry.failure = make_error(ErrorCode::precondition, Subject::manifest, "v1 is another now");
  EXPECT_EQ(put_manifest("v1", {{"If-None-Match", "*"}}).status, 412);
  EXPECT_EQ(put_manifest("v1", {{"If-Match", "\"x\""}}).status, 400);
  EXPECT_EQ(put_manifest("v1", {{"If-None-Match", "\"x\""}}).status, 400);
}

TEST_F(PushTest, DeletesAre202AndThen404) {
  put_manifest("v1");
  EXPECT_EQ(bed.send(Method::del, "/v2/r/manifests/v1").status, 202);
  expect_error(bed.send(Method::del, "/v2/r/manifests/v1"), 404, "MANIFEST_UNKNOWN");
  EXPECT_EQ(bed.send(Method::del, "/v2/r/manifests/" + index_digest.text()).status, 202);
  post("?digest=" + digest_of("x").text(), "x");
  const std::string url = "/v2/r/blobs/" + digest_of("x").text();
  EXPECT_EQ(bed.send(Method::del, url).status, 202);
  expect_error(bed.send(Method::del, url), 404, "BLOB_UNKNOWN");
  registry.failure = make_error(ErrorCode::referenced, Subject::blob, "an image needs it");
  expect_error(bed.send(Method::del, url), 405, "DENIED");
}

TEST_F(PushTest, ASessionIsOpenedFedAndFinished) {
  expect_session(post(), 202, "0-0");
  const auto digest = digest_of("hello world");
  expect_session(bed.send(Method::patch, session, {{"Content-Range", "0-4"}}, "hello"), 202, "0-4");
  expect_session(bed.get(session), 204, "0-4");
  expect_session(bed.send(Method::patch, session, {}, " wor", true), 202, "0-8");
  // The rest with the closing PUT, without Content-Range.
  expect_created(put(session + "?digest=" + digest.text(), "ld"), digest);
  EXPECT_EQ(blob(digest), "hello world");
  expect_error(bed.get(session), 404, "BLOB_UPLOAD_UNKNOWN");
}

TEST_F(PushTest, ChunksOutOfOrderAre416AndSayWhereTheSessionStands) {
  post();
  bed.send(Method::patch, session, {}, "hello");
  const auto digest = digest_of("hello!");
  for (const std::string range : {"9-9", "0-0", "bytes 6-6/9", "5", "x-y", "6-5", "5-7", ""}) {
    expect_session(bed.send(Method::patch, session, {{"Content-Range", range}}, "!"), 416, "0-4");
    expect_session(put(session + "?digest=" + digest.text(), "!", {{"Content-Range", range}}), 416, "0-4");
  }
  expect_created(put(session + "?digest=" + digest.text(), "!", {{"Content-Range", "5-5"}}), digest);
}

TEST_F(PushTest, ContentRangeInHttpsFormIsTakenToo) {
  post();
  expect_session(bed.send(Method::patch, session, {{"Content-Range", "bytes 0-4/11"}}, "hello"), 202, "0-4");
}

TEST_F(PushTest, TheClosingPutNeedsOneGoodDigest) {
  post();
  expect_error(put(session, "x"), 400, "DIGEST_INVALID");
  expect_error(put(session + "?digest=sha256:x", "x"), 400, "DIGEST_INVALID");
  const std::string good = "digest=" + digest_of("x").text();
  expect_error(put(session + "?" + good + "&" + good, "x"), 400, "DIGEST_INVALID");
  expect_error(put(session + "?digest=" + digest_of("y").text(), "x"), 400, "DIGEST_INVALID");
}

TEST_F(PushTest, ASessionCanBeCancelled) {
  post();
  EXPECT_EQ(bed.send(Method::del, session).status, 204);
  expect_error(bed.send(Method::del, session), 404, "BLOB_UPLOAD_UNKNOWN");
}

TEST_F(PushTest, AWholeBlobGoesInOnePost) {
  const auto digest = oci::Digest::compute(oci::Algorithm::sha512, as_bytes("blob"));
  expect_created(post("?digest=" + digest.text(), "blob", {{"Content-Type", "application/octet-stream"}}), digest);
  EXPECT_EQ(blob(digest), "blob");
  expect_created(bed.send(Method::post, "/v2/r/blobs/uploads/?digest=" + digest.text(), {}, "blob", true), digest);
  expect_error(post("?digest=" + digest.text(), "other"), 400, "DIGEST_INVALID");
  expect_error(post("?digest=bad", "blob"), 400, "DIGEST_INVALID");
  expect_error(post("?digest=" + digest.text(), "blob", {{"Content-Type", "text/plain"}}), 415, "MANIFEST_INVALID");
}

TEST_F(PushTest, MountsAreCreatedOrBecomeSessions) {
  const auto digest = digest_of("shared");
  registry.repositories["other"].blobs[digest] = "shared";
  expect_created(post("?mount=" + digest.text() + "&from=other"), digest);
  EXPECT_EQ(registry.mounted_from->text(), "other");
  expect_created(post("?mount=" + digest.text()), digest);
  EXPECT_FALSE(registry.mounted_from);
  expect_session(post("?mount=" + digest_of("missing").text() + "&from=other"), 202, "0-0");
  EXPECT_EQ(post("?mount=bad&from=other").status, 202);
  EXPECT_EQ(post("?mount=" + digest.text() + "&from=NotAName").status, 202);
  EXPECT_EQ(post("?from=other").status, 405);
}

TEST_F(PushTest, TheDigestAlgorithmOfASessionCanBeChosen) {
  post("?digest-algorithm=sha512");
  EXPECT_EQ(registry.began_with, oci::Algorithm::sha512);
  post();
  EXPECT_EQ(registry.began_with, oci::Algorithm::sha256);
  expect_error(post("?digest-algorithm=md5"), 400, "DIGEST_INVALID");
}

}  // namespace
}  // namespace hansa::api::distribution
