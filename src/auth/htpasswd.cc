#include "auth/htpasswd.h"

#include <crypt.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <iterator>
#include <memory>

namespace hansa::auth {
namespace {

bool is_supported(std::string_view hash) {
  for (const std::string_view prefix : {"$2a$", "$2b$", "$2y$", "$5$", "$6$"}) {
    if (hash.starts_with(prefix)) return true;
  }
  return false;
}

// A hash that no password has, with bcrypt's usual cost: for files without users.
constexpr const char* nobody = "$2b$10$abcdefghijklmnopqrstuu5s6lLRlo2dcx/xUxZZZZZZZZZZZZZZ.";

bool same(const std::string& hash, const std::string& password) {
  // About 32 KiB: too large for a coroutine's or a pool thread's stack to be taken lightly.
  auto data = std::make_unique<crypt_data>();
  const char* computed = crypt_r(password.c_str(), hash.c_str(), data.get());
  const std::string_view text = computed == nullptr ? std::string_view() : std::string_view(computed);
  const bool equal = text.size() == hash.size() && CRYPTO_memcmp(text.data(), hash.data(), hash.size()) == 0;
  OPENSSL_cleanse(data.get(), sizeof(crypt_data));
  return equal;
}

}  // namespace

Htpasswd Htpasswd::parse(std::string_view text) {
  Htpasswd file;
  std::size_t number = 0;
  while (!text.empty()) {
    ++number;
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view user = line.substr(0, colon);
    const std::string_view hash = line.substr(colon + 1);
    const std::string where = "line " + std::to_string(number) + ": ";
    if (user.empty() || user.size() > max_user) {
      file.warnings_.push_back(where + "the user's name is empty or too long; left out");
    } else if (!is_supported(hash)) {
      file.warnings_.push_back(where + "the password of \"" + std::string(user) +
                               "\" is not hashed by bcrypt or SHA-crypt; left out (use htpasswd -B)");
    } else {
      file.hashes_.insert_or_assign(std::string(user), std::string(hash));
    }
  }
  if (file.hashes_.empty()) file.warnings_.emplace_back("no user at all: nobody can log in");
  return file;
}

bool Htpasswd::verify(const std::string& user, const std::string& password, std::uint64_t salt) const {
  // crypt() stops at NUL, so a password with one would equal its beginning.
  const bool usable = password.size() <= max_password && password.find('\0') == std::string::npos;
  const auto found = hashes_.find(user);
  if (found != hashes_.end() && usable) return same(found->second, password);
  std::string hash = nobody;
  if (!hashes_.empty()) {
    hash = std::next(hashes_.begin(), static_cast<std::ptrdiff_t>(salt % hashes_.size()))->second;
  }
  static_cast<void>(same(hash, password.substr(0, max_password)));
  return false;
}

}  // namespace hansa::auth
