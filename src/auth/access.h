// Access: what one caller may do, decided purely from an access policy and an identity (zot's accessControl model).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "oci/name.h"

namespace hansa::auth {

enum class Action : std::uint8_t { read, create, update, remove };
std::string_view to_string(Action action);  // zot's names: read, create, update, delete

struct Identity {
  std::string user;  // empty: anonymous
  std::vector<std::string> groups;
  bool anonymous() const { return user.empty(); }
};

// Pure and immutable; shared by all requests until a reload replaces it. Thread-safe.
class AccessPolicy {
 public:
  virtual ~AccessPolicy() = default;
  virtual bool allows(const Identity& who, Action action, const oci::RepositoryName& where) const = 0;
  virtual bool is_admin(const Identity& who) const = 0;
};

// The policy when accessControl is absent: everyone may do everything.
std::shared_ptr<const AccessPolicy> allow_everything();

// One caller with the policy in force when the request arrived.
class Access {
 public:
  Access(Identity who, std::shared_ptr<const AccessPolicy> policy) : who_(std::move(who)), policy_(std::move(policy)) {}
  const Identity& identity() const { return who_; }
  bool may(Action action, const oci::RepositoryName& where) const { return policy_->allows(who_, action, where); }
  bool may_push(const oci::RepositoryName& where) const {
    return may(Action::create, where) || may(Action::update, where);
  }
  bool is_admin() const { return policy_->is_admin(who_); }

  // Where the request comes from (http::client_network); empty: not known. It gives no rights: limits per client go by
  // it where there is no user.
  const std::string& client() const { return client_; }
  void came_from(std::string client) { client_ = std::move(client); }

 private:
  Identity who_;
  std::string client_;
  std::shared_ptr<const AccessPolicy> policy_;
};

}  // namespace hansa::auth
