// Reader: typed access to a checked tree by the paths of the key table. A key that is absent has the table's default.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "auth/policy.h"
#include "io/time.h"
#include "server/config/check.h"
#include "server/config/value.h"

namespace hansa::server::config {

class Reader {
 public:
  // `tree` comes from check() and outlives the reader.
  explicit Reader(const Value& tree);

  const Value* find(std::string_view path) const;  // null: absent
  bool has(std::string_view path) const { return find(path) != nullptr; }
  std::string text(std::string_view path) const;
  std::vector<std::string> texts(std::string_view path) const;
  bool flag(std::string_view path) const;
  std::int64_t integer(std::string_view path) const;
  io::Duration duration(std::string_view path) const;

 private:
  const Value& tree_;
  std::map<std::string, std::string, std::less<>> defaults_;  // path -> as a file would write it
};

// http.accessControl; null: absent (or wrong, see `problems`).
std::shared_ptr<const auth::ConfiguredPolicy> read_policy(const Reader& in, Problems& problems);

}  // namespace hansa::server::config
