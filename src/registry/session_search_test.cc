#include "registry/session_search.h"

#include <gtest/gtest.h>

namespace hansa::registry {
namespace {

TEST(ChooseOwner, TheGreatestTermIsBelievedThenWhoHasItOpenThenTheMostBytesThenTheOpener) {
  const io::NodeId n1("n1");
  const io::NodeId n2("n2");
  const io::NodeId n3("n3");
  EXPECT_FALSE(choose_owner({}, n1));
  const auto chosen = [&n1](std::vector<SessionClaim> claims) { return choose_owner(claims, n1)->best.node.value(); };
  EXPECT_EQ(chosen({{n1, 0, true, 9}, {n2, 1, false, 5}, {n3, 0, false, 20}}), "n2");
  EXPECT_EQ(chosen({{n2, 0, false, 9}, {n3, 0, true, 5}}), "n3");
  EXPECT_EQ(chosen({{n1, 0, false, 5}, {n2, 0, false, 6}}), "n2");
  EXPECT_EQ(chosen({{n1, 0, false, 5}, {n2, 0, false, 5}}), "n1");
  EXPECT_EQ(choose_owner({{n1, 0, true, 9}, {n2, 4, false, 5}}, n1)->next_term, 5U);
  EXPECT_FALSE(choose_owner({{n1, 0, false, 5}, {n2, 0, false, 5}}, n1)->unsure);
  EXPECT_TRUE(choose_owner({{n1, 0, false, 6}, {n2, 0, false, 5}}, n1)->unsure);
  EXPECT_TRUE(choose_owner({{n2, 0, false, 5}}, n1)->unsure);
}

}  // namespace
}  // namespace hansa::registry
