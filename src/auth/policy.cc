#include "auth/policy.h"

#include <algorithm>

namespace hansa::auth {
namespace {

bool same_group(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

bool lists(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

bool names(const Grant& grant, const Identity& who) {
  if (lists(grant.users, who.user)) return true;
  return std::ranges::any_of(who.groups, [&grant](const std::string& group) {
    return std::ranges::any_of(grant.groups, [&group](const std::string& other) { return same_group(group, other); });
  });
}

bool decide(const RepositoryPolicy& policy, const Identity& who, Action action) {
  const auto grants = [&](const Grant& grant) { return grant.actions.has(action) && names(grant, who); };
  if (std::ranges::any_of(policy.policies, grants)) return true;
  return who.anonymous() ? policy.anonymous_actions.has(action) : policy.default_actions.has(action);
}

class Everything final : public AccessPolicy {
 public:
  bool allows(const Identity&, Action, const oci::RepositoryName&) const override { return true; }
  bool is_admin(const Identity&) const override { return true; }
};

}  // namespace

std::string_view to_string(Action action) {
  switch (action) {
    case Action::read: return "read";
    case Action::create: return "create";
    case Action::update: return "update";
    case Action::remove: return "delete";
  }
  return "unknown";
}

std::optional<Action> parse_action(std::string_view text) {
  for (const Action action : {Action::read, Action::create, Action::update, Action::remove}) {
    if (text == to_string(action)) return action;
  }
  return std::nullopt;
}

std::shared_ptr<const AccessPolicy> allow_everything() {
  return std::make_shared<Everything>();
}

Result<std::shared_ptr<const ConfiguredPolicy>> ConfiguredPolicy::make(PolicyOptions options) {
  std::shared_ptr<ConfiguredPolicy> policy(new ConfiguredPolicy(std::move(options)));
  for (const auto& repository : policy->options_.repositories) {
    HANSA_TRY(auto glob, oci::Glob::compile(repository.pattern));
    policy->entries_.push_back({std::move(glob), repository});
  }
  std::ranges::sort(policy->entries_, [](const Entry& a, const Entry& b) {
    const auto& x = a.policy.pattern;
    const auto& y = b.policy.pattern;
    return x.size() != y.size() ? x.size() > y.size() : x < y;
  });
  return policy;
}

bool ConfiguredPolicy::allows(const Identity& who, Action action, const oci::RepositoryName& where) const {
  const auto entry = std::ranges::find_if(entries_, [&where](const Entry& e) { return e.glob.matches(where.text()); });
  if (entry != entries_.end() && decide(entry->policy, who, action)) return true;
  return options_.admin.actions.has(action) && names(options_.admin, who);
}

bool ConfiguredPolicy::is_admin(const Identity& who) const {
  return names(options_.admin, who);
}

std::vector<std::string> ConfiguredPolicy::groups_of(const std::string& user) const {
  std::vector<std::string> groups;
  for (const auto& [name, users] : options_.groups) {
    if (lists(users, user)) groups.push_back(name);
  }
  return groups;
}

bool ConfiguredPolicy::admits_anonymous() const {
  return std::ranges::any_of(entries_, [](const Entry& e) { return !e.policy.anonymous_actions.empty(); });
}

bool ConfiguredPolicy::only_anonymous() const {
  const bool named = std::ranges::any_of(
      entries_, [](const Entry& e) { return !e.policy.policies.empty() || !e.policy.default_actions.empty(); });
  const bool admins = !options_.admin.users.empty() || !options_.admin.groups.empty();
  return !named && !admins && options_.metrics_users.empty();
}

bool ConfiguredPolicy::may_read_metrics(const Identity& who) const {
  return who.anonymous() ? options_.metrics_anonymous : lists(options_.metrics_users, who.user);
}

namespace {

// Lengths keep neighbours from being shifted into each other.
void add(std::string& out, std::string_view text) {
  out += std::to_string(text.size()) + ":" + std::string(text);
}

void add(std::string& out, const std::vector<std::string>& list) {
  out += std::to_string(list.size()) + "[";
  for (const auto& text : list) add(out, text);
}

void add(std::string& out, const Grant& grant) {
  add(out, grant.users);
  add(out, grant.groups);
  out += std::to_string(grant.actions.bits) + ";";
}

}  // namespace

std::string ConfiguredPolicy::canonical() const {
  std::string out;
  for (const auto& entry : entries_) {
    add(out, entry.policy.pattern);
    for (const auto& grant : entry.policy.policies) add(out, grant);
    out += "|" + std::to_string(entry.policy.default_actions.bits) + "," +
           std::to_string(entry.policy.anonymous_actions.bits) + ";";
  }
  add(out, options_.admin);
  for (const auto& [group, users] : options_.groups) {
    add(out, group);
    add(out, users);
  }
  add(out, options_.metrics_users);
  out += options_.metrics_anonymous ? "1" : "0";
  return out;
}

}  // namespace hansa::auth
