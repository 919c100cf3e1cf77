// BasicAuthenticator: users from an htpasswd file, names from client certificates, anonymous callers where the policy
// admits them. Everything that a reload changes is one immutable value that is replaced at once; a request goes on
// with what was in force when it arrived.
//
// A password that was right is remembered for `remember_for` under an HMAC with a key of this process, so that a pull
// of many layers costs one bcrypt. A reload forgets all of them. Wrong ones are never remembered.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "auth/authenticator.h"
#include "auth/basic.h"
#include "auth/htpasswd.h"
#include "auth/policy.h"
#include "base/shares.h"
#include "io/clock.h"
#include "io/random.h"
#include "io/wait.h"

namespace hansa::auth {

inline constexpr std::size_t max_remembered = 4096;      // verified passwords
inline constexpr std::size_t max_password_checks = 256;  // waiting or running; more are too_many
inline constexpr std::size_t max_password_checks_of_one = max_password_checks / 4;  // client: the others get in too
inline constexpr io::Duration remember_for = std::chrono::minutes(5);

struct AuthSettings {
  std::string realm = "Authorization Required";
  io::Duration fail_delay{};                       // before a refusal of credentials is answered
  std::optional<Htpasswd> users;                   // absent: no passwords are asked for
  bool client_certificates = false;                // a verified client certificate names its user
  std::shared_ptr<const ConfiguredPolicy> policy;  // null: everyone whom authentication admits may do everything
};

// Docker's client sends stored passwords only to a registry whose /v2/ demanded them. Where anonymous and named rights
// are mixed, its ping is therefore refused.
bool docker_client(std::string_view user_agent);

// Thread-safe. `clock` and `random` outlive it.
class BasicAuthenticator final : public Authenticator {
 public:
  BasicAuthenticator(io::Clock& clock, io::Random& random, AuthSettings settings);

  // Replaces everything at once; remembered passwords are forgotten.
  void replace(AuthSettings settings);

  io::Task<Result<Access>> authenticate(Credentials credentials) override;
  bool enabled() const override;
  std::string challenge() const override;
  bool may_read_metrics(const Identity& who) const override;

  std::uint64_t hashes_computed() const { return hashes_computed_; }

 private:
  struct Current {
    AuthSettings settings;
    std::shared_ptr<const AccessPolicy> policy;
    std::mutex mutex;
    std::map<std::string, io::MonotonicTime> remembered;  // HMAC -> until when
  };
  using CurrentPtr = std::shared_ptr<Current>;

  CurrentPtr current() const;
  io::Task<Result<Access>> check_password(CurrentPtr now, std::string field, std::string client);
  bool begin_check(const std::string& client);
  void end_check(const std::string& client);
  io::Task<bool> verify(CurrentPtr now, UserPassword sent);
  Result<Access> without_password(const Current& now, const Credentials& credentials) const;
  bool remembers(Current& now, const std::string& proof) const;
  void remember(Current& now, const std::string& proof) const;
  std::string proof_of(const UserPassword& sent) const;

  io::Clock& clock_;
  std::string key_;  // of the HMAC
  mutable std::mutex mutex_;
  CurrentPtr current_;
  std::size_t checks_ = 0;                            // under mutex_
  Shares checks_of_one_{max_password_checks_of_one};  // under mutex_
  std::atomic<std::uint64_t> hashes_computed_ = 0;
};

}  // namespace hansa::auth
