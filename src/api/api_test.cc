#include "api/api.h"

#include <gtest/gtest.h>

#include "api/spec_error.h"
#include "api/testing/bed.h"
#include "api/testing/memory_registry.h"

namespace hansa::api {
namespace {

using http::Method;
using testing::expect_error;
using testing::header;
using testing::text_of;

// Answers with what the route table understood.
io::Task<Result<http::Response>> echo(Call& call) {
  http::Response response;
  response.body = call.repository.text() + "|" + call.parameter + "|" + call.access.identity().user;
  co_return response;
}

io::Task<Result<http::Response>> break_down(Call&) {
  co_return make_error(ErrorCode::io, Subject::file, "/secret/path: I/O error");
}

io::Task<Result<http::Response>> fill_up(Call&) {
  co_return make_error(ErrorCode::out_of_space, Subject::file, "/secret/path: No space left on device");
}

io::Task<Result<http::Response>> too_busy(Call&) {
  co_return make_error(ErrorCode::too_many, "slow down");
}

std::vector<Route> routes() {
  using enum Method;
  return {
      {get, "/v2/", Need::identity, echo},
      {get, "/v2/_catalog", Need::identity, echo},
      {get, "/v2/{name}/tags/list", Need::read, echo},
      {get, "/v2/{name}/manifests/{reference}", Need::read, echo},
      {put, "/v2/{name}/manifests/{reference}", Need::push, echo, 10, Subject::manifest},
      {del, "/v2/{name}/manifests/{reference}", Need::remove, echo},
      {get, "/v2/{name}/blobs/{digest}", Need::read, echo},
      {post, "/v2/{name}/blobs/uploads/", Need::push, echo, std::nullopt},
      {get, "/v2/{name}/blobs/uploads/{session}", Need::push, echo},
      {get, "/broken", Need::identity, break_down},
      {get, "/busy", Need::identity, too_busy},
      {get, "/full", Need::identity, fill_up},
  };
}

class ApiTest : public ::testing::Test {
 protected:
  ApiTest() { bed.set_routes(routes()); }
  void expect_echo(const std::string& target, const std::string& name, const std::string& parameter) {
    const auto response = bed.get(target);
    EXPECT_EQ(response.status, 200) << target;
    EXPECT_EQ(text_of(response), name + "|" + parameter + "|") << target;
  }
  testing::MemoryRegistry registry;
  testing::Bed bed{registry};
};

TEST_F(ApiTest, RepositoriesMayHaveComponentsNamedLikeTheApi) {
  expect_echo("/v2/a/b/manifests/v1", "a/b", "v1");
  expect_echo("/v2/manifests/manifests/manifests", "manifests", "manifests");
  expect_echo("/v2/a/manifests/b/manifests/v1", "a/manifests/b", "v1");
  expect_echo("/v2/blobs/uploads/tags/list", "blobs/uploads", "");
  expect_echo("/v2/a/tags/list/tags/list", "a/tags/list", "");
  expect_echo("/v2/a/blobs/blobs/x", "a/blobs", "x");
  expect_echo("/v2/a/blobs/uploads/x", "a", "x");
  expect_echo("/v2/", "", "");
  expect_echo("/v2/_catalog", "", "");
}

TEST_F(ApiTest, EncodedCharactersAreDecodedButNeverSeparate) {
  expect_echo("/v2/a/manifests/sha256%3Aabc", "a", "sha256:abc");
  expect_error(bed.get("/v2/a%2Fb/manifests/v1"), 400, "NAME_INVALID");
  expect_echo("/v2/a/manifests/a%2Fb", "a", "a/b");
}

TEST_F(ApiTest, NamesOutsideTheGrammarAreNameInvalid) {
  expect_error(bed.get("/v2/A/manifests/v1"), 400, "NAME_INVALID");
  // No component vanishes, at the beginning either: what others read as one name is not another here.
  for (const auto* path :
       {"/v2//a/manifests/v1", "/v2/a//b/manifests/v1", "/v2/a//manifests/v1", "/v2///manifests/v1"}) {
    expect_error(bed.get(path), 400, "NAME_INVALID");
  }
  expect_error(bed.get("/v2/../manifests/v1"), 400, "NAME_INVALID");
  expect_error(bed.get("/v2/" + std::string(256, 'a') + "/tags/list"), 400, "NAME_INVALID");
  expect_echo("/v2/" + std::string(255, 'a') + "/tags/list", std::string(255, 'a'), "");
}

TEST_F(ApiTest, UnknownPathsAre404AndUnknownMethods405WithAllow) {
  expect_error(bed.get("/nothing"), 404, "UNSUPPORTED");
  expect_error(bed.get("/v2"), 404, "UNSUPPORTED");
  expect_error(bed.get("/v2/a/manifests/"), 404, "UNSUPPORTED");
  const auto response = bed.send(Method::patch, "/v2/a/manifests/v1");
  expect_error(response, 405, "UNSUPPORTED");
  EXPECT_EQ(header(response, "Allow"), "GET, HEAD, PUT, DELETE, OPTIONS");
  EXPECT_EQ(header(bed.send(Method::post, "/v2/a/blobs/uploads"), "Allow"), "GET, HEAD, OPTIONS");
}

TEST_F(ApiTest, HeadIsAnsweredByGetWithoutItsBody) {
  const auto response = bed.send(Method::head, "/v2/a/tags/list");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.head_length, 3U);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(response.body));
}

