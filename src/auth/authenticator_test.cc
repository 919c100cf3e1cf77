#include <gtest/gtest.h>

#include <map>

#include "auth/basic_authenticator.h"
#include "io/scope.h"
#include "sim/ports/clock.h"
#include "sim/ports/random.h"
#include "sim/ports/world.h"

namespace hansa::auth {
namespace {

// alice:secret and bob:hunter2 by bcrypt, five:secret5 and six:secret6 by SHA-crypt; mallory's MD5 is left out.
constexpr std::string_view kFile =
    "alice:$2y$04$SJI9409nQupzPbMMsBb31.EmEoB8mFS4.93FG99bC9QMhZEXZ6pWG\n"
    "bob:$2y$04$X1H03q.HscZjbCaUbbEffu51gfrvhWF.8UAn.ZkA0dCd7nkp6Htcm\r\n"
    "five:$5$abcdefgh$AVKsPBNtNFkXXKvvkrPMobKUZbm0i7P2XfVbwGW9BS/\n"
    "a line without a colon\n"
    "mallory:$apr1$avbLTEQW$i4NcO8QfsbAgAqZ.Yyyi//\n"
    "six:$6$abcdefgh$xCmU6eXePqd8uT3.jYlk3Fgv/roflqiCi/twHrvHhPTT4qT0rTqu/3ZTFEf6uqFcl7eKyk81ngZEadU/ehEy51\n";

constexpr const char* kAlice = "Basic YWxpY2U6c2VjcmV0";       // alice:secret
constexpr const char* kAliceWrong = "Basic YWxpY2U6d3Jvbmc=";  // alice:wrong
constexpr const char* kNobody = "Basic bm9ib2R5OnNlY3JldA==";  // nobody:secret

AuthSettings with_users() {
  AuthSettings settings;
  settings.users = Htpasswd::parse(kFile);
  return settings;
}

std::shared_ptr<const ConfiguredPolicy> policy(bool anonymous, bool named) {
  PolicyOptions options;
  RepositoryPolicy all{.pattern = "**", .policies = {}, .default_actions = {}, .anonymous_actions = {}};
  if (anonymous) all.anonymous_actions.add(Action::read);
  if (named) all.default_actions.add(Action::read);
  options.repositories = {all};
  options.groups = {{"dev", {"alice"}}};
  return *ConfiguredPolicy::make(options);
}

class Authentication : public testing::Test {
 protected:
  sim::World world;
  sim::SimExecutor executor{world, "node"};
  sim::SimClock clock{world, "node"};
  sim::SimRandom random{7};

