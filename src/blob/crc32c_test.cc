#include "blob/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace hansa::blob {
namespace {

// Check values of RFC 3720, B.4.
TEST(Crc32c, GivesThePublishedValues) {
  EXPECT_EQ(crc32c(as_bytes(std::string(32, '\0'))), 0x8A9136AAu);
  EXPECT_EQ(crc32c(as_bytes(std::string(32, '\xff'))), 0x62A8AB43u);
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xE3069283u);
  EXPECT_EQ(crc32c({}), 0u);
}

TEST(Crc32c, FastAndPortableAgreeOnEveryLengthAndStart) {
  std::string data;
  for (int i = 0; i < 20'000; ++i) data += static_cast<char>(i * 31 + i / 7);
  for (std::size_t length = 0; length < data.size(); length += 1 + length / 9) {
    for (std::size_t start = 0; start < 9; ++start) {
      const auto part = as_bytes(std::string_view(data).substr(start, length));
      ASSERT_EQ(crc32c(part), crc32c_portable(part)) << length << " from " << start;
    }
  }
}

TEST(Crc32c, PartsGiveTheSameAsTheWhole) {
  const std::string data(10'007, 'x');
  for (std::size_t cut = 0; cut <= data.size(); cut += 997) {
    const auto whole = as_bytes(data);
    EXPECT_EQ(crc32c(whole.subspan(cut), crc32c(whole.first(cut))), crc32c(whole));
  }
}

}  // namespace
}  // namespace hansa::blob
