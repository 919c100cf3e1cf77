#include "base/bytes.h"

namespace hansa {

std::string hex_encode(ConstBytes bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text(bytes.size() * 2, '\0');
  char* out = text.data();
  for (const std::byte value : bytes) {
    const auto number = std::to_integer<unsigned>(value);
    *out++ = digits[number >> 4];
    *out++ = digits[number & 15];
  }
  return text;
}

}  // namespace hansa
