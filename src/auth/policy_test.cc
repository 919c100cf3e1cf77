#include "auth/policy.h"

#include <gtest/gtest.h>

namespace hansa::auth {
namespace {

ActionSet actions(std::initializer_list<Action> list) {
  ActionSet set;
  for (const Action action : list) set.add(action);
  return set;
}

std::shared_ptr<const ConfiguredPolicy> example() {
  PolicyOptions options;
  options.repositories = {
      {.pattern = "**",
       .policies = {{.users = {"ci"}, .groups = {}, .actions = actions({Action::read, Action::create})}},
       .default_actions = actions({Action::read}),
       .anonymous_actions = actions({Action::read})},
      {.pattern = "team/**",
       .policies = {{.users = {}, .groups = {"Dev"}, .actions = actions({Action::read, Action::update})}},
       .default_actions = {},
       .anonymous_actions = {}},
      {.pattern = "team/open",
       .policies = {{.users = {""}, .groups = {}, .actions = actions({Action::create})}},
       .default_actions = actions({Action::remove}),
       .anonymous_actions = actions({Action::read})},
      // Equally long as the next one: the smaller text counts.
      {.pattern = "tie/a*", .policies = {}, .default_actions = actions({Action::read}), .anonymous_actions = {}},
      {.pattern = "tie/?b", .policies = {}, .default_actions = actions({Action::create}), .anonymous_actions = {}},
  };
  options.admin = {.users = {"root"}, .groups = {"ops"}, .actions = actions({Action::read, Action::remove})};
  options.groups = {{"dev", {"dora", "ci"}}, {"ops", {"olga"}}};
  options.metrics_users = {"prometheus"};
  auto policy = ConfiguredPolicy::make(std::move(options));
  EXPECT_TRUE(policy);
  return *policy;
}

TEST(Policy, table_of_decisions) {
  const auto policy = example();
  struct Case {
    const char* user;
    const char* repository;
    const char* allowed;  // of r, c, u, d
  };
  const Case cases[] = {
      {"", "lib/app", "r"},        // anonymousPolicy
      {"anna", "lib/app", "r"},    // defaultPolicy
      {"ci", "lib/app", "rc"},     // the user's own policy
      {"root", "lib/app", "rd"},   // default and admin
      {"olga", "team/app", "rd"},  // an admin by group
      {"dora", "team/app", "ru"},  // a group, whatever the case of its name
      {"ci", "team/app", "ru"},    // the longest pattern alone counts: "**" would have given create
      {"anna", "team/app", ""},    // nothing falls through to the shorter pattern
      {"", "team", ""},            // "team/**" also covers "team"
      {"", "team/open", "rc"},     // a policy may name the anonymous caller
      {"anna", "team/open", "d"},  // a known user does not inherit anonymousPolicy
      {"anna", "tie/ab", "c"},     // a tie: '?' sorts before 'a'
      {"anna", "tie/ax", "r"},
  };
  for (const Case& c : cases) {
    const Identity who{.user = c.user, .groups = policy->groups_of(c.user)};
    std::string allowed;
    const auto where = *oci::RepositoryName::parse(c.repository);
    if (policy->allows(who, Action::read, where)) allowed += 'r';
    if (policy->allows(who, Action::create, where)) allowed += 'c';
    if (policy->allows(who, Action::update, where)) allowed += 'u';
    if (policy->allows(who, Action::remove, where)) allowed += 'd';
    EXPECT_EQ(allowed, c.allowed) << c.user << " on " << c.repository;
  }
}

TEST(Policy, admins_and_metrics_readers_are_those_named) {
  const auto policy = example();
  EXPECT_TRUE(policy->is_admin({.user = "root", .groups = {}}));
  EXPECT_TRUE(policy->is_admin({.user = "olga", .groups = {"ops"}}));
  EXPECT_FALSE(policy->is_admin({.user = "dora", .groups = {"dev"}}));
  EXPECT_FALSE(policy->is_admin({}));
  EXPECT_TRUE(policy->may_read_metrics({.user = "prometheus", .groups = {}}));
  EXPECT_FALSE(policy->may_read_metrics({.user = "root", .groups = {}}));
  EXPECT_FALSE(policy->may_read_metrics({}));
}

TEST(Policy, knows_whether_it_needs_a_method_of_authentication) {
  EXPECT_FALSE(example()->only_anonymous());
  EXPECT_TRUE(example()->admits_anonymous());
  PolicyOptions open;
  open.repositories = {
      {.pattern = "**", .policies = {}, .default_actions = {}, .anonymous_actions = actions({Action::read})}};
  EXPECT_TRUE((*ConfiguredPolicy::make(open))->only_anonymous());
}

TEST(Policy, its_text_is_the_same_for_the_same_rules_and_another_for_others) {
  const std::string text = example()->canonical();
  EXPECT_EQ(example()->canonical(), text);
  const auto with = [](std::vector<std::string> users, ActionSet right) {
    PolicyOptions options;
    options.repositories = {{.pattern = "**",
                             .policies = {{.users = std::move(users), .groups = {}, .actions = right}},
                             .default_actions = {},
                             .anonymous_actions = {}}};
    return (*ConfiguredPolicy::make(options))->canonical();
  };
  const std::string one = with({"ab", "c"}, actions({Action::read}));
  EXPECT_NE(one, with({"a", "bc"}, actions({Action::read})));
  EXPECT_NE(one, with({"ab", "c"}, actions({Action::update})));
}

TEST(Policy, a_wrong_pattern_is_refused_when_the_policy_is_made) {
  PolicyOptions options;
  options.repositories = {{.pattern = "[", .policies = {}, .default_actions = {}, .anonymous_actions = {}}};
  EXPECT_FALSE(ConfiguredPolicy::make(options));
}

TEST(Policy, without_access_control_everyone_may_do_everything) {
  const auto policy = allow_everything();
  EXPECT_TRUE(policy->allows({}, Action::remove, *oci::RepositoryName::parse("a")));
  EXPECT_TRUE(policy->is_admin({}));
}

}  // namespace
}  // namespace hansa::auth