TEST_F(ApiTest, EveryV2AnswerNamesTheApiVersion) {
  bed.users.on = true;
  bed.users.rights->anonymous_all = false;
  for (const std::string target : {"/v2/", "/v2/a/tags/list", "/v2/x"}) {
    EXPECT_EQ(header(bed.get(target), "Docker-Distribution-Api-Version"), "registry/2.0") << target;
  }
  EXPECT_FALSE(bed.get("/livez").headers.get("Docker-Distribution-Api-Version"));
}

TEST_F(ApiTest, WithoutCredentialsA401CarriesTheChallenge) {
  bed.users.on = true;
  bed.users.rights->anonymous_all = false;
  const auto response = bed.get("/v2/a/tags/list");
  expect_error(response, 401, "UNAUTHORIZED");
  EXPECT_EQ(header(response, "WWW-Authenticate"), R"(Basic realm="here")");
  expect_error(bed.get("/v2/a/tags/list", {{"Authorization", "mallory"}}), 401, "UNAUTHORIZED");
  // The web interface asks for the password itself.
  EXPECT_FALSE(bed.get("/v2/", {{"X-ZOT-API-CLIENT", "zot-ui"}}).headers.get("WWW-Authenticate"));
  EXPECT_EQ(text_of(bed.get("/v2/a/tags/list", {{"Authorization", "alice"}})), "a||alice");
}

TEST_F(ApiTest, MissingRightsAre403ForTheKnownAnd401ForTheAnonymous) {
  bed.users.on = true;
  bed.users.rights->anonymous_all = false;
  bed.users.rights->anonymous_reads = true;
  EXPECT_EQ(bed.get("/v2/a/tags/list").status, 200);
  const auto anonymous = bed.send(Method::put, "/v2/a/manifests/v1");
  expect_error(anonymous, 401, "UNAUTHORIZED");
  EXPECT_EQ(header(anonymous, "WWW-Authenticate"), R"(Basic realm="here")");
  const testing::Fields bob = {{"Authorization", "bob"}};
  expect_error(bed.send(Method::put, "/v2/a/manifests/v1", bob), 403, "DENIED");
  expect_error(bed.send(Method::del, "/v2/a/manifests/v1", bob), 403, "DENIED");
  expect_error(bed.send(Method::post, "/v2/a/blobs/uploads/", bob), 403, "DENIED");
  EXPECT_EQ(bed.send(Method::put, "/v2/a/manifests/v1", {{"Authorization", "alice"}}).status, 200);
}