  Result<Access> ask(BasicAuthenticator& authenticator, Credentials credentials) {
    return sim::run(world, executor, authenticator.authenticate(std::move(credentials)));
  }
  Result<Access> ask(BasicAuthenticator& authenticator, const char* field) {
    return ask(authenticator, Credentials{.authorization = field, .certificate_name = {}, .user_agent = {}});
  }
  static std::string name_of(const Result<Access>& access) {
    return access ? "user:" + access->identity().user : std::string(to_string(access.error().code));
  }
};

TEST(Htpasswd, knows_bcrypt_and_sha_crypt_and_nothing_weaker) {
  const Htpasswd file = Htpasswd::parse(kFile);
  EXPECT_EQ(file.size(), 4U);
  ASSERT_EQ(file.warnings().size(), 1U);
  EXPECT_NE(file.warnings()[0].find("mallory"), std::string::npos);
  EXPECT_EQ(file.warnings()[0].find("apr1"), std::string::npos);
  EXPECT_TRUE(file.verify("alice", "secret", 0));
  EXPECT_TRUE(file.verify("bob", "hunter2", 0));
  EXPECT_TRUE(file.verify("five", "secret5", 0));
  EXPECT_TRUE(file.verify("six", "secret6", 0));
  EXPECT_FALSE(file.verify("alice", "hunter2", 0));
  EXPECT_FALSE(file.verify("mallory", "x", 0));
  EXPECT_FALSE(file.verify("alice", std::string("secret\0tail", 11), 0));
  EXPECT_FALSE(file.verify("alice", "", 0));
  for (std::uint64_t salt = 0; salt < 8; ++salt) EXPECT_FALSE(file.verify("nobody", "secret", salt));
}

TEST(Htpasswd, the_last_line_of_a_user_counts_and_an_empty_file_admits_nobody) {
  const Htpasswd twice = Htpasswd::parse(
      "a:$2y$04$SJI9409nQupzPbMMsBb31.EmEoB8mFS4.93FG99bC9QMhZEXZ6pWG\n"
      "a:$5$abcdefgh$AVKsPBNtNFkXXKvvkrPMobKUZbm0i7P2XfVbwGW9BS/");
  EXPECT_TRUE(twice.verify("a", "secret5", 0));
  EXPECT_FALSE(twice.verify("a", "secret", 0));
  const Htpasswd none = Htpasswd::parse("");
  EXPECT_FALSE(none.warnings().empty());
  EXPECT_FALSE(none.verify("a", "secret", 0));
}

TEST(BasicField, is_parsed_strictly) {
  const auto good = parse_basic("bAsIc  YWxpY2U6c2VjOnJldA==");  // alice:sec:ret, the scheme in any case
  ASSERT_TRUE(good);
  EXPECT_EQ(good->user, "alice");
  EXPECT_EQ(good->password, "sec:ret");
  const std::string limit(max_authorization, 'A');
  for (const std::string& field : {std::string("Bearer abc"), std::string("Basic"), std::string("Basic !!!!"),
                                   std::string("Basic YWxpY2U="), std::string("Basic A"), "Basic " + limit}) {
    const auto refused = parse_basic(field);
    ASSERT_FALSE(refused) << field;
    EXPECT_EQ(refused.error().code, ErrorCode::unauthenticated);
  }
  EXPECT_EQ(quoted("my \"realm\"\n"), "\"my \\\"realm\\\" \"");
}

TEST_F(Authentication, passwords_are_checked_and_right_ones_remembered_for_a_while) {
  BasicAuthenticator authenticator(clock, random, with_users());
  EXPECT_TRUE(authenticator.enabled());
  EXPECT_EQ(authenticator.challenge(), "Basic realm=\"Authorization Required\"");
  EXPECT_EQ(name_of(ask(authenticator, kAlice)), "user:alice");
  EXPECT_EQ(name_of(ask(authenticator, kAlice)), "user:alice");
  EXPECT_EQ(authenticator.hashes_computed(), 1U);
  EXPECT_EQ(name_of(ask(authenticator, kAliceWrong)), "unauthenticated");
  EXPECT_EQ(name_of(ask(authenticator, kAliceWrong)), "unauthenticated");
  EXPECT_EQ(authenticator.hashes_computed(), 3U);
  world.run_for(remember_for);
  EXPECT_EQ(name_of(ask(authenticator, kAlice)), "user:alice");
  EXPECT_EQ(authenticator.hashes_computed(), 4U);
}

TEST_F(Authentication, unknown_users_cost_a_hash_too) {
  BasicAuthenticator authenticator(clock, random, with_users());
  EXPECT_EQ(name_of(ask(authenticator, kNobody)), "unauthenticated");
  EXPECT_EQ(authenticator.hashes_computed(), 1U);
}

TEST_F(Authentication, a_reload_forgets_remembered_passwords) {
  BasicAuthenticator authenticator(clock, random, with_users());
  EXPECT_EQ(name_of(ask(authenticator, kAlice)), "user:alice");
  AuthSettings without_alice;
  without_alice.users = Htpasswd::parse("bob:$2y$04$X1H03q.HscZjbCaUbbEffu51gfrvhWF.8UAn.ZkA0dCd7nkp6Htcm\n");
  authenticator.replace(without_alice);
  EXPECT_EQ(name_of(ask(authenticator, kAlice)), "unauthenticated");
}

TEST_F(Authentication, callers_without_credentials_are_anonymous_only_where_something_admits_them) {
  Credentials none;
  Credentials empty{.authorization = "Basic Og==", .certificate_name = {}, .user_agent = {}};
  AuthSettings settings;
  BasicAuthenticator open(clock, random, settings);
  EXPECT_FALSE(open.enabled());
  EXPECT_EQ(name_of(ask(open, none)), "user:");
  EXPECT_EQ(name_of(ask(open, kAliceWrong)), "user:");  // no method: what is sent is not looked at
  BasicAuthenticator closed(clock, random, with_users());
  EXPECT_EQ(name_of(ask(closed, none)), "unauthenticated");
  EXPECT_EQ(name_of(ask(closed, empty)), "unauthenticated");
  settings = with_users();
  settings.policy = policy(true, true);
  BasicAuthenticator mixed(clock, random, settings);
  EXPECT_EQ(name_of(ask(mixed, none)), "user:");
  EXPECT_EQ(name_of(ask(mixed, empty)), "user:");
  EXPECT_EQ(name_of(ask(mixed, kAliceWrong)), "unauthenticated");  // wrong is never anonymous
  settings.policy = policy(false, true);
  BasicAuthenticator named(clock, random, settings);
  EXPECT_EQ(name_of(ask(named, none)), "unauthenticated");
}

TEST_F(Authentication, dockers_ping_is_refused_where_named_and_anonymous_rights_mix) {
  Credentials ping{.authorization = {}, .certificate_name = {}, .user_agent = "docker/24.0.5 go/go1.20", .ping = true};
  AuthSettings settings = with_users();
  settings.policy = policy(true, true);
  BasicAuthenticator mixed(clock, random, settings);
  EXPECT_EQ(name_of(ask(mixed, ping)), "unauthenticated");
  ping.ping = false;
  EXPECT_EQ(name_of(ask(mixed, ping)), "user:");
  ping = {.authorization = {}, .certificate_name = {}, .user_agent = "skopeo/1.9", .ping = true};
  EXPECT_EQ(name_of(ask(mixed, ping)), "user:");
}

TEST_F(Authentication, several_fields_are_refused) {
  BasicAuthenticator authenticator(clock, random, with_users());
  Credentials twice{.authorization = kAlice, .several = true, .certificate_name = {}, .user_agent = {}};
  EXPECT_EQ(name_of(ask(authenticator, twice)), "unauthenticated");
}

TEST_F(Authentication, a_client_certificate_names_its_user) {
  AuthSettings settings;
  settings.client_certificates = true;
  settings.policy = policy(false, true);
  BasicAuthenticator authenticator(clock, random, settings);
  const auto access =
      ask(authenticator, Credentials{.authorization = {}, .certificate_name = "alice", .user_agent = {}});
  ASSERT_EQ(name_of(access), "user:alice");
  EXPECT_EQ(access->identity().groups, std::vector<std::string>{"dev"});
  EXPECT_EQ(name_of(ask(authenticator, Credentials{})), "unauthenticated");
}

TEST_F(Authentication, a_refusal_waits_for_the_fail_delay) {
  AuthSettings settings = with_users();
  settings.fail_delay = std::chrono::seconds(3);
  BasicAuthenticator authenticator(clock, random, settings);
  const auto start = world.now();
  EXPECT_EQ(name_of(ask(authenticator, kAlice)), "user:alice");
  EXPECT_LT(world.now() - start, std::chrono::seconds(1));
  EXPECT_EQ(name_of(ask(authenticator, kAliceWrong)), "unauthenticated");
  EXPECT_GE(world.now() - start, std::chrono::seconds(3));
}

TEST_F(Authentication, one_client_that_guesses_leaves_room_for_the_others_to_log_in) {
  BasicAuthenticator authenticator(clock, random, with_users());
  std::map<std::string, std::size_t> seen;
  {
    io::TaskScope scope(executor);
    auto from = [&](std::string client, std::string field) -> io::Task<void> {
      const auto access = co_await authenticator.authenticate(
          {.authorization = std::move(field), .certificate_name = {}, .user_agent = {}, .client = client});
      ++seen[client + " " + name_of(access)];
    };
    for (std::size_t i = 0; i < max_password_checks; ++i) scope.spawn("guess", from("guesser", kAliceWrong));
    scope.spawn("login", from("other", kAlice));
    ASSERT_TRUE(world.run_until([&] { return scope.running() == 0; }));
  }
  EXPECT_EQ(seen["guesser unauthenticated"], max_password_checks_of_one);
  EXPECT_EQ(seen["guesser too_many"], max_password_checks - max_password_checks_of_one);
  EXPECT_EQ(seen["other user:alice"], 1U);
  EXPECT_EQ(name_of(ask(authenticator, {.authorization = kAliceWrong, .client = "guesser"})), "unauthenticated");
}

TEST_F(Authentication, metrics_are_for_known_callers_unless_a_policy_says_more) {
  BasicAuthenticator open(clock, random, {});
  EXPECT_TRUE(open.may_read_metrics({}));
  BasicAuthenticator closed(clock, random, with_users());
  EXPECT_FALSE(closed.may_read_metrics({}));
  EXPECT_TRUE(closed.may_read_metrics({.user = "alice", .groups = {}}));
  AuthSettings settings = with_users();
  settings.policy = policy(true, true);
  BasicAuthenticator listed(clock, random, settings);
  EXPECT_FALSE(listed.may_read_metrics({.user = "alice", .groups = {}}));
}

}  // namespace
}  // namespace hansa::auth
