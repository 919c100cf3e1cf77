#include "base/bytes.h"

namespace hansa {

std::string hex_encode(ConstBytes bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte value : bytes) {
    const auto number = std::to_integer<unsigned>(value);
    text += digits[number >> 4];
    text += digits[number & 15];
  }
  return text;
}

}  // namespace hansa