TEST_F(ApiTest, TheAuthenticatorSeesAllThatTellsWhoAsks) {
  bed.get("/v2/", {{"Authorization", "alice"}, {"User-Agent", "docker/1"}});
  EXPECT_EQ(bed.users.last.authorization, "alice");
  EXPECT_EQ(bed.users.last.user_agent, "docker/1");
  EXPECT_EQ(bed.users.last.certificate_name, "carol");
  EXPECT_TRUE(bed.users.last.ping);
  EXPECT_FALSE(bed.users.last.several);
  bed.get("/v2/a/tags/list", {{"Authorization", "alice"}, {"Authorization", "bob"}});
  EXPECT_TRUE(bed.users.last.several);
  EXPECT_FALSE(bed.users.last.ping);
}

TEST_F(ApiTest, PreflightNeedsNoLogin) {
  bed.users.on = true;
  bed.users.rights->anonymous_all = false;
  const auto response = bed.send(Method::options, "/v2/a/manifests/v1");
  EXPECT_EQ(response.status, 204);
  EXPECT_EQ(header(response, "Access-Control-Allow-Origin"), "*");
  EXPECT_EQ(header(response, "Access-Control-Allow-Methods"), "GET, HEAD, PUT, DELETE, OPTIONS");
  EXPECT_EQ(header(response, "Access-Control-Allow-Headers"), "Authorization,content-type,X-ZOT-API-CLIENT");
  EXPECT_FALSE(response.headers.get("Access-Control-Allow-Credentials"));
  EXPECT_EQ(bed.send(Method::options, "/v2/a/blobs/x").status, 204);
  EXPECT_EQ(bed.send(Method::options, "/nothing").status, 404);
}

TEST_F(ApiTest, AConfiguredOriginMayUseCredentials) {
  bed.users.on = true;
  bed.options.allow_origin = "https://ui.example";
  bed.set_routes(routes());
  const auto response = bed.get("/v2/", {{"Authorization", "alice"}});
  EXPECT_EQ(header(response, "Access-Control-Allow-Origin"), "https://ui.example");
  EXPECT_EQ(header(response, "Access-Control-Allow-Credentials"), "true");
}

