// Htpasswd: users and password hashes as Apache's htpasswd writes them: one "user:hash" per line.
//
// Hashes: bcrypt ($2a$, $2b$, $2y$) and SHA-crypt ($5$, $6$, with rounds). Others (MD5, SHA-1, plain text) are not
// secure and are left out with a warning. The first ':' divides; lines without one are ignored; the last line of a
// user counts.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hansa::auth {

inline constexpr std::size_t max_password = 512;  // bytes; what crypt(3) takes
inline constexpr std::size_t max_user = 256;      // bytes

// Immutable; thread-safe.
class Htpasswd {
 public:
  // Never fails; `warnings` tells what was left out, without any hash.
  static Htpasswd parse(std::string_view text);

  // Is it this user's password? Slow on purpose (tens of milliseconds): call it on Pool::auth. An unknown user costs
  // as much as a known one: `salt`, the same for the same name, chooses whose hash is computed, in vain.
  bool verify(const std::string& user, const std::string& password, std::uint64_t salt) const;

  std::size_t size() const { return hashes_.size(); }
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  std::map<std::string, std::string, std::less<>> hashes_;
  std::vector<std::string> warnings_;
};

}  // namespace hansa::auth
