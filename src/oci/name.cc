#include "oci/name.h"

#include <type_traits>

namespace hansa::oci {
namespace {

constexpr std::size_t max_tag = 128;  // bytes
constexpr std::size_t shown = 160;    // of a bad name in an error message

bool is_lower_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool is_alnum(char c) {
  return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

// What may stand between two runs of letters and digits: one dot, one or two underscores, any number of dashes.
bool is_separator(std::string_view text) {
  if (text == "." || text == "_" || text == "__") return true;
  return !text.empty() && text.find_first_not_of('-') == std::string_view::npos;
}

bool is_component(std::string_view text) {
  std::size_t at = 0;
  while (true) {
    const std::size_t word = at;
    while (at < text.size() && is_lower_alnum(text[at])) ++at;
    if (at == word) return false;
    if (at == text.size()) return true;
    const std::size_t separator = at;
    while (at < text.size() && !is_lower_alnum(text[at])) ++at;
    if (!is_separator(text.substr(separator, at - separator))) return false;
  }
}

}  // namespace

Result<RepositoryName> RepositoryName::parse(std::string_view text) {
  const auto refuse = [&](std::string_view why) {
    return make_error(ErrorCode::invalid, Subject::name,
                      "\"" + std::string(text.substr(0, shown)) + "\" is not a repository name: " + std::string(why));
  };
  if (text.empty()) return refuse("it is empty");
  if (text.size() > max_repository_name) {
    return refuse("it is longer than " + std::to_string(max_repository_name) + " characters");
  }
  std::size_t start = 0;
  while (true) {
    const std::size_t slash = text.find('/', start);
    if (!is_component(text.substr(start, slash == std::string_view::npos ? slash : slash - start))) {
      return refuse(
          "each part between slashes must be lower-case letters and digits, separated by one of . _ __ or dashes");
    }
    if (slash == std::string_view::npos) break;
    start = slash + 1;
  }
  RepositoryName name;
  name.text_ = text;
  return name;
}

Result<Tag> Tag::parse(std::string_view text) {
  bool good = !text.empty() && text.size() <= max_tag && (is_alnum(text.front()) || text.front() == '_');
  for (const char c : text) good = good && (is_alnum(c) || c == '_' || c == '.' || c == '-');
  if (!good) {
    return make_error(ErrorCode::invalid, Subject::tag,
                      "\"" + std::string(text.substr(0, shown)) +
                          "\" is not a tag: 1 to 128 letters, digits, '_', '.' or '-', not starting with '.' or '-'");
  }
  Tag tag;
  tag.text_ = text;
  return tag;
}

Result<Reference> parse_reference(std::string_view text) {
  if (text.find(':') != std::string_view::npos) {
    HANSA_TRY(const Digest digest, Digest::parse(text));
    return Reference(digest);
  }
  HANSA_TRY(Tag tag, Tag::parse(text));
  return Reference(std::move(tag));
}

std::string to_string(const Reference& reference) {
  return std::visit([](const auto& value) { return std::string(value.text()); }, reference);
}

}  // namespace hansa::oci
