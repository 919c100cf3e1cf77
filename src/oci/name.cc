#include "oci/name.h"

#include <algorithm>

namespace hansa::oci {
namespace {

constexpr std::size_t max_tag = 128;  // spec.md: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_word(char c) { return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '_'; }

// One path component: alphanumeric runs joined by ".", "_", "__" or any number of "-".
bool is_component(std::string_view text) {
  std::size_t i = 0;
  while (true) {
    const std::size_t start = i;
    while (i < text.size() && is_lower_or_digit(text[i])) ++i;
    if (i == start) return false;  // every run has at least one character
    if (i == text.size()) return true;
    const std::size_t separator = i;
    while (i < text.size() && !is_lower_or_digit(text[i])) ++i;
    const std::string_view joint = text.substr(separator, i - separator);
    const bool dashes = joint.find_first_not_of('-') == std::string_view::npos;
    if (!dashes && joint != "." && joint != "_" && joint != "__") return false;
  }
}

std::string quoted(std::string_view text) { return "\"" + std::string(text.substr(0, 300)) + "\""; }

}  // namespace

Result<RepositoryName> RepositoryName::parse(std::string_view text) {
  if (text.size() > max_repository_name) {
    return make_error(ErrorCode::invalid, Subject::name,
                      "the repository name is longer than " + std::to_string(max_repository_name) + " bytes");
  }
  std::string_view rest = text;
  while (true) {
    const auto slash = rest.find('/');
    if (!is_component(rest.substr(0, slash))) {
      return make_error(ErrorCode::invalid, Subject::name,
                        quoted(text) + " is not a repository name: components of a-z and 0-9, joined by '.', '_', "
                                       "'__' or dashes, separated by '/'");
    }
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  RepositoryName name;
  name.text_ = text;
  return name;
}

Result<Tag> Tag::parse(std::string_view text) {
  const bool fits = !text.empty() && text.size() <= max_tag && is_word(text.front()) &&
                    std::ranges::all_of(text, [](char c) { return is_word(c) || c == '.' || c == '-'; });
  if (!fits) {
    return make_error(ErrorCode::invalid, Subject::tag,
                      quoted(text) + " is not a tag: up to 128 of a-z, A-Z, 0-9, '_', '.', '-', not beginning with "
                                     "'.' or '-'");
  }
  Tag tag;
  tag.text_ = text;
  return tag;
}

Result<Reference> parse_reference(std::string_view text) {
  if (text.find(':') != std::string_view::npos) {
    HANSA_TRY(Digest digest, Digest::parse(text));
    return Reference(digest);
  }
  HANSA_TRY(Tag tag, Tag::parse(text));
  return Reference(std::move(tag));
}

std::string to_string(const Reference& reference) {
  if (const auto* tag = std::get_if<Tag>(&reference)) return tag->text();
  return std::get<Digest>(reference).text();
}

}  // namespace hansa::oci
