// Manifests, blobs and lists as clients read them.
#include <gtest/gtest.h>

#include "api/distribution/distribution.h"
#include "api/distribution/pull_span.h"
#include "api/testing/bed.h"
#include "api/testing/memory_registry.h"

namespace hansa::api::distribution {
namespace {

using http::Method;
using testing::expect_error;
using testing::header;
using testing::text_of;

oci::Digest digest_of(std::string_view text) {
  return oci::Digest::compute(oci::Algorithm::sha256, as_bytes(text));
}

class PullTest : public ::testing::Test {
 protected:
  PullTest() {
    bed.set_routes(routes());
    auto& r = registry.repositories["r"];
    r.manifests[manifest] = {std::string(oci::media_type::image_manifest), "{m}"};
    r.tags.emplace("v1", manifest);
    r.blobs[blob] = content;
  }
  std::string stream_of(const http::Response& response) {
    const auto& stream = std::get<http::StreamBody>(response.body);
    std::string all;
    std::string buffer(7, '\0');
    while (true) {
      const auto count =
          sim::run(bed.world, bed.executor, stream.source->read(std::as_writable_bytes(std::span(buffer))));
      EXPECT_TRUE(count);
      if (*count == 0) break;
      all += buffer.substr(0, *count);
    }
    EXPECT_EQ(stream.length, all.size());
    return all;
  }
  http::Response range(const std::string& field) { return bed.get(blob_url, {{"Range", field}}); }

