#include "http/response_head.h"

#include "http/head_rules.h"
#include "http/text.h"

namespace hansa::http {
namespace {

constexpr std::size_t status_at = 9;     // "HTTP/1.1 "
constexpr std::size_t status_line = 12;  // "HTTP/1.1 200"

std::unexpected<Refusal> refuse(std::string message) {
  return std::unexpected(Refusal{0, std::move(message)});
}

bool is_token(std::string_view name) {
  for (const char c : name) {
    const bool letter = lower(c) >= 'a' && lower(c) <= 'z';
    if (!letter && !is_digit(c) && std::string_view("!#$%&'*+-.^_`|~").find(c) == std::string_view::npos) return false;
  }
  return !name.empty();
}

// "HTTP/1.1 200 OK"; the phrase may be empty (RFC 9112, 4). The version's last digit, or -1.
int read_status_line(std::string_view line, int& status) {
  if (line.size() < status_line || !line.starts_with("HTTP/1.") || line[status_at - 1] != ' ') return -1;
  if (line.size() > status_line && line[status_line] != ' ') return -1;
  const char minor = line[status_at - 2];
  const auto number = parse_decimal(line.substr(status_at, 3));
  if ((minor != '0' && minor != '1') || !number || *number < 100 || *number > 599) return -1;
  status = static_cast<int>(*number);
  return minor - '0';
}

}  // namespace

std::expected<ResponseHead, Refusal> parse_response_head(std::string_view text) {
  ResponseHead head;
  std::size_t at = text.find("\r\n");
  if (at == std::string_view::npos) return refuse("the status line does not end");
  const int minor = read_status_line(text.substr(0, at), head.status);
  if (minor < 0) return refuse("the answer does not begin with a status line of HTTP/1.1 or HTTP/1.0");
  if (const auto verdict = check_head_lines(text); !verdict) return std::unexpected(verdict.error());
  at += 2;
  while (at + 2 < text.size()) {
    const std::size_t end = text.find("\r\n", at);
    const std::string_view line = text.substr(at, end - at);
    at = end + 2;
    const std::size_t colon = line.find(':');
    if (!is_token(line.substr(0, colon))) return refuse("a header field's name holds what no name may hold");
    head.headers.add(std::string(line.substr(0, colon)), std::string(trimmed(line.substr(colon + 1))));
  }
  const bool http10 = minor == 0;
  const auto framing = read_framing(head.headers, http10);
  if (!framing) return std::unexpected(framing.error());
  head.content_length = framing->length;
  head.chunked = framing->chunked;
  head.keep_alive = wants_keep_alive(head.headers, http10);
  return head;
}

bool may_have_body(const ResponseHead& head, bool to_head) {
  return !to_head && head.status >= 200 && head.status != 204 && head.status != 304;
}

}  // namespace hansa::http
