// RepositoryName, Tag and Reference: the names of the distribution specification, parsed once at the edge.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "oci/digest.h"

namespace hansa::oci {

inline constexpr std::size_t max_repository_name = 255;  // bytes; the spec advises host and name within 255

// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/...)*: spec.md, "Pulling manifests". Excludes ':' and '@', so that record keys
// need no escaping.
class RepositoryName {
 public:
  RepositoryName() = default;
  static Result<RepositoryName> parse(std::string_view text);  // invalid(name)
  const std::string& text() const { return text_; }
  auto operator<=>(const RepositoryName&) const = default;
  bool operator==(const RepositoryName&) const = default;

 private:
  std::string text_;
};

// [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}
class Tag {
 public:
  Tag() = default;
  static Result<Tag> parse(std::string_view text);  // invalid(tag)
  const std::string& text() const { return text_; }
  auto operator<=>(const Tag&) const = default;
  bool operator==(const Tag&) const = default;

 private:
  std::string text_;
};

// What stands behind /manifests/: a tag or a digest.
using Reference = std::variant<Tag, Digest>;
// A text with ':' is meant as a digest: invalid(digest) if it is not one; otherwise a tag or invalid(tag).
Result<Reference> parse_reference(std::string_view text);
std::string to_string(const Reference& reference);

}  // namespace hansa::oci

template <>
struct std::hash<hansa::oci::RepositoryName> {
  std::size_t operator()(const hansa::oci::RepositoryName& name) const noexcept {
    return std::hash<std::string>{}(name.text());
  }
};
