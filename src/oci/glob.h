// Glob: patterns of repository names as zot's configuration writes them (the rules of doublestar v4).
//
//   *       any run of characters within one path component
//   **      as a whole component: any number of components, also none, so "a/**" matches "a"; elsewhere like *
//   ?       one character but '/'
//   [a-z]   one character of the class; [!a-z] and [^a-z] one outside it; never '/'
//   {a,b}   either text; may nest and may hold '/'
//   \x      the character x itself
//
// A match covers the whole name. Matching takes time proportional to pattern x name: no pattern backtracks without end.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace hansa::oci {

inline constexpr std::size_t max_glob = 1024;              // bytes of a pattern
inline constexpr std::size_t max_glob_alternatives = 256;  // after all braces are written out

// Immutable; thread-safe.
class Glob {
 public:
  // invalid(config): an open bracket, brace or escape, an empty class, or over a limit.
  static Result<Glob> compile(std::string_view pattern);
  bool matches(std::string_view name) const;
  const std::string& text() const { return text_; }

  struct Token {
    enum class Kind : std::uint8_t { literal, any, star, one_of } kind = Kind::literal;
    char literal = 0;
    bool negated = false;
    std::vector<std::pair<char, char>> ranges;
  };
  struct Component {
    bool any_depth = false;  // "**"
    std::vector<Token> tokens;
  };

 private:
  using Pattern = std::vector<Component>;  // one alternative
  std::string text_;
  std::vector<Pattern> alternatives_;
};

}  // namespace hansa::oci
