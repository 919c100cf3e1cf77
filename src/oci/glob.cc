#include "oci/glob.h"

#include <algorithm>
#include <optional>

namespace hansa::oci {
namespace {

using Token = Glob::Token;
using Component = Glob::Component;

Error bad(std::string_view pattern, std::string_view why) {
  return make_error(ErrorCode::invalid, Subject::config,
                    "\"" + std::string(pattern) + "\" is no valid pattern: " + std::string(why));
}

// Where the class that opens at `at` ends (its ']'), or npos. A ']' right after the opening is an empty class.
std::size_t class_end(std::string_view text, std::size_t at) {
  for (std::size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == ']') {
      return i;
    }
  }
  return std::string_view::npos;
}

struct Brace {
  std::size_t open = 0;
  std::size_t close = 0;
  std::vector<std::string> choices;
};

// The first outermost {…} of the text. An error: it never closes.
Result<std::optional<Brace>> first_brace(std::string_view text) {
  Brace found;
  std::size_t depth = 0;
  std::string choice;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    std::size_t length = 1;
    if (c == '\\') {
      length = std::min<std::size_t>(2, text.size() - i);
    } else if (c == '[') {
      const std::size_t end = class_end(text, i);
      if (end == std::string_view::npos) return bad(text, "'[' is never closed");
      length = end - i + 1;
    } else if (c == '{') {
      if (depth++ == 0) {
        found.open = i;
        continue;
      }
    } else if (c == '}') {
      if (depth == 0) return bad(text, "'}' without '{'");
      if (--depth == 0) {
        found.close = i;
        found.choices.push_back(choice);
        return std::optional(found);
      }
    } else if (c == ',' && depth == 1) {
      found.choices.push_back(std::exchange(choice, {}));
      continue;
    }
    if (depth > 0) choice += text.substr(i, length);
    i += length - 1;
  }
  if (depth > 0) return bad(text, "'{' is never closed");
  return std::optional<Brace>();
}

// Writes the braces out: "a{b,c}" becomes "ab" and "ac".
Result<std::vector<std::string>> expand(std::string_view pattern) {
  std::vector<std::string> open{std::string(pattern)};
  std::vector<std::string> done;
  while (!open.empty()) {
    const std::string text = std::move(open.back());
    open.pop_back();
    HANSA_TRY(const auto brace, first_brace(text));
    if (!brace) {
      done.push_back(text);
    } else {
      for (const auto& choice : brace->choices) {
        open.push_back(text.substr(0, brace->open) + choice + text.substr(brace->close + 1));
      }
    }
    if (open.size() + done.size() > max_glob_alternatives) {
      return bad(pattern, "its braces stand for more than " + std::to_string(max_glob_alternatives) + " patterns");
    }
  }
  return done;
}

Result<Token> compile_class(std::string_view inside) {
  Token token{.kind = Token::Kind::one_of, .ranges = {}};
  if (!inside.empty() && (inside.front() == '!' || inside.front() == '^')) {
    token.negated = true;
    inside.remove_prefix(1);
  }
  if (inside.empty()) return bad(inside, "an empty class []");
  std::size_t i = 0;
  const auto next = [&]() -> char {
    if (inside[i] == '\\' && i + 1 < inside.size()) ++i;
    return inside[i++];
  };
  while (i < inside.size()) {
    const char low = next();
    char high = low;
    if (i + 1 < inside.size() && inside[i] == '-') {
      ++i;
      high = next();
    }
    if (high < low) return bad(inside, "a range of a class runs backwards");
    token.ranges.emplace_back(low, high);
  }
  return token;
}

Result<Component> compile_component(std::string_view text) {
  Component component;
  if (text == "**") {
    component.any_depth = true;
    return component;
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '*') {
      const bool again = !component.tokens.empty() && component.tokens.back().kind == Token::Kind::star;
      if (!again) component.tokens.push_back({.kind = Token::Kind::star, .ranges = {}});
    } else if (c == '?') {
      component.tokens.push_back({.kind = Token::Kind::any, .ranges = {}});
    } else if (c == '[') {
      const std::size_t end = class_end(text, i);
      if (end == std::string_view::npos) return bad(text, "'[' is never closed within its path component");
      HANSA_TRY(auto token, compile_class(text.substr(i + 1, end - i - 1)));
      component.tokens.push_back(std::move(token));
      i = end;
    } else {
      if (c == '\\' && ++i == text.size()) return bad(text, "it ends with a lone backslash");
      component.tokens.push_back({.kind = Token::Kind::literal, .literal = text[i], .ranges = {}});
    }
  }
  return component;
}

bool fits(const Token& token, char c) {
  switch (token.kind) {
    case Token::Kind::literal: return token.literal == c;
    case Token::Kind::any: return true;
    case Token::Kind::star: return false;
    case Token::Kind::one_of: break;
  }
  const bool inside =
      std::ranges::any_of(token.ranges, [c](const auto& range) { return range.first <= c && c <= range.second; });
  return inside != token.negated;
}

// Only the last star is ever tried again, since an earlier one could not do better.
bool fits(const std::vector<Token>& tokens, std::string_view text) {
  std::size_t t = 0;
  std::size_t i = 0;
  std::size_t star = std::string_view::npos;
  std::size_t star_text = 0;
  while (i < text.size()) {
    if (t < tokens.size() && tokens[t].kind == Token::Kind::star) {
      star = t++;
      star_text = i;
    } else if (t < tokens.size() && fits(tokens[t], text[i])) {
      ++t;
      ++i;
    } else if (star != std::string_view::npos) {
      t = star + 1;
      i = ++star_text;
    } else {
      return false;
    }
  }
  while (t < tokens.size() && tokens[t].kind == Token::Kind::star) ++t;
  return t == tokens.size();
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (std::size_t start = 0;;) {
    const std::size_t end = text.find('/', start);
    parts.push_back(text.substr(start, end == std::string_view::npos ? end : end - start));
    if (end == std::string_view::npos) return parts;
    start = end + 1;
  }
}

bool fits(const std::vector<Component>& pattern, const std::vector<std::string_view>& parts) {
  // reach[j]: the components so far cover the first j parts.
  std::vector<bool> reach(parts.size() + 1, false);
  reach[0] = true;
  for (const Component& component : pattern) {
    std::vector<bool> next(parts.size() + 1, false);
    if (component.any_depth) {
      bool any = false;
      for (std::size_t j = 0; j <= parts.size(); ++j) next[j] = any = any || reach[j];
    } else {
      for (std::size_t j = 0; j < parts.size(); ++j) next[j + 1] = reach[j] && fits(component.tokens, parts[j]);
    }
    reach = std::move(next);
  }
  return reach[parts.size()];
}

}  // namespace

Result<Glob> Glob::compile(std::string_view pattern) {
  if (pattern.empty()) return bad(pattern, "it is empty");
  if (pattern.size() > max_glob) return bad(pattern, "it is longer than " + std::to_string(max_glob) + " bytes");
  Glob glob;
  glob.text_ = pattern;
  HANSA_TRY(const auto texts, expand(pattern));
  for (const auto& text : texts) {
    Pattern alternative;
    for (const auto part : split(text)) {
      auto component = compile_component(part);
      if (!component) return bad(pattern, component.error().message);
      alternative.push_back(std::move(*component));
    }
    glob.alternatives_.push_back(std::move(alternative));
  }
  return glob;
}

bool Glob::matches(std::string_view name) const {
  const auto parts = split(name);
  return std::ranges::any_of(alternatives_, [&parts](const Pattern& pattern) { return fits(pattern, parts); });
}

}  // namespace hansa::oci
