#include "oci/name.h"

#include <gtest/gtest.h>

namespace hansa::oci {
namespace {

TEST(RepositoryName, AcceptsTheGrammarOfTheSpecification) {
  for (const std::string& good :
       {std::string("a"), std::string("0"), std::string("library/alpine"), std::string("a/b/c/d"), std::string("a.b"),
        std::string("a_b"), std::string("a__b"), std::string("a-b"), std::string("a-----b"), std::string("a.b_c__d-e"),
        std::string("blobs/uploads/manifests/tags"), std::string(255, 'a')}) {
    const auto name = RepositoryName::parse(good);
    ASSERT_TRUE(name) << good;
    EXPECT_EQ(name->text(), good);
  }
}

TEST(RepositoryName, RefusesEverythingElse) {
  for (const std::string& bad :
       {std::string(),      std::string("/"),       std::string("/a"),       std::string("a/"),    std::string("a//b"),
        std::string("A"),   std::string("a..b"),    std::string("a___b"),    std::string("a._b"),  std::string("a-_b"),
        std::string(".a"),  std::string("a."),      std::string("-a"),       std::string("a-"),    std::string("_a"),
        std::string("a_"),  std::string("a/../b"),  std::string("a/./b"),    std::string("a b"),   std::string("a:b"),
        std::string("a@b"), std::string("a\0b", 3), std::string("\xc3\xa4"), std::string(256, 'a')}) {
    const auto name = RepositoryName::parse(bad);
    ASSERT_FALSE(name) << bad;
    EXPECT_EQ(name.error().code, ErrorCode::invalid);
    EXPECT_EQ(name.error().subject, Subject::name);
  }
}

TEST(Tag, AcceptsTheGrammarOfTheSpecification) {
  for (const std::string& good : {std::string("latest"), std::string("_"), std::string("1.0"), std::string("V1_a-b.c"),
                                  std::string("a"), "sha256-" + std::string(64, 'a') + ".sig", std::string(128, 'x')}) {
    const auto tag = Tag::parse(good);
    ASSERT_TRUE(tag) << good;
    EXPECT_EQ(tag->text(), good);
  }
}

TEST(Tag, RefusesEverythingElse) {
  for (const std::string& bad :
       {std::string(), std::string(".a"), std::string("-a"), std::string("a:b"), std::string("a/b"), std::string("a b"),
        std::string("a+b"), std::string("a\n"), std::string("\xc3\xa4"), std::string(129, 'x')}) {
    const auto tag = Tag::parse(bad);
    ASSERT_FALSE(tag) << bad;
    EXPECT_EQ(tag.error().subject, Subject::tag);
  }
}

TEST(Reference, ATextWithAColonIsADigestAndNeverATag) {
  const std::string digest = "sha256:" + std::string(64, 'c');
  auto reference = parse_reference(digest);
  ASSERT_TRUE(reference);
  EXPECT_TRUE(std::holds_alternative<Digest>(*reference));
  EXPECT_EQ(to_string(*reference), digest);

  reference = parse_reference("v1");
  ASSERT_TRUE(reference);
  EXPECT_TRUE(std::holds_alternative<Tag>(*reference));
  EXPECT_EQ(to_string(*reference), "v1");

  reference = parse_reference("sha256:baddigeststring");
  ASSERT_FALSE(reference);
  EXPECT_EQ(reference.error().subject, Subject::digest);
  EXPECT_EQ(parse_reference(".bad").error().subject, Subject::tag);
}

}  // namespace
}  // namespace hansa::oci
