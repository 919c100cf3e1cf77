#include "meta/store.h"

#include <algorithm>
#include <charconv>

namespace hansa::meta {
namespace {

Error over_limit(std::string_view what, std::size_t have, std::size_t limit) {
  return make_error(ErrorCode::invalid, "a commit has " + std::to_string(have) + " " + std::string(what) +
                                            "; the limit is " + std::to_string(limit));
}

Result<void> check_keys(std::vector<std::string_view> written) {
  for (const auto key : written) {
    if (key.empty()) return make_error(ErrorCode::invalid, "a commit writes an empty key");
    if (key.size() > max_key_bytes) return over_limit("bytes in a key", key.size(), max_key_bytes);
    if (key == head_key) return make_error(ErrorCode::invalid, "the key \"head\" belongs to the store");
  }
  std::ranges::sort(written);
  const auto twice = std::ranges::adjacent_find(written);
  if (twice == written.end()) return {};
  return make_error(ErrorCode::invalid, "a commit writes the key \"" + std::string(*twice) + "\" twice");
}

// The id stands inside JSON text unescaped.
bool plain(std::string_view operation) {
  return !operation.empty() && std::ranges::none_of(operation, [](char c) {
    return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
  });
}

}  // namespace

Result<void> check_limits(const Commit& commit) {
  const std::size_t writes = commit.puts.size() + commit.deletes.size() + 1;  // one is `head`
  if (commit.compares.size() > max_compares) return over_limit("compares", commit.compares.size(), max_compares);
  if (writes > max_writes) return over_limit("writes", writes, max_writes);
  std::size_t bytes = 0;
  std::vector<std::string_view> written;
  for (const auto& put : commit.puts) {
    bytes += put.key.size() + put.value.size();
    written.push_back(put.key);
  }
  for (const auto& key : commit.deletes) {
    bytes += key.size();
    written.push_back(key);
  }
  for (const auto& compare : commit.compares) bytes += compare.key.size();
  if (bytes > max_commit_bytes) return over_limit("bytes", bytes, max_commit_bytes);
  HANSA_CHECK(check_keys(std::move(written)));
  if (plain(commit.operation)) return {};
  return make_error(ErrorCode::invalid, "a commit needs an operation id without quotes and control characters");
}

std::string head_value(std::string_view operation, std::size_t changes) {
  return R"({"op":")" + std::string(operation) + R"(","n":)" + std::to_string(changes) + "}";
}

std::string head_operation(std::string_view value) {
  constexpr std::string_view start = R"({"op":")";
  if (!value.starts_with(start)) return {};
  value.remove_prefix(start.size());
  return std::string(value.substr(0, value.find('"')));
}

std::size_t head_changes(std::string_view value) {
  constexpr std::string_view name = R"("n":)";
  const auto at = value.find(name);
  std::size_t changes = 0;
  if (at != std::string_view::npos) {
    const std::string_view digits = value.substr(at + name.size());
    std::from_chars(digits.data(), digits.data() + digits.size(), changes);
  }
  return changes;
}

}  // namespace hansa::meta
