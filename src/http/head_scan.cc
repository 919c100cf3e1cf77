#include "http/head.h"

namespace hansa::http {

std::expected<std::size_t, Refusal> HeadScanner::scan(std::string_view text) {
  for (; scanned_ < text.size(); ++scanned_) {
    const char c = text[scanned_];
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) [[likely]]
      continue;
    if (c == '\t') continue;
    if (c == '\r') {
      if (scanned_ + 1 == text.size()) break;  // the LF has not arrived yet
      if (text[scanned_ + 1] != '\n') {
        return std::unexpected(Refusal{400, "a carriage return inside of the header"});
      }
      continue;
    }
    if (c != '\n') return std::unexpected(Refusal{400, "a control character in the header"});
    if (scanned_ == 0 || text[scanned_ - 1] != '\r') {
      return std::unexpected(Refusal{400, "a line of the header does not end in CR LF"});
    }
    if (scanned_ - line_start_ == 1) {  // the empty line
      if (scanned_ >= limits_.bytes) break;
      return scanned_ + 1;
    }
    if (++lines_ > limits_.fields + 1) return std::unexpected(Refusal{431, "there are too many header fields"});
    line_start_ = scanned_ + 1;
  }
  // Whoever is past the limit without an end will not be let in by more bytes.
  if (lines_ == 0 && text.size() > max_target + 64) return std::unexpected(Refusal{414, "the URL is too long"});
  if (text.size() >= limits_.bytes) return std::unexpected(Refusal{431, "the header is too large"});
  return 0;
}

}  // namespace hansa::http
