#include "auth/basic_authenticator.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>

namespace hansa::auth {
namespace {

Access access_of(std::string user, const AuthSettings& settings, std::shared_ptr<const AccessPolicy> policy) {
  Identity who{.user = std::move(user), .groups = {}};
  if (settings.policy && !who.anonymous()) who.groups = settings.policy->groups_of(who.user);
  return Access(std::move(who), std::move(policy));
}

// ":" in base64: what some clients send for "no user".
bool is_empty(const std::string& field) {
  return field.empty() || field == "Basic Og==";
}

Error refused(std::string_view why) {
  return make_error(ErrorCode::unauthenticated, Subject::request, std::string(why));
}

}  // namespace

bool docker_client(std::string_view user_agent) {
  return user_agent.starts_with("docker/") || user_agent.find("Docker-Client") != std::string_view::npos;
}

BasicAuthenticator::BasicAuthenticator(io::Clock& clock, io::Random& random, AuthSettings settings)
    : clock_(clock), key_(random.hex(32)) {
  replace(std::move(settings));
}

void BasicAuthenticator::replace(AuthSettings settings) {
  auto next = std::make_shared<Current>();
  next->settings = std::move(settings);
  next->policy = next->settings.policy ? next->settings.policy : allow_everything();
  const std::lock_guard lock(mutex_);
  current_ = std::move(next);
}

BasicAuthenticator::CurrentPtr BasicAuthenticator::current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

bool BasicAuthenticator::enabled() const {
  const auto now = current();
  return now->settings.users.has_value() || now->settings.client_certificates;
}

std::string BasicAuthenticator::challenge() const {
  return "Basic realm=" + quoted(current()->settings.realm);
}

bool BasicAuthenticator::may_read_metrics(const Identity& who) const {
  const auto now = current();
  if (now->settings.policy) return now->settings.policy->may_read_metrics(who);
  const bool methods = now->settings.users.has_value() || now->settings.client_certificates;
  return !methods || !who.anonymous();
}

io::Task<Result<Access>> BasicAuthenticator::authenticate(Credentials credentials) {
  const CurrentPtr now = current();
  if (credentials.several) co_return refused("there is more than one Authorization field");
  const bool sent = credentials.authorization && !is_empty(*credentials.authorization);
  if (!sent || !now->settings.users) co_return without_password(*now, credentials);
  auto result = co_await check_password(now, *credentials.authorization, credentials.client);
  const bool wrong = !result && result.error().code == ErrorCode::unauthenticated;
  if (wrong && now->settings.fail_delay > io::Duration::zero()) {
    HANSA_CO_CHECK(co_await io::sleep_for(now->settings.fail_delay));
  }
  co_return result;
}

Result<Access> BasicAuthenticator::without_password(const Current& now, const Credentials& credentials) const {
  const AuthSettings& settings = now.settings;
  if (settings.client_certificates && !credentials.certificate_name.empty()) {
    return access_of(credentials.certificate_name, settings, now.policy);
  }
  const Access anonymous({}, now.policy);
  if (!settings.users && !settings.client_certificates) return anonymous;
  const bool admitted =
      settings.policy && (settings.policy->admits_anonymous() || settings.policy->metrics_anonymous());
  const bool must_log_in = credentials.ping && settings.users && docker_client(credentials.user_agent) &&
                           settings.policy && !settings.policy->only_anonymous();
  if (admitted && !must_log_in) return anonymous;
  return refused("this needs a login");
}

bool BasicAuthenticator::begin_check(const std::string& client) {
  const std::lock_guard lock(mutex_);
  if (checks_ >= max_password_checks || !checks_of_one_.take(client)) return false;
  ++checks_;
  return true;
}

void BasicAuthenticator::end_check(const std::string& client) {
  const std::lock_guard lock(mutex_);
  --checks_;
  checks_of_one_.give_back(client);
}

io::Task<Result<Access>> BasicAuthenticator::check_password(CurrentPtr now, std::string field, std::string client) {
  HANSA_CO_TRY(UserPassword sent, parse_basic(field));
  const std::string user = sent.user;
  if (!remembers(*now, proof_of(sent))) {
    if (!begin_check(client)) {
      co_return make_error(ErrorCode::too_many, Subject::request, "too many logins at once; try again in a moment");
    }
    const bool right = co_await verify(now, std::move(sent));
    end_check(client);
    if (!right) co_return refused("wrong user or password");
  }
  co_return access_of(user, now->settings, now->policy);
}

io::Task<bool> BasicAuthenticator::verify(CurrentPtr now, UserPassword sent) {
  const std::string proof = proof_of(sent);
  // By the name alone: a name whose time jumps from password to password would be known as nobody's.
  const std::string of_name = proof_of({.user = sent.user, .password = {}});
  std::uint64_t salt = 0;
  for (const char c : of_name.substr(0, 8)) salt = salt << 8U | static_cast<unsigned char>(c);
  auto work = [this, now, sent = std::move(sent), proof, salt] {
    if (remembers(*now, proof)) return true;  // a request before this one in the queue has proved it
    ++hashes_computed_;
    const bool right = now->settings.users->verify(sent.user, sent.password, salt);
    if (right) remember(*now, proof);
    return right;
  };
  co_return co_await io::blocking(io::Pool::auth, std::move(work));
}

std::string BasicAuthenticator::proof_of(const UserPassword& sent) const {
  std::string text = sent.user;
  text += '\0';  // in no user's name that an htpasswd file can hold before its first ':'
  text += sent.password;
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned length = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), out.data(), &length);
  return {reinterpret_cast<const char*>(out.data()), length};
}

bool BasicAuthenticator::remembers(Current& now, const std::string& proof) const {
  const std::lock_guard lock(now.mutex);
  const auto found = now.remembered.find(proof);
  return found != now.remembered.end() && clock_.monotonic() < found->second;
}

void BasicAuthenticator::remember(Current& now, const std::string& proof) const {
  const std::lock_guard lock(now.mutex);
  const auto time = clock_.monotonic();
  if (now.remembered.size() >= max_remembered) {
    std::erase_if(now.remembered, [time](const auto& entry) { return entry.second <= time; });
  }
  // Still full: any one goes; it costs its owner one more hash.
  if (now.remembered.size() >= max_remembered) now.remembered.erase(now.remembered.begin());
  now.remembered.insert_or_assign(proof, time + remember_for);
}

}  // namespace hansa::auth
