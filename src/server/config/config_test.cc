#include "server/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "server/config/check.h"
#include "server/config/key_table.h"
#include "server/config/units.h"
#include "server/config/value.h"

namespace hansa::server::config {
namespace {

using testing::HasSubstr;

std::string error_of(std::string_view text, const std::string& file = "c.json") {
  const auto config = parse(file, text);
  return config ? "accepted" : config.error().message;
}

Config accepted(std::string_view text, const std::string& file = "c.json") {
  const auto config = parse(file, text);
  EXPECT_TRUE(config) << config.error().message;
  return config ? *config : Config{};
}

// A configuration that is right but for `rest`, which begins with a comma or is empty.
std::string with(const std::string& rest) {
  return R"({"storage":{"rootDirectory":"/d"})" + rest + "}";
}

TEST(Config, the_smallest_one_has_the_defaults) {
  const Config config = accepted(with(""));
  EXPECT_EQ(config.storage.root, "/d");
  EXPECT_TRUE(config.storage.gc);
  EXPECT_EQ(config.storage.gc_delay, std::chrono::hours(1));
  EXPECT_EQ(config.http.address, "127.0.0.1");
  EXPECT_EQ(config.http.port, 8080);
  EXPECT_EQ(config.http.transfer_timeout, std::chrono::seconds(60));
  EXPECT_EQ(config.log_level, LogLevel::info);
  EXPECT_EQ(config.metrics_path, "");
  EXPECT_FALSE(config.scrub_interval);
  EXPECT_FALSE(config.http.policy);
}

TEST(Config, one_client_may_have_three_quarters_unless_the_file_says_otherwise) {
  EXPECT_EQ(accepted(with("")).http.limits, Limits{});
  EXPECT_EQ(Limits{}.connections_per_client, 15'000U);
  EXPECT_EQ(Limits{}.uploads_per_client, 750U);
  const Limits fewer = accepted(with(R"(,"http":{"limits":{"connections":100,"uploads":"8"}})")).http.limits;
  EXPECT_EQ(fewer.connections_per_client, 75U);
  EXPECT_EQ(fewer.uploads_per_client, 6U);
  const auto given = accepted(with(R"(,"http":{"limits":{"connectionsPerClient":0,"uploadsPerClient":5}})"));
  EXPECT_EQ(given.http.limits.connections, 20'000U);
  EXPECT_EQ(given.http.limits.connections_per_client, 0U);
  EXPECT_EQ(given.http.limits.uploads_per_client, 5U);
  EXPECT_EQ(given.http.limits.upload_bytes, 0U);
  EXPECT_EQ(given.http.limits.upload_bytes_per_client, 0U);
  const Limits bytes = accepted(with(R"(,"http":{"limits":{"uploadBytes":1000}})")).http.limits;
  EXPECT_EQ(bytes.upload_bytes, 1000U);
  EXPECT_EQ(bytes.upload_bytes_per_client, 750U);
}

TEST(Config, keys_have_no_case_and_types_are_weak) {
  const Config config = accepted(
      R"({"STORAGE":{"rootdirectory":"/d","GC":"true","gcdelay":7200000000000},"http":{"Port":5000,"ADDRESS":"::1"}})");
  EXPECT_EQ(config.storage.gc_delay, std::chrono::hours(2));
  EXPECT_EQ(config.http.port, 5000);
  EXPECT_EQ(config.http.address, "::1");
}

TEST(Config, two_colons_in_a_key_separate_levels) {
  const Config config = accepted(R"({"storage::rootDirectory":"/d","http":{"address":"0.0.0.0"},"http::port":"5000"})");
  EXPECT_EQ(config.storage.root, "/d");
  EXPECT_EQ(config.http.address, "0.0.0.0");
  EXPECT_EQ(config.http.port, 5000);
}

TEST(Config, yaml_says_the_same) {
  const Config config = accepted("storage:\n  rootDirectory: /d\n  gcDelay: 90m\nhttp: {port: 5000}\n", "c.yaml");
  EXPECT_EQ(config.storage.gc_delay, std::chrono::minutes(90));
  EXPECT_EQ(config.http.port, 5000);
  // Without an extension the first character decides.
  EXPECT_EQ(accepted("storage: {rootDirectory: /d}\n", "config").storage.root, "/d");
  EXPECT_EQ(accepted(" {\"storage\":{\"rootDirectory\":\"/d\"}}", "config").storage.root, "/d");
}

struct Mistake {
  std::string text;
  std::vector<std::string> says;
};

// What cannot be read may be a password.
TEST(Config, text_that_is_not_JSON_is_not_repeated) {
  for (const std::string end : {"", "\n\"}", "\\x\"}", "'; expected \n\"}"}) {
    const auto refused = parse("c.json", R"({"storage":{"rootDirectory":"/d"},"cluster":{"hashKey":"canary)" + end);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message.find("canary"), std::string::npos) << refused.error().message;
    EXPECT_NE(refused.error().message.find("line "), std::string::npos) << refused.error().message;
  }
}

TEST(Config, each_kind_of_mistake_is_named_with_its_key_and_what_to_do) {
  const Mistake mistakes[] = {
      {"", {"c.json", "not valid JSON", "line 1"}},
      {"{}", {"c.json", "no key"}},
      {"[]", {"no key"}},
      {R"({"storage":{"rootDirectory":"/d"},})", {"not valid JSON", "line 1, column 35"}},
      {R"({"http":{}})", {"storage.rootDirectory", "missing"}},
      {R"({"storage":{"rootDirectory":"/a","RootDirectory":"/b"}})", {"RootDirectory", "twice"}},
      {R"({"storage":{"rootDirectory":"/a"},"storage":{"gc":true}})", {"storage", "twice"}},
      {with(R"(,"http":{"port":"1"},"http::port":"2")"), {"port", "twice"}},
      {R"({"storage":{"rootDirektory":"/a"}})", {"storage.rootDirektory: unknown key", "\"rootDirectory\""}},
      {with(R"(,"htp":{})"), {"htp: unknown key", "\"http\""}},
      {with(R"(,"port":"5000")"), {"port: unknown key here", "http.port"}},
      {with(R"(,"http":{"qqqqqq":1})"), {"http.qqqqqq: unknown key", "known here are: accessControl"}},
      {with(R"(,"http":5)"), {"http: must be an object", "not 5"}},
      {with(R"(,"http":{"port":[1]})"), {"http.port: must be a single value"}},
      {with(R"(,"http":{"port":"70000"})"), {"http.port", "0 to 65535", "70000"}},
      {with(R"(,"http":{"port":"http"})"), {"http.port", "\"http\""}},
      {with(R"(,"http":{"readTimeout":"soon"})"), {"http.readTimeout", "duration", "\"soon\""}},
      {with(R"(,"http":{"auth":{"failDelay":"x"}})"), {"http.auth.failDelay", "whole number"}},
      {with(R"(,"http":{"auth":{"failDelay":-1}})"), {"http.auth.failDelay", "0 to 3600"}},
      {with(R"(,"http":{"auth":{"htpasswd":{}}})"), {"http.auth.htpasswd.path", "missing"}},
      {with(R"(,"http":{"limits":{"connections":0}})"), {"http.limits.connections", "1 to 1000000", "not 0"}},
      {with(R"(,"http":{"limits":{"uploadsPerClient":-1}})"), {"http.limits.uploadsPerClient", "0 to 100000"}},
      {with(R"(,"http":{"limits":{"uploadBytes":-5}})"), {"http.limits.uploadBytes", "not -5"}},
      {with(R"(,"http":{"limits":{"connectionsPerUser":5}})"), {"connectionsPerUser", "connectionsPerClient"}},
      {with(R"(,"http":{"compat":["docker3"]})"), {"http.compat", "docker3", "docker2s2"}},
      {with(R"(,"http":{"tls":{"cert":"a"}})"), {"http.tls.key", "missing"}},
      {with(R"(,"http":{"tls":{"key":"a"}})"), {"http.tls.cert", "missing"}},
      {with(R"(,"http":{"auth":{"mtls":{}}})"), {"http.auth.mtls", "http.tls.cacert"}},
      {with(R"(,"log":{"level":"loud"})"), {"log.level", "loud"}},
      {with(R"(,"extensions":{"metrics":{"prometheus":{"path":"/v2/x"}}})"), {"prometheus.path", "/v2/x"}},
      {with(R"(,"extensions":{"metrics":{"prometheus":{"path":"/a/../b"}}})"), {"prometheus.path"}},
      {with(R"(,"extensions":{"search":{}})"), {"extensions.search: not built yet", "\"enable\": false"}},
      {with(R"(,"cluster":{"members":["a:1"]})"), {"cluster.hashKey", "missing"}},
      {with(R"(,"cluster":{"members":["a"],"hashKey":"loremipsumdolors"})"), {"cluster.members", "\"a\"", "host:port"}},
      {with(R"(,"cluster":{"members":["a:1"],"hashKey":"short"})"), {"cluster.hashKey", "16"}},
      {with(R"(,"cluster":{"metadata":{"etcd":{}}})"), {"cluster.metadata.etcd.endpoints", "missing"}},
      {with(R"(,"cluster":{"metadata":{"etcd":{"endpoints":["https://root:p/@ss@etcd:2379"]}}})"),
       {"cluster.metadata.etcd.endpoints", "\"etcd:2379\"", "username"}},
      {with(R"(,"cluster":{"metadata":{"etcd":{"endpoints":["a:1"]},"managed":{}}})"), {"cluster.metadata", "both"}},
      {with(R"(,"cluster":{"metadata":{"managed":{"voters":2}}})"), {"voters", "3 or 5"}},
      {with(R"(,"cluster":{"metadata":{"managed":{"peerPort":5379}}})"), {"peerPort", "differ"}},
      {with(R"(,"cluster":{"node":{"peer":"nowhere"}})"), {"cluster.node.peer", "host:port"}},
      {with(R"(,"cluster":{"route":"elsewhere"})"), {"cluster.route", "redirect, proxy or local", "elsewhere"}},
      {with(R"(,"cluster":{"limits":{"fillRate":1000}})"), {"cluster.limits.fillRate", "at least 1048576", "1000"}},
      {with(R"(,"cluster":{"limits":{"fills":0}})"), {"cluster.limits.fills", "1 to 64"}},
      {with(R"(,"cluster":{"limits":{"fillrat":1}})"), {"fillrat", "fillRate"}},
      {with(R"(,"cluster":{"stopDelay":"6m"})"), {"cluster.stopDelay", "from 0s to 5m"}},
      {with(R"(,"cluster":{"tls":{"cert":"a"}})"), {"cluster.tls", "cert and key"}},
      {with(R"(,"http":{"accessControl":{"repositories":{"a[":{"anonymousPolicy":["read"]}}}})"), {"a[", "pattern"}},
      {with(R"(,"http":{"accessControl":{"repositories":{"**":{"anonymousPolicy":["write"]}}}})"),
       {"http.accessControl.repositories.**.anonymousPolicy", "\"write\"", "read, create, update and delete"}},
      {with(R"(,"http":{"accessControl":{"repositories":{"**":{"defaultPolicy":["read"]}}}})"),
       {"http.accessControl", "no way to log in"}},
      {R"({"storage":{"rootDirectory":"/d","gcDelay":"-1h"}})", {"storage.gcDelay", "negative"}},
      {R"({"storage":{"rootDirectory":"/d","gcInterval":"0"}})", {"storage.gcInterval", "not built yet"}},
      {R"({"storage":{"rootDirectory":"/d","maxRepos":5}})", {"storage.maxRepos: not built yet"}},
      {R"({"storage":{"rootDirectory":"/d","gcTimeWindow":"01:00-02:00"}})", {"storage.gcTimeWindow: not built yet"}},
      {R"({"storage":{"rootDirectory":"/d","subPaths":{"/a":{"rootDirectry":"/b"}}}})",
       {"storage.subPaths: not built yet", "storage.subPaths./a.rootDirectry: unknown key", "\"rootDirectory\""}},
  };
  for (const auto& mistake : mistakes) {
    const std::string message = error_of(mistake.text);
    for (const auto& part : mistake.says) EXPECT_THAT(message, HasSubstr(part)) << mistake.text;
  }
}

TEST(Config, all_mistakes_are_told_at_once_one_a_line) {
  const std::string message = error_of(R"({"storage":{"gcDelay":"x"},"http":{"port":"y","zzz":1}})");
  EXPECT_EQ(std::ranges::count(message, '\n'), 3);
  for (const char* key : {"gcDelay", "http.port", "http.zzz", "rootDirectory"}) EXPECT_THAT(message, HasSubstr(key));
}

TEST(Config, what_is_switched_off_or_asks_for_nothing_is_no_error) {
  accepted(with(R"(,"extensions":{"search":{"enable":false,"cve":{"updateInterval":"2h"}},"ui":null,)"
                R"("sync":{"enable":"false","registries":[{"urls":["https://a"]}]},"lint":{"enable":false}})"));
  accepted(R"({"storage":{"rootDirectory":"/d","remoteCache":false,"maxRepos":0,"redirectBlobURL":false,"subPaths":{},)"
           R"("retention":{"policies":[]},"storageDriver":null},"http":{"auth":{"apikey":false}}})");
  // Still, its keys must be right.
  EXPECT_THAT(error_of(with(R"(,"extensions":{"search":{"enable":false,"cve":{"updateIntervall":"2h"}}})")),
              HasSubstr("updateInterval"));
}

TEST(Config, warnings_tell_what_has_no_effect) {
  const Config config =
      accepted(R"({"distSpecVersion":"1.0.1","storage":{"rootDirectory":"/d","gc":false,"gcDelay":"2h"},)"
               R"("extensions":{"scrub":{"interval":"1m"},"mgmt":{}}})");
  const std::string all = testing::PrintToString(config.warnings);
  EXPECT_THAT(testing::PrintToString(
                  accepted(R"({"storage":{"rootDirectory":"/d","gcDelay":"1s","retention":{"delay":"2s"}}})").warnings),
              testing::AllOf(HasSubstr("storage.gcDelay"), HasSubstr("storage.retention.delay"), HasSubstr("4s")));
  for (const char* part : {"distSpecVersion", "storage.gcDelay", "extensions.scrub.interval", "extensions.mgmt"}) {
    EXPECT_THAT(all, HasSubstr(part));
  }
  EXPECT_EQ(config.scrub_interval, least_scrub_interval);
}

// The example of zot's documentation, in its own words.
TEST(Config, retention_becomes_policies) {
  const Config config = accepted(
      R"({"storage":{"rootDirectory":"/d","gcDelay":"2h","retention":{"dryRun":true,"delay":"24h","policies":[)"
      R"({"repositories":["infra/*","prod/*"],"deleteReferrers":false,"keepTags":[{"patterns":["v2.*",".*-prod"]},)"
      R"({"patterns":["v3.*"],"pulledWithin":"168h","mostRecentlyPushedCount":10,"pushedWithin":"24h"}]},)"
      R"({"repositories":["**"],"deleteReferrers":true,"deleteUntagged":false,)"
      R"("keepUntagged":{"mostRecentlyPulledCount":3}}]}}})");
  const auto& retention = config.storage.retention;
  EXPECT_EQ(retention.delay, std::chrono::hours(24));
  EXPECT_TRUE(retention.rules.dry_run);
  ASSERT_EQ(retention.rules.policies.size(), 2u);
  const auto& first = retention.rules.policies[0];
  EXPECT_FALSE(first.delete_referrers);
  EXPECT_TRUE(first.delete_untagged);
  ASSERT_EQ(first.keep_tags.size(), 2u);
  EXPECT_TRUE(first.keep_tags[0].unconditional());
  EXPECT_TRUE(first.keep_tags[0].applies_to("1.0-prod"));
  EXPECT_EQ(first.keep_tags[1].pulled_within, std::chrono::hours(168));
  EXPECT_EQ(first.keep_tags[1].most_recently_pushed, 10u);
  const auto& second = retention.rules.policies[1];
  EXPECT_TRUE(second.delete_referrers);
  EXPECT_FALSE(second.delete_untagged);
  EXPECT_THAT(testing::PrintToString(config.warnings), HasSubstr("keepUntagged"));
}

TEST(Config, mistakes_of_retention_are_named_with_their_place) {
  const auto rule = [](const std::string& keep) {
    return error_of(R"({"storage":{"rootDirectory":"/d","retention":{"policies":[{"repositories":["**"],"keepTags":[)" +
                    keep + "]}]}}}");
  };
  EXPECT_THAT(rule(R"({},{"patterns":["v["]})"), HasSubstr("storage.retention.policies[0].keepTags[1].patterns"));
  EXPECT_THAT(rule(R"({"mostRecentlyPushedCount":-1})"), HasSubstr("keepTags[0].mostRecentlyPushedCount"));
  EXPECT_THAT(rule(R"({"pushedWithin":"-1h"})"), HasSubstr("keepTags[0].pushedWithin"));
  EXPECT_THAT(rule(R"({"pattern":["v1"]})"), HasSubstr("patterns"));
  EXPECT_THAT(error_of(R"({"storage":{"rootDirectory":"/d","retention":{"policies":[{"repositories":["{a"]}]}}})"),
              HasSubstr("storage.retention.policies[0].repositories"));
}

TEST(Config, access_control_becomes_a_policy) {
  const Config config = accepted(
      with(R"(,"http":{"auth":{"htpasswd":{"path":"users"}},"accessControl":{"groups":{"Dev":{"users":["ann"]}},)"
           R"("repositories":{"Team/**":{"policies":[{"groups":["Dev"],"actions":["read","create"]}]}},)"
           R"("adminPolicy":{"users":["root"],"actions":"delete"},"metrics":{"users":["prom"]}}})"));
  ASSERT_TRUE(config.http.policy);
  const auto& policy = *config.http.policy;
  const auto where = *oci::RepositoryName::parse("team/app");
  const auth::Identity ann{.user = "ann", .groups = policy.groups_of("ann")};
  EXPECT_TRUE(policy.allows(ann, auth::Action::create, where));
  EXPECT_FALSE(policy.allows(ann, auth::Action::update, where));
  EXPECT_TRUE(policy.allows({.user = "root", .groups = {}}, auth::Action::remove, where));
  EXPECT_TRUE(policy.may_read_metrics({.user = "prom", .groups = {}}));
}

TEST(Config, yaml_mistakes_are_named) {
  EXPECT_THAT(error_of("storage: [", "c.yaml"), HasSubstr("not valid YAML: line 1"));
  EXPECT_THAT(error_of("storage:\n  gc: true\n  GC: true\n", "c.yaml"), HasSubstr("line 3, column 3"));
  EXPECT_THAT(error_of("a: 1\n---\nb: 1\n", "c.yaml"), HasSubstr("more than one document"));
  EXPECT_THAT(error_of("x", "c.toml"), HasSubstr("not built yet"));
  EXPECT_THAT(error_of("", "c.yaml"), HasSubstr("no key"));
}

TEST(Config, bombs_are_refused) {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
  EXPECT_THAT(error_of(deep), HasSubstr("nested too deep"));
  std::string laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 0; j < 8; ++j) laughs += "," + before;
    laughs += "]\n";
  }
  EXPECT_THAT(error_of(laughs, "c.yaml"), HasSubstr("too many values"));
  EXPECT_THAT(error_of(std::string(max_config_file + 1, ' ')), HasSubstr("at most"));
}

TEST(Units, durations_are_those_of_go) {
  using namespace std::chrono_literals;
  const std::pair<const char*, io::Duration> good[] = {
      {"1h30m", 90min}, {"1.5s", 1500ms}, {"300ms", 300ms}, {"-2m", -2min}, {"0", 0ns},
      {"250", 250ns},   {"2us", 2us},     {".5s", 500ms},   {"720h", 720h}, {"+3s", 3s}};
  for (const auto& [text, value] : good) EXPECT_EQ(parse_duration(text), value) << text;
  for (const char* text : {"", "h", "1x", "1h2", "1 h", "--1s", "1e3s", "9999999999h", "s1"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
  EXPECT_EQ(format_duration(90min), "1h30m");
  EXPECT_EQ(format_duration(-1500ms), "-1s500ms");
  EXPECT_EQ(format_duration(0s), "0s");
}

TEST(Units, near_names_are_found_and_far_ones_not) {
  EXPECT_EQ(edit_distance("rootDirectory", "rootdirectroy"), 1U);
  EXPECT_EQ(edit_distance("abc", ""), 3U);
  const std::vector<std::string> known{"gc", "gcDelay", "dedupe", "rootDirectory"};
  EXPECT_EQ(nearest("gcdely", known), "gcDelay");
  EXPECT_EQ(nearest("directory", known), "");
  EXPECT_EQ(nearest("zzz", known), "");
}

TEST(KeyTable, every_key_has_a_parent_and_every_default_is_of_its_type) {
  std::set<std::string_view> paths;
  for (const Key* key : key_table()) {
    EXPECT_TRUE(paths.insert(key->path).second) << key->path << " is there twice";
    const std::size_t dot = key->path.rfind('.');
    if (dot != std::string_view::npos) EXPECT_TRUE(paths.contains(key->path.substr(0, dot))) << key->path;
    if (key->fallback.empty()) continue;
    if (key->type == Type::boolean) EXPECT_TRUE(parse_bool(key->fallback)) << key->path;
    if (key->type == Type::integer) EXPECT_TRUE(parse_integer(key->fallback)) << key->path;
    if (key->type == Type::duration) EXPECT_TRUE(parse_duration(key->fallback)) << key->path;
  }
}

TEST(Config, a_cluster_has_defaults_from_http_and_keeps_what_is_said) {
  const auto plain = parse("c.json", with(R"(,"http":{"address":"10.0.0.1","port":"5000"},"cluster":{})"));
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_TRUE(plain->cluster.configured);
  EXPECT_EQ(plain->cluster.url, "http://10.0.0.1:5000");
  EXPECT_EQ(plain->cluster.peer, "10.0.0.1:5001");
  EXPECT_EQ(plain->cluster.managed.client_port, 5379);
  const auto named =
      parse("c.json", with(R"(,"cluster":{"node":{"url":"https://r1.example:443","peer":"r1.example:6000",
      "listen":"0.0.0.0"},"metadata":{"etcd":{"endpoints":["e:2379"],"prefix":"images"}}})"));
  ASSERT_TRUE(named) << named.error().message;
  EXPECT_EQ(named->cluster.url, "https://r1.example:443");
  EXPECT_EQ(named->cluster.listen, "0.0.0.0");
  ASSERT_TRUE(named->cluster.etcd);
  EXPECT_EQ(named->cluster.etcd->prefix, "images/");
}

TEST(KeyTable, the_schema_is_json_and_names_what_is_not_built) {
  const auto schema = nlohmann::json::parse(print_json_schema());
  const auto& storage = schema["properties"]["storage"]["properties"];
  EXPECT_EQ(storage["gcDelay"]["default"], "1h");
  EXPECT_THAT(storage["storageDriver"]["description"].get<std::string>(), HasSubstr("not built yet"));
  EXPECT_TRUE(storage["subPaths"]["additionalProperties"]["properties"].contains("gcDelay"));
}

}  // namespace
}  // namespace hansa::server::config