  const std::string content = "0123456789abcdefghij";
  const oci::Digest manifest = digest_of("{m}");
  const oci::Digest blob = digest_of(content);
  const std::string blob_url = "/v2/r/blobs/" + blob.text();
  testing::MemoryRegistry registry;
  testing::Bed bed{registry};
};

// P6: what a member answers without a quorum says so, on every read, and is counted; nothing else changes.
TEST_F(PullTest, StaleAnswersCarryAWarningAndAreCounted) {
  const std::vector<std::string> reads = {"/v2/r/manifests/v1", blob_url, "/v2/r/tags/list", "/v2/_catalog",
                                          "/v2/r/referrers/" + manifest.text()};
  for (const auto& target : reads) EXPECT_FALSE(bed.get(target).headers.get("Warning")) << target;
  registry.stale = true;
  for (const auto& target : reads) {
    const auto response = bed.get(target);
    EXPECT_EQ(response.status, 200) << target;
    EXPECT_TRUE(header(response, "Warning").starts_with("110 hansa \"")) << target;
  }
  for (const auto& target : {reads[0], reads[1]}) {
    EXPECT_TRUE(bed.send(Method::head, target).headers.get("Warning")) << target;
    const std::string tag = header(bed.get(target), "ETag");
    EXPECT_TRUE(bed.get(target, {{"If-None-Match", tag}}).headers.get("Warning")) << target;
  }
  EXPECT_TRUE(range("bytes=2-4").headers.get("Warning"));
  EXPECT_NE(bed.metrics.render().find("hansa_stale_answers_total 12"), std::string::npos);
}

// A member of a cluster may send the client to another: 307 with a ticket, which no cache keeps.
TEST_F(PullTest, ABlobElsewhereIsARedirectWithItsTicket) {
  registry.elsewhere = registry::BlobElsewhere{.url = "http://n2.example:5000", .ticket = "5f.ab"};
  const auto response = bed.get(blob_url, {{"Range", "bytes=5-9"}});
  EXPECT_EQ(response.status, 307);
  EXPECT_EQ(header(response, "Location"), "http://n2.example:5000" + blob_url + "?ticket=5f.ab");
  EXPECT_EQ(header(response, "Cache-Control"), "no-store");
  EXPECT_EQ(text_of(response), "");
  EXPECT_TRUE(registry.asked.may_redirect);
  EXPECT_EQ(registry.asked.offset, 5U);
  EXPECT_EQ(registry.asked.length, 5U);
  EXPECT_FALSE(registry.asked.client.empty());
  EXPECT_EQ(bed.get(blob_url, {{"If-None-Match", "*"}}).status, 304) << "what the client has is fetched nowhere";
}

TEST_F(PullTest, WhoShowsATicketIsNotAskedForCredentials) {
  bed.users.on = true;
  expect_error(bed.get(blob_url), 401, "UNAUTHORIZED");
  EXPECT_EQ(bed.get(blob_url + "?ticket=5f.ab").status, 200);
  EXPECT_EQ(registry.asked.ticket, "5f.ab");
  EXPECT_EQ(bed.get(blob_url + "?ticket=5f.ab", {{"Authorization", "nonsense"}}).status, 200);
  // One that does not open is no reason to log in.
  registry.failure = make_error(ErrorCode::denied, Subject::blob, "the ticket has expired");
  const auto refused = bed.get(blob_url + "?ticket=5f.ab");
  expect_error(refused, 403, "DENIED");
  EXPECT_FALSE(refused.headers.get("WWW-Authenticate"));
  // It opens nothing but blobs.
  EXPECT_EQ(bed.get("/v2/r/manifests/v1?ticket=5f.ab").status, 401);
  EXPECT_EQ(bed.send(Method::del, blob_url + "?ticket=5f.ab").status, 401);
}

TEST_F(PullTest, PingIsEmptyJsonAndNamesTheChallengeWhenThereAreUsers) {
  const auto response = bed.get("/v2/");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(header(response, "Content-Type"), "application/json");
  EXPECT_FALSE(response.headers.get("WWW-Authenticate"));
  EXPECT_EQ(bed.send(Method::head, "/v2/").status, 200);
  bed.users.on = true;
  EXPECT_EQ(header(bed.get("/v2/", {{"Authorization", "alice"}}), "WWW-Authenticate"), R"(Basic realm="here")");
}

TEST_F(PullTest, AManifestComesByTagAndByDigestWithItsNames) {
  for (const std::string& reference : {std::string("v1"), manifest.text(), "sha256%3A" + manifest.hex()}) {
    const auto response = bed.get("/v2/r/manifests/" + reference);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(text_of(response), "{m}");
    EXPECT_EQ(header(response, "Content-Type"), oci::media_type::image_manifest);
    EXPECT_EQ(header(response, "Docker-Content-Digest"), manifest.text());
    EXPECT_EQ(header(response, "ETag"), "\"" + manifest.text() + "\"");
    const auto head = bed.send(Method::head, "/v2/r/manifests/" + reference);
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.head_length, 3U);
    EXPECT_EQ(header(head, "Docker-Content-Digest"), manifest.text());
  }
}

TEST_F(PullTest, ReferencesThatCannotExistAreAnsweredBySpec) {
  expect_error(bed.get("/v2/r/manifests/v2"), 404, "MANIFEST_UNKNOWN");
  expect_error(bed.get("/v2/r/manifests/.bad"), 404, "MANIFEST_UNKNOWN");
  expect_error(bed.get("/v2/r/manifests/" + std::string(129, 'x')), 404, "MANIFEST_UNKNOWN");
  expect_error(bed.get("/v2/r/manifests/sha256:baddigeststring"), 400, "DIGEST_INVALID");
  expect_error(bed.get("/v2/r/blobs/sha256:baddigeststring"), 400, "DIGEST_INVALID");
  EXPECT_EQ(bed.send(Method::head, "/v2/r/blobs/nothing").status, 400);
  expect_error(bed.get("/v2/r/blobs/" + digest_of("x").text()), 404, "BLOB_UNKNOWN");
}

TEST_F(PullTest, WhatTheClientHasIsNotSentAgain) {
  const std::string tag = "\"" + manifest.text() + "\"";
  for (const std::string& field : {tag, "W/" + tag, "\"x\", " + tag, std::string("*")}) {
    const auto response = bed.get("/v2/r/manifests/v1", {{"If-None-Match", field}});
    EXPECT_EQ(response.status, 304) << field;
    EXPECT_EQ(text_of(response), "");
    EXPECT_EQ(header(response, "ETag"), tag);
    EXPECT_EQ(bed.send(Method::head, "/v2/r/manifests/v1", {{"If-None-Match", field}}).status, 304);
  }
  EXPECT_EQ(bed.get("/v2/r/manifests/v1", {{"If-None-Match", "\"x\""}}).status, 200);
  EXPECT_EQ(bed.get(blob_url, {{"If-None-Match", "\"" + blob.text() + "\""}}).status, 304);
}

TEST_F(PullTest, ABlobIsSentFromItsFileWithVerification) {
  registry.descriptor = 5;
  const auto response = bed.get(blob_url);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(header(response, "Content-Type"), "application/x-layer");
  EXPECT_EQ(header(response, "Content-Security-Policy"), "default-src 'none'; sandbox");
  EXPECT_EQ(header(response, "X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(header(response, "Accept-Ranges"), "bytes");
  EXPECT_EQ(header(response, "Docker-Content-Digest"), blob.text());
  const auto& file = std::get<http::FileBody>(response.body);
  EXPECT_EQ(file.descriptor, 5);
  EXPECT_EQ(file.offset, 0U);
  EXPECT_EQ(file.length, 20U);
  EXPECT_NE(file.keep, nullptr);
  EXPECT_TRUE(file.prepare);
  const auto head = bed.send(Method::head, blob_url);
  EXPECT_EQ(head.head_length, 20U);
  EXPECT_EQ(header(head, "Accept-Ranges"), "bytes");
}

TEST_F(PullTest, ABlobWithoutAFileIsStreamed) {
  EXPECT_EQ(stream_of(bed.get(blob_url)), content);
}

TEST_F(PullTest, ADamagedBlobIs503AndNever404) {
  registry.rotten = true;
  const auto response = bed.get(blob_url);
  expect_error(response, 503, "UNAVAILABLE");
  EXPECT_EQ(header(response, "Retry-After"), "1");
}

TEST_F(PullTest, AnEmptyBlobIsSent) {
  const oci::Digest empty = digest_of("");
  registry.repositories["r"].blobs[empty] = "";
  const auto response = bed.get("/v2/r/blobs/" + empty.text());
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(text_of(response), "");
}

TEST_F(PullTest, OneRangeIs206) {
  struct Case {
    std::string field, range, bytes;
  };
  for (const auto& c : {Case{"bytes=5-9", "bytes 5-9/20", "56789"}, Case{"bytes=15-", "bytes 15-19/20", "fghij"},
                        Case{"bytes=-3", "bytes 17-19/20", "hij"}, Case{"bytes=18-99", "bytes 18-19/20", "ij"},
                        Case{"bytes=0-0", "bytes 0-0/20", "0"}}) {
    const auto response = range(c.field);
    EXPECT_EQ(response.status, 206) << c.field;
    EXPECT_EQ(header(response, "Content-Range"), c.range);
    EXPECT_EQ(stream_of(response), c.bytes);
  }
}

TEST_F(PullTest, RangesOutsideOrReversedAre416WithTheSize) {
  for (const std::string field : {"bytes=20-", "bytes=5-4", "bytes=x", "bytes=-0", "bytes="}) {
    const auto response = range(field);
    EXPECT_EQ(response.status, 416) << field;
    EXPECT_EQ(header(response, "Content-Range"), "bytes */20");
  }
  EXPECT_EQ(range("lines=1-2").status, 200);
  std::string many = "bytes=0-0";
  for (int i = 0; i < 20; ++i) many += ",2-2";
  EXPECT_EQ(range(many).status, 200);
}

TEST_F(PullTest, SeveralRangesAreOneMultipartBody) {
  const std::string boundary = blob.hex().substr(0, 40);
  const std::string expected =
      "--" + boundary + "\r\nContent-Type: application/x-layer\r\nContent-Range: bytes 0-1/20\r\n\r\n01\r\n--" +
      boundary + "\r\nContent-Type: application/x-layer\r\nContent-Range: bytes 10-12/20\r\n\r\nabc\r\n--" + boundary +
      "--\r\n";
  const auto streamed = range("bytes=0-1,10-12");
  EXPECT_EQ(streamed.status, 206);
  EXPECT_EQ(header(streamed, "Content-Type"), "multipart/byteranges; boundary=" + boundary);
  EXPECT_EQ(stream_of(streamed), expected);

  registry.descriptor = 5;
  const auto sent = range("bytes=0-1,10-12");
  std::string seen;
  for (const auto& part : std::get<std::vector<std::variant<std::string, http::FileBody>>>(sent.body)) {
    if (const auto* text = std::get_if<std::string>(&part)) {
      seen += *text;
    } else {
      const auto& file = std::get<http::FileBody>(part);
      seen += content.substr(file.offset, file.length);
    }
  }
  EXPECT_EQ(seen, expected);
}

TEST_F(PullTest, IfRangeHoldsOnlyForTheSameContent) {
  EXPECT_EQ(bed.get(blob_url, {{"Range", "bytes=0-1"}, {"If-Range", "\"" + blob.text() + "\""}}).status, 206);
  EXPECT_EQ(bed.get(blob_url, {{"Range", "bytes=0-1"}, {"If-Range", "\"other\""}}).status, 200);
  EXPECT_EQ(bed.get(blob_url, {{"Range", "bytes=0-1"}, {"If-Range", "Tue, 24 Nov 2026 03:25:00 GMT"}}).status, 200);
}

TEST_F(PullTest, TagsComeInPagesWithARelativeLink) {
  auto& tags = registry.repositories["r"].tags;
  for (const std::string tag : {"a", "b", "c"}) tags.emplace(tag, manifest);
  EXPECT_EQ(text_of(bed.get("/v2/r/tags/list")), R"({"name":"r","tags":["a","b","c","v1"]})");
  const auto page = bed.get("/v2/r/tags/list?n=2");
  EXPECT_EQ(text_of(page), R"({"name":"r","tags":["a","b"]})");
  EXPECT_EQ(header(page, "Link"), R"(</v2/r/tags/list?n=2&last=b>; rel="next")");
  const auto last = bed.get("/v2/r/tags/list?n=2&last=b");
  EXPECT_EQ(text_of(last), R"({"name":"r","tags":["c","v1"]})");
  EXPECT_FALSE(last.headers.get("Link"));
  // The name before the page need not exist any more.
  EXPECT_EQ(text_of(bed.get("/v2/r/tags/list?last=bb")), R"({"name":"r","tags":["c","v1"]})");
  const auto none = bed.get("/v2/r/tags/list?n=0");
  EXPECT_EQ(text_of(none), R"({"name":"r","tags":[]})");
  EXPECT_FALSE(none.headers.get("Link"));
  EXPECT_EQ(text_of(bed.get("/v2/r/tags/list?n=99999999&ns=docker.io")), R"({"name":"r","tags":["a","b","c","v1"]})");
}

TEST_F(PullTest, TagListsRefuseWhatIsNoNumber) {
  for (const std::string query : {"n=x", "n=-1", "n=", "n=1&n=2", "last=a&last=b"}) {
    expect_error(bed.get("/v2/r/tags/list?" + query), 400, "UNSUPPORTED");
  }
  expect_error(bed.get("/v2/unknown/tags/list"), 404, "NAME_UNKNOWN");
}

TEST_F(PullTest, AListLongerThanAPageOfTheRegistryIsWhole) {
  auto& tags = registry.repositories["r"].tags;
  tags.clear();
  for (int i = 0; i < 2500; ++i) tags.emplace("t" + std::to_string(10000 + i), manifest);
  const auto response = bed.get("/v2/r/tags/list");
  EXPECT_EQ(std::ranges::count(text_of(response), 't'), 2500 + 1);  // and the key "tags"
  EXPECT_NE(header(bed.get("/v2/r/tags/list?n=1500"), "Link").find("last=t11499>"), std::string::npos);
}

TEST_F(PullTest, TheCatalogIsNeverNullAndTakesAnyN) {
  EXPECT_EQ(text_of(bed.get("/v2/_catalog?n=x")), R"({"repositories":["r"]})");
  registry.repositories["s/t"];
  const auto page = bed.get("/v2/_catalog?n=1");
  EXPECT_EQ(text_of(page), R"({"repositories":["r"]})");
  EXPECT_EQ(header(page, "Link"), R"(</v2/_catalog?n=1&last=r>; rel="next")");
  registry.repositories.clear();
  EXPECT_EQ(text_of(bed.get("/v2/_catalog")), R"({"repositories":[]})");
}

TEST_F(PullTest, ReferrersAreAnIndexWithFilterAndPages) {
  auto& referrers = registry.repositories["r"].referrers;
  const oci::Digest a = *oci::Digest::parse("sha256:" + std::string(64, 'a'));
  const oci::Digest b = *oci::Digest::parse("sha256:" + std::string(64, 'b'));
  referrers.push_back({.descriptor = {"m/t", a, 7}, .artifact_type = "x/y", .annotations = {{"k", "v"}}});
  referrers.push_back({.descriptor = {"m/t", b, 8}, .artifact_type = "", .annotations = {}});
  const std::string url = "/v2/r/referrers/" + manifest.text();
  const auto all = bed.get(url);
  EXPECT_EQ(header(all, "Content-Type"), oci::media_type::image_index);
  EXPECT_EQ(text_of(all), R"({"manifests":[{"annotations":{"k":"v"},"artifactType":"x/y","digest":")" + a.text() +
                              R"(","mediaType":"m/t","size":7},{"digest":")" + b.text() +
                              R"(","mediaType":"m/t","size":8}],"mediaType":")" +
                              std::string(oci::media_type::image_index) + R"(","schemaVersion":2})");
  EXPECT_FALSE(all.headers.get("OCI-Filters-Applied"));
  const auto page = bed.get(url + "?artifactType=x%2Fy&artifactType=a+b&n=1");
  EXPECT_EQ(header(page, "OCI-Filters-Applied"), "artifactType");
  EXPECT_EQ(registry.types_asked, (std::vector<std::string>{"x/y", "a+b"}));
  EXPECT_EQ(header(page, "Link"), "</v2/r/referrers/" + manifest.text() + "?n=1&last=" + a.text() +
                                      R"(&artifactType=x/y&artifactType=a%2Bb>; rel="next")");
  const auto none = bed.get("/v2/unknown/referrers/" + manifest.text());
  EXPECT_EQ(none.status, 200);
  EXPECT_NE(text_of(none).find(R"("manifests":[])"), std::string::npos);
  expect_error(bed.get("/v2/r/referrers/v1"), 400, "DIGEST_INVALID");
}

// Bytes of a blob that still comes go out only where the last ones, which wait for its digest, follow.
TEST(PullSpan, OnlyWhatReachesTheEndCountsAsReachingIt) {
  const PullSpan whole;
  EXPECT_EQ(span_of("bytes=0-"), (PullSpan{.offset = 0, .length = 1ULL << 60}));
  EXPECT_EQ(span_of("bytes=5-9"), (PullSpan{.offset = 5, .length = 5}));
  EXPECT_EQ(span_of("bytes=0-9,20-29"), (PullSpan{.offset = 0, .length = 10}));
  EXPECT_EQ(span_of("bytes=-5"), whole);
  EXPECT_EQ(span_of("lines=1-2"), whole);
  EXPECT_EQ(span_of("bytes=1152921504606846975-,0-9"), (PullSpan{.offset = 0, .length = 1}));
  EXPECT_EQ(span_of("bytes=-5,0-9"), (PullSpan{.offset = 0, .length = 1}));
}

TEST_F(PullTest, ExtensionsAreDiscoverable) {
  EXPECT_EQ(text_of(bed.get("/v2/_oci/ext/discover")), R"({"extensions":[]})");
}

}  // namespace
}  // namespace hansa::api::distribution
