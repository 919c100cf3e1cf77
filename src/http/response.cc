#include "http/response.h"

#include <charconv>

#include "http/text.h"

namespace hansa::http {
namespace {

using Part = std::variant<std::string, FileBody>;

struct Length {
  std::optional<std::uint64_t> operator()(const std::monostate&) const { return 0; }
  std::optional<std::uint64_t> operator()(const std::string& text) const { return text.size(); }
  std::optional<std::uint64_t> operator()(const std::shared_ptr<const std::string>& text) const {
    return text == nullptr ? 0 : text->size();
  }
  std::optional<std::uint64_t> operator()(const FileBody& file) const { return file.length; }
  std::optional<std::uint64_t> operator()(const StreamBody& stream) const { return stream.length; }
  std::optional<std::uint64_t> operator()(const std::vector<Part>& parts) const {
    std::uint64_t sum = 0;
    for (const auto& part : parts) sum += *std::visit(*this, part);
    return sum;
  }
};

bool is_servers_business(std::string_view name) {
  return same_name(name, "Content-Length") || same_name(name, "Transfer-Encoding") || same_name(name, "Connection") ||
         same_name(name, "Date");
}

bool breaks_line(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

void append_number(std::string& out, std::uint64_t number) {
  std::array<char, 24> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

}  // namespace

BodyPlan plan_body(const Response& response, const AnswerFacts& facts) {
  const bool never = response.status < 200 || response.status == 204 || response.status == 304;
  if (never) return {};
  const auto length = std::visit(Length{}, response.body);
  if (facts.head) return {.length = response.head_length ? response.head_length : length};
  if (length) return {.send = *length > 0, .length = length};
  return {.send = true, .length = std::nullopt, .chunked = !facts.http10, .until_close = facts.http10};
}

Result<std::string> make_head(const Response& response, const BodyPlan& plan, const AnswerFacts& facts,
                              std::string_view date) {
  constexpr std::size_t usual_head_bytes = 512;
  std::string head;
  head.reserve(usual_head_bytes);
  head += "HTTP/1.1 ";
  append_number(head, static_cast<std::uint64_t>(response.status));
  head += ' ';
  head += reason_phrase(response.status);
  head += "\r\nDate: ";
  head += date;
  head += "\r\n";
  for (const auto& [name, value] : response.headers.fields()) {
    if (is_servers_business(name)) continue;
    if (name.empty() || name.find_first_of(": \t") != std::string::npos || breaks_line(name) || breaks_line(value)) {
      return make_error(ErrorCode::internal, "a response header field holds a line break or has no valid name");
    }
    head += name;
    head += ": ";
    head += value;
    head += "\r\n";
  }
  if (plan.length) {
    head += "Content-Length: ";
    append_number(head, *plan.length);
    head += "\r\n";
  }
  if (plan.chunked) head += "Transfer-Encoding: chunked\r\n";
  if (facts.close || plan.until_close) {
    head += "Connection: close\r\n";
  } else if (facts.http10) {
    head += "Connection: keep-alive\r\n";
  }
  head += "\r\n";
  return head;
}

Response text_response(int status, std::string_view message) {
  Response response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.body =
      std::to_string(status) + " " + std::string(reason_phrase(status)) + ": " + std::string(message) + "\n";
  return response;
}

}  // namespace hansa::http
