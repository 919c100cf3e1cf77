#include "http/head_rules.h"

#include "http/text.h"

namespace hansa::http {
namespace {

std::unexpected<Refusal> refuse(int status, std::string message) {
  return std::unexpected(Refusal{status, std::move(message)});
}

}  // namespace

// Rules that are easiest to see on the raw lines.
std::expected<void, Refusal> check_head_lines(std::string_view text) {
  std::size_t at = text.find("\r\n") + 2;
  while (at + 2 < text.size()) {
    const std::size_t end = text.find("\r\n", at);
    const std::string_view line = text.substr(at, end - at);
    at = end + 2;
    if (line.front() == ' ' || line.front() == '\t') {
      return refuse(400, "a header field is folded over several lines");
    }
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) return refuse(400, "a header line without a field name");
    if (line[colon - 1] == ' ' || line[colon - 1] == '\t') {
      return refuse(400, "a space between a header field's name and its colon");
    }
  }
  return {};
}

std::expected<Framing, Refusal> read_framing(const Headers& headers, bool http10) {
  Framing framing;
  const auto lengths = headers.all("Content-Length");
  const auto encodings = headers.all("Transfer-Encoding");
  if (!lengths.empty() && !encodings.empty()) {
    return refuse(400, "Content-Length and Transfer-Encoding in one message");
  }
  if (lengths.size() > 1) return refuse(400, "the Content-Length header field is repeated");
  if (!lengths.empty()) {
    // The top bit stays free, so that sums of two lengths cannot overflow.
    const auto length = parse_decimal(lengths.front());
    if (!length || *length > INT64_MAX) return refuse(400, "the Content-Length header field is not a number of bytes");
    framing.length = *length;
  }
  if (encodings.empty()) return framing;
  if (http10) return refuse(400, "Transfer-Encoding in an HTTP/1.0 message");
  if (encodings.size() > 1) return refuse(400, "the Transfer-Encoding header field is repeated");
  if (!same_name(encodings.front(), "chunked")) {
    return refuse(501, "the only transfer encoding understood is \"chunked\"");
  }
  framing.chunked = true;
  return framing;
}

bool wants_keep_alive(const Headers& headers, bool http10) {
  bool close = false;
  bool keep = false;
  for (const auto value : headers.all("Connection")) {
    close = close || has_token(value, "close");
    keep = keep || has_token(value, "keep-alive");
  }
  return !close && (!http10 || keep);
}

}  // namespace hansa::http
