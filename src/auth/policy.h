// The access policy of a configuration: zot's http.accessControl, decided purely.
//
// Of all patterns that match a repository the longest text alone counts (equally long ones: the smaller in byte order).
// Inside it the first grant wins: the user, one of the user's groups, defaultPolicy for every known user,
// anonymousPolicy for callers without a name. What is still denied is granted to admins, for adminPolicy's actions.
// A known user does not inherit anonymousPolicy; a policy that lists the user "" names the anonymous caller.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "auth/access.h"
#include "base/result.h"
#include "oci/glob.h"

namespace hansa::auth {

// read, create, update or delete; nullopt: none of them.
std::optional<Action> parse_action(std::string_view text);

struct ActionSet {
  std::uint8_t bits = 0;
  void add(Action action) { bits = static_cast<std::uint8_t>(bits | (1U << static_cast<unsigned>(action))); }
  bool has(Action action) const { return (bits >> static_cast<unsigned>(action) & 1U) != 0; }
  bool empty() const { return bits == 0; }
};

// Who may do what; groups compare without case, since zot's loader lower-cases the names of groups.
struct Grant {
  std::vector<std::string> users;
  std::vector<std::string> groups;
  ActionSet actions;
};

struct RepositoryPolicy {
  std::string pattern;
  std::vector<Grant> policies;
  ActionSet default_actions;
  ActionSet anonymous_actions;
};

struct PolicyOptions {
  std::vector<RepositoryPolicy> repositories;
  Grant admin;
  std::map<std::string, std::vector<std::string>> groups;  // name -> users
  std::vector<std::string> metrics_users;
  bool metrics_anonymous = false;
};

// Immutable; thread-safe.
class ConfiguredPolicy final : public AccessPolicy {
 public:
  // invalid(config): a pattern is wrong.
  static Result<std::shared_ptr<const ConfiguredPolicy>> make(PolicyOptions options);

  bool allows(const Identity& who, Action action, const oci::RepositoryName& where) const override;
  bool is_admin(const Identity& who) const override;

  std::vector<std::string> groups_of(const std::string& user) const;  // in byte order
  // Some repository is open to callers without a name.
  bool admits_anonymous() const;
  // Every right is given to callers without a name: then no method of authentication is needed.
  bool only_anonymous() const;
  bool may_read_metrics(const Identity& who) const;
  bool metrics_anonymous() const { return options_.metrics_anonymous; }
  // The same text for policies that say the same in the same order of grants: for comparing the members of a cluster.
  std::string canonical() const;

 private:
  struct Entry {
    oci::Glob glob;
    RepositoryPolicy policy;
  };
  explicit ConfiguredPolicy(PolicyOptions options) : options_(std::move(options)) {}

  PolicyOptions options_;
  std::vector<Entry> entries_;  // the longest pattern first
};

}  // namespace hansa::auth
