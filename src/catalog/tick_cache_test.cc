#include "catalog/tick_cache.h"

#include <gtest/gtest.h>

namespace hansa::catalog {
namespace {

std::string text_of_tick(TickNumber number) {
  TickRecord record;
  record.number = number;
  record.past.push_back({.number = number - 1, .mod = 7});
  return encode(record);
}

TEST(TickCache, GivesWhatTheTextSaysAlsoAfterAnotherTextAndAfterOneThatCannotBeRead) {
  TickCache cache;
  for (const TickNumber number : {5U, 5U, 6U, 5U}) {
    const auto record = cache.decode(text_of_tick(number));
    ASSERT_TRUE(record);
    EXPECT_EQ(record->number, number);
    EXPECT_EQ(record->past.size(), 1U);
  }
  for (const char* text : {"", "{", R"({"f":99})"}) {
    EXPECT_FALSE(cache.decode(text)) << text;
    EXPECT_EQ(cache.decode(text_of_tick(5))->number, 5U);
  }
}

}  // namespace
}  // namespace hansa::catalog
