#include "oci/glob.h"

#include <gtest/gtest.h>

namespace hansa::oci {
namespace {

struct Case {
  const char* pattern;
  const char* name;
  bool matches;
};

TEST(Glob, follows_the_rules_of_doublestar) {
  const Case cases[] = {
      {"a", "a", true},
      {"a", "b", false},
      {"a", "a/b", false},
      {"*", "a", true},
      {"*", "a/b", false},
      {"a*", "abc", true},
      {"a*c", "abbc", true},
      {"a*c", "abbcd", false},
      {"*/b", "a/b", true},
      {"**", "a/b/c", true},
      {"**", "a", true},
      {"a/**", "a/b/c", true},
      {"a/**", "a", true},
      {"a/**", "ab/c", false},
      {"**/c", "c", true},
      {"**/c", "a/b/c", true},
      {"**/c", "a/b/cd", false},
      {"a/**/c", "a/c", true},
      {"a/**/c", "a/b/b/c", true},
      {"a/**/b/**/c", "a/x/b/y/z/c", true},
      {"a**", "abc", true},
      {"a**", "a/b", false},
      {"a?c", "abc", true},
      {"a?c", "a/c", false},
      {"a?c", "ac", false},
      {"[a-c]x", "bx", true},
      {"[a-c]x", "dx", false},
      {"[!a-c]x", "dx", true},
      {"[^a-c]x", "ax", false},
      {"{a,b}/x", "b/x", true},
      {"{a,b}/x", "c/x", false},
      {"{a/b,c}/x", "a/b/x", true},
      {"{a,{b,c}d}e", "cde", true},
      {"{a,{b,c}d}e", "bce", false},
      {"{**,x}/y", "p/q/y", true},
      {"a{,b}", "a", true},
      {"a\\*", "a*", true},
      {"a\\*", "ab", false},
      {"[{]a", "{a", true},
      {"*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
      {"**/**/**/**/x", "a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/y", false},
  };
  for (const Case& c : cases) {
    const auto glob = Glob::compile(c.pattern);
    ASSERT_TRUE(glob) << c.pattern << ": " << glob.error().message;
    EXPECT_EQ(glob->matches(c.name), c.matches) << c.pattern << " on " << c.name;
  }
}

TEST(Glob, refuses_patterns_that_are_not_closed_or_too_large) {
  const std::string many = "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}";
  for (const std::string& pattern :
       {std::string("[a"), std::string("a[b/]c"), std::string("{a"), std::string("a}"), std::string("a\\"),
        std::string("[]"), std::string("[!]"), std::string("[z-a]"), std::string(""), many, std::string(2000, 'a')}) {
    const auto glob = Glob::compile(pattern);
    ASSERT_FALSE(glob) << pattern;
    EXPECT_EQ(glob.error().code, ErrorCode::invalid);
  }
}

}  // namespace
}  // namespace hansa::oci
