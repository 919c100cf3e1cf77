#include "registry/body_cache.h"

#include <gtest/gtest.h>

namespace hansa::registry {
namespace {

oci::Digest digest(int n) {
  return oci::Digest::compute(oci::Algorithm::sha256, as_bytes(std::to_string(n)));
}

TEST(BodyCache, KeepsTheOnesUsedLastWithinItsMemory) {
  BodyCache cache(10'000);
  for (int n = 0; n < 100; ++n) {
    cache.insert(digest(n), std::make_shared<const std::string>(1000, 'x'));
    EXPECT_NE(cache.find(digest(0)), nullptr) << "it is used again and again";
  }
  EXPECT_EQ(cache.find(digest(50)), nullptr);
  EXPECT_NE(cache.find(digest(99)), nullptr);
}

// A small text in a large buffer takes the buffer.
TEST(BodyCache, CountsWhatABodyTakesAndNotWhatItSays) {
  BodyCache cache(100'000);
  std::size_t kept = 0;
  for (int n = 0; n < 100; ++n) {
    std::string body(20'000, 'x');
    body.resize(10);
    cache.insert(digest(n), std::make_shared<const std::string>(std::move(body)));
  }
  for (int n = 0; n < 100; ++n) kept += cache.find(digest(n)) != nullptr ? 1 : 0;
  EXPECT_LE(kept, 5U);
}

}  // namespace
}  // namespace hansa::registry