TEST_F(ApiTest, APageOfAnotherOriginChangesNothingInAUsersName) {
  const std::string path = "/v2/a/manifests/v1";
  const auto status = [&](const testing::Fields& fields, Method method = Method::put) {
    testing::Fields all = fields;
    all.emplace_back("Authorization", "alice");
    all.emplace_back("Host", "hub.example:5000");
    return bed.send(method, path, all).status;
  };
  bed.users.on = true;
  EXPECT_EQ(status({}), 200);  // no browser
  EXPECT_EQ(status({{"Origin", "https://HUB.example:5000"}}), 200);
  EXPECT_EQ(status({{"Sec-Fetch-Site", "same-origin"}, {"Origin", "https://proxy.example"}}), 200);
  EXPECT_EQ(status({{"Sec-Fetch-Site", "none"}}), 200);
  for (const std::string origin : {"https://evil.example", "https://hub.example", "null", "hub.example:5000"}) {
    EXPECT_EQ(status({{"Origin", origin}}), 403) << origin;
    EXPECT_EQ(status({{"Origin", origin}}, Method::get), 200) << origin;
  }
  EXPECT_EQ(status({{"Sec-Fetch-Site", "cross-site"}}), 403);
  EXPECT_EQ(status({{"Sec-Fetch-Site", "same-site"}}), 403);
  EXPECT_EQ(bed.send(Method::put, path, {{"Origin", "https://evil.example"}}).status, 401);
  bed.options.allow_origin = "https://ui.example";
  bed.set_routes(routes());
  EXPECT_EQ(status({{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://ui.example"}}), 200);
  EXPECT_EQ(status({{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}}), 403);
  bed.users.on = false;
  EXPECT_EQ(bed.send(Method::put, path, {{"Origin", "https://evil.example"}}).status, 200);  // nobody logs in here
}

TEST_F(ApiTest, ABodyOverTheRoutesLimitIsRefusedUnread) {
  expect_error(bed.send(Method::put, "/v2/a/manifests/v1", {}, std::string(11, 'x')), 413, "MANIFEST_INVALID");
  EXPECT_EQ(bed.send(Method::put, "/v2/a/manifests/v1", {}, std::string(10, 'x')).status, 200);
}

TEST_F(ApiTest, WhatA500SaysAboutOurInsideStaysInTheLog) {
  const auto response = bed.get("/broken");
  expect_error(response, 500, "UNKNOWN");
  EXPECT_EQ(text_of(response).find("secret"), std::string::npos);
  ASSERT_EQ(bed.log.lines.size(), 2U);
  EXPECT_EQ(bed.log.lines[0].message, "request failed");
  EXPECT_NE(bed.log.lines[0].fields["error"].find("/secret/path"), std::string::npos);
}

TEST_F(ApiTest, ABusyServerSaysWhenToComeBack) {
  const auto response = bed.get("/busy");
  expect_error(response, 429, "TOOMANYREQUESTS");
  EXPECT_EQ(header(response, "Retry-After"), "1");
}

TEST_F(ApiTest, TheAccessLogMasksCredentials) {
  bed.users.on = true;
  bed.get("/v2/a/tags/list?n=3", {{"Authorization", "alice"}, {"Accept", "x"}, {"Accept", "y"}});
  ASSERT_EQ(bed.log.lines.size(), 1U);
  auto& line = bed.log.lines[0];
  EXPECT_EQ(line.message, "HTTP API");
  EXPECT_EQ(line.fields["username"], "alice");
  EXPECT_EQ(line.fields["clientIP"], "192.0.2.1");
  EXPECT_EQ(line.fields["method"], "GET");
  EXPECT_EQ(line.fields["path"], "/v2/a/tags/list?n=3");
  EXPECT_EQ(line.fields["statusCode"], "200");
  EXPECT_EQ(line.fields["bodySize"], "8");
  EXPECT_EQ(line.fields["latency"], "0.000000s");
  EXPECT_EQ(line.fields["headers"], R"({"Accept":["x","y"],"Authorization":["******"]})");
}

TEST_F(ApiTest, NoLogHasATicket) {
  for (const char* target : {"/v2/a/tags/list?n=3&ticket=5f.secret", "/broken?ticket=5f.secret"}) {
    bed.log.lines.clear();
    bed.get(target);
    EXPECT_FALSE(bed.log.lines.empty());
    for (auto& line : bed.log.lines) EXPECT_EQ(line.fields["path"].find("secret"), std::string::npos) << line.message;
  }
}

// Whoever pushes is not told where our files are, but what is the matter and who can help.
TEST_F(ApiTest, AFullDiskIsSaidInWordsThatHelp) {
  const auto response = bed.get("/full");
  expect_error(response, 507, "UNAVAILABLE");
  EXPECT_EQ(text_of(response).find("/secret/path"), std::string::npos);
  EXPECT_NE(text_of(response).find("disk"), std::string::npos);
  ASSERT_FALSE(bed.log.lines.empty());
  EXPECT_NE(bed.log.lines[0].fields["error"].find("/secret/path"), std::string::npos);
}

TEST_F(ApiTest, HealthIsOpenToAllAndNotLogged) {
  bed.users.on = true;
  bed.users.rights->anonymous_all = false;
  bool ready = false;
  bed.ready = [&] { return ready; };
  bed.set_routes(routes());
  EXPECT_EQ(bed.get("/livez").status, 200);
  EXPECT_EQ(bed.get("/startupz").status, 200);
  const auto early = bed.get("/readyz");
  EXPECT_EQ(early.status, 503);
  EXPECT_EQ(header(early, "Retry-After"), "1");
  ready = true;
  EXPECT_EQ(text_of(bed.get("/readyz")), "ok");
  EXPECT_TRUE(bed.log.lines.empty());
}

TEST_F(ApiTest, MetricsAreForThoseWhoMayReadThem) {
  bed.get("/v2/");
  const auto open = bed.get("/metrics");
  EXPECT_EQ(open.status, 200);
  EXPECT_EQ(header(open, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(text_of(open).find(R"(zot_http_requests_total{code="200",method="GET"} 1)"), std::string::npos);
  bed.users.on = true;
  bed.users.rights->anonymous_all = false;
  expect_error(bed.get("/metrics"), 401, "UNAUTHORIZED");
  expect_error(bed.get("/metrics", {{"Authorization", "bob"}}), 403, "DENIED");
  EXPECT_EQ(bed.get("/metrics", {{"Authorization", "alice"}}).status, 200);
  bed.options.metrics_path = "/observe/me";
  bed.set_routes(routes());
  EXPECT_EQ(bed.get("/metrics").status, 404);
  EXPECT_EQ(bed.get("/observe/me", {{"Authorization", "alice"}}).status, 200);
}

TEST(SpecError, EveryErrorHasItsStatusAndCode) {
  struct Case {
    ErrorCode code;
    Subject subject;
    int status;
    std::string_view spec;
  };
  using enum ErrorCode;
  for (const Case& c : std::initializer_list<Case>{
           {invalid, Subject::digest, 400, "DIGEST_INVALID"},
           {invalid, Subject::name, 400, "NAME_INVALID"},
           {invalid, Subject::manifest, 400, "MANIFEST_INVALID"},
           {invalid, Subject::tag, 400, "MANIFEST_INVALID"},
           {invalid, Subject::upload, 400, "BLOB_UPLOAD_INVALID"},
           {not_found, Subject::repository, 404, "NAME_UNKNOWN"},
           {not_found, Subject::manifest, 404, "MANIFEST_UNKNOWN"},
           {not_found, Subject::tag, 404, "MANIFEST_UNKNOWN"},
           {not_found, Subject::blob, 404, "BLOB_UNKNOWN"},
           {not_found, Subject::upload, 404, "BLOB_UPLOAD_UNKNOWN"},
           {not_found, Subject::file, 500, "UNKNOWN"},
           {missing_reference, Subject::manifest, 400, "MANIFEST_BLOB_UNKNOWN"},
           {referenced, Subject::blob, 405, "DENIED"},
           {range, Subject::upload, 416, "BLOB_UPLOAD_INVALID"},
           {precondition, Subject::manifest, 412, "MANIFEST_INVALID"},
           {too_large, Subject::manifest, 413, "MANIFEST_INVALID"},
           {too_large, Subject::upload, 413, "SIZE_INVALID"},
           {too_many, Subject::tag, 414, "MANIFEST_INVALID"},
           {too_many, Subject::upload, 429, "TOOMANYREQUESTS"},
           {unsupported, Subject::media_type, 415, "MANIFEST_INVALID"},
           {unauthenticated, Subject::none, 401, "UNAUTHORIZED"},
           {denied, Subject::repository, 403, "DENIED"},
           {out_of_space, Subject::none, 507, "UNAVAILABLE"},
           {corrupt, Subject::blob, 503, "UNAVAILABLE"},
           {unavailable, Subject::none, 503, "UNAVAILABLE"},
           {timeout, Subject::request, 408, "BLOB_UPLOAD_INVALID"},
           {timeout, Subject::none, 503, "UNAVAILABLE"},
           {internal, Subject::none, 500, "UNKNOWN"},
       }) {
    const SpecError got = spec_error_of(make_error(c.code, c.subject, "m"));
    EXPECT_EQ(got.status, c.status) << to_string(c.code) << " " << to_string(c.subject);
    EXPECT_EQ(got.code, c.spec) << to_string(c.code) << " " << to_string(c.subject);
  }
}

TEST(SpecError, TheBodyIsTheSpecificationsJson) {
  const auto response = error_response(make_error(ErrorCode::not_found, Subject::blob, "no \"x\" \xff"));
  EXPECT_EQ(text_of(response), R"({"errors":[{"code":"BLOB_UNKNOWN","detail":{"description":"no \"x\" )"
                               "\xef\xbf\xbd"
                               R"("},"message":"blob unknown to registry"}]})");
}

}  // namespace
}  // namespace hansa::api
