#include "api/cluster_page.h"

#include <gtest/gtest.h>

#include "api/testing/bed.h"
#include "api/testing/memory_registry.h"

namespace hansa::api {
namespace {

using testing::header;
using testing::text_of;

class ClusterPage : public ::testing::Test {
 protected:
  ClusterPage() { bed.set_routes({}); }
  testing::MemoryRegistry registry;
  testing::Bed bed{registry};
};

TEST_F(ClusterPage, EveryFileIsServedWithItsTypeAndStrictHeaders) {
  const std::vector<std::pair<std::string, std::string>> files = {
      {"/cluster", "text/html; charset=utf-8"},
      {"/cluster/", "text/html; charset=utf-8"},
      {"/cluster/page.css", "text/css; charset=utf-8"},
      {"/cluster/page.js", "text/javascript; charset=utf-8"},
      {"/cluster/meaning.js", "text/javascript; charset=utf-8"},
      {"/cluster/sections.js", "text/javascript; charset=utf-8"},
      {"/cluster/icon.svg", "image/svg+xml"},
      {"/cluster/chart.js", "text/javascript; charset=utf-8"},
      {"/cl%75ster/page%2Ejs", "text/javascript; charset=utf-8"}};
  for (const auto& [path, type] : files) {
    const auto response = bed.get(path);
    EXPECT_EQ(response.status, 200) << path;
    EXPECT_EQ(header(response, "Content-Type"), type) << path;
    EXPECT_GT(text_of(response).size(), 100U) << path;
    const std::string policy = header(response, "Content-Security-Policy");
    EXPECT_TRUE(policy.starts_with("default-src 'none'; script-src 'self';")) << policy;
    EXPECT_EQ(policy.find("unsafe"), std::string::npos) << policy;
    EXPECT_EQ(header(response, "X-Content-Type-Options"), "nosniff");
    EXPECT_EQ(header(response, "Cache-Control"), "no-store");
  }
  EXPECT_EQ(bed.get("/cluster/nothing.js").status, 404);
  EXPECT_EQ(bed.send(http::Method::post, "/cluster").status, 405);
}

TEST_F(ClusterPage, NamesOnlyItsOwnFilesAndHoldsNoInlineScriptOrStyle) {
  const std::string page = text_of(bed.get("/cluster"));
  for (const std::string_view attribute : {" src=\"", " href=\""}) {
    for (auto place = page.find(attribute); place != std::string::npos; place = page.find(attribute, place + 1)) {
      const auto begin = place + attribute.size();
      const std::string target = page.substr(begin, page.find('"', begin) - begin);
      if (target == "/v2/_hansa/cluster") continue;
      EXPECT_EQ(bed.get(target).status, 200) << target;
    }
  }
  EXPECT_EQ(page.find("<style"), std::string::npos);
  EXPECT_EQ(page.find("style=\""), std::string::npos);
  EXPECT_EQ(page.find("<script>"), std::string::npos);
  EXPECT_EQ(page.find("http://"), std::string::npos);
  EXPECT_EQ(page.find("https://"), std::string::npos);
}

TEST_F(ClusterPage, NeedsALoginWhereTheRegistryDoes) {
  bed.users.on = true;
  bed.users.rights->anonymous_all = false;
  for (const char* path : {"/cluster", "/cluster/page.js"}) {
    const auto response = bed.get(path);
    EXPECT_EQ(response.status, 401) << path;
    EXPECT_EQ(header(response, "WWW-Authenticate"), R"(Basic realm="here")");
  }
  EXPECT_EQ(bed.get("/cluster", {{"Authorization", "bob"}}).status, 200);
}

}  // namespace
}  // namespace hansa::api
