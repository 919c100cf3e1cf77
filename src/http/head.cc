#include "http/head.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

#include "http/head_rules.h"
#include "http/text.h"

namespace hansa::http {
namespace {

namespace beast = boost::beast;

using Verdict = std::expected<void, Refusal>;

std::unexpected<Refusal> refuse(int status, std::string message) {
  return std::unexpected(Refusal{status, std::move(message)});
}

Method method_of(beast::http::verb verb) {
  switch (verb) {
    case beast::http::verb::get: return Method::get;
    case beast::http::verb::head: return Method::head;
    case beast::http::verb::post: return Method::post;
    case beast::http::verb::put: return Method::put;
    case beast::http::verb::patch: return Method::patch;
    case beast::http::verb::delete_: return Method::del;
    case beast::http::verb::options: return Method::options;
    default: return Method::other;
  }
}

// Beast's grammar, writing straight into our Request.
class Grammar final : public beast::http::basic_parser<true> {
 public:
  explicit Grammar(Request& request) : request_(request) {}
  std::string_view target;
  int version = 11;

 private:
  using error_code = beast::error_code;
  using text = beast::string_view;

  void on_request_impl(beast::http::verb verb, text, text t, int v, error_code&) override {
    request_.method = method_of(verb);
    target = {t.data(), t.size()};
    version = v;
  }
  void on_field_impl(beast::http::field, text name, text value, error_code&) override {
    request_.headers.add(std::string(name.data(), name.size()), std::string(value.data(), value.size()));
  }
  void on_response_impl(int, text, int, error_code&) override {}
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  std::size_t on_body_impl(text, error_code&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t, text, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, text, error_code&) override { return 0; }
  void on_finish_impl(error_code&) override {}

  Request& request_;
};

// "GET / HTTP/2.0" is another version; "GET /a b HTTP/1.1" and "GET / FOO" are nothing.
bool asks_for_other_version(std::string_view text) {
  const std::string_view line = text.substr(0, text.find("\r\n"));
  const std::size_t space = line.rfind(' ');
  return std::ranges::count(line, ' ') == 2 && line.substr(space + 1).starts_with("HTTP/") && line.size() == space + 9;
}

Verdict check_grammar(const beast::error_code& error, std::string_view text) {
  using beast::http::error;
  if (error == error::bad_version && asks_for_other_version(text))
    return refuse(505, "this server speaks HTTP/1.1 and HTTP/1.0");
  if (error == error::bad_content_length || error == error::multiple_content_length) {
    return refuse(400, "the Content-Length header field is malformed or repeated");
  }
  if (error == error::bad_transfer_encoding) {
    return refuse(400, "Transfer-Encoding is repeated or stands beside Content-Length");
  }
  return refuse(400, "the request header is malformed (" + error.message() + ")");
}

bool is_authority(std::string_view host) {
  return std::ranges::all_of(host, [](char c) {
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') ||
           std::string_view("-._~!$&'()*+,;=:[]%").find(c) != std::string_view::npos;
  });
}

Verdict check_host(const Request& request, bool http10) {
  const auto hosts = request.headers.all("Host");
  if (hosts.size() > 1) return refuse(400, "the Host header field is repeated");
  if (hosts.empty()) {
    if (http10) return {};
    return refuse(400, "the Host header field is missing");
  }
  if (!is_authority(hosts.front())) return refuse(400, "the Host header field is malformed");
  return {};
}

// Takes "http://authority" off an absolute URL; the authority wins over the Host field (RFC 9112, 3.2.2).
Verdict take_authority(std::string_view& target, Request& request) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() < scheme.size() || !same_name(target.substr(0, scheme.size()), scheme)) continue;
    target.remove_prefix(scheme.size());
    const std::string_view authority = target.substr(0, target.find_first_of("/?"));
    if (authority.empty() || !is_authority(authority)) return refuse(400, "the URL's host is malformed");
    target.remove_prefix(authority.size());
    request.headers.set("Host", std::string(authority));
    return {};
  }
  return refuse(400, "the request target must be a path or an http URL");
}

Verdict read_target(std::string_view target, Request& request) {
  if (target.size() > max_target) return refuse(414, "the URL is too long");
  if (target == "*") {
    if (request.method != Method::options) return refuse(400, "the target \"*\" is for OPTIONS only");
    request.target = "*";
    return {};
  }
  if (!target.starts_with('/')) {
    if (const auto verdict = take_authority(target, request); !verdict) return verdict;
  }
  request.target = target.starts_with('/') ? std::string(target) : "/" + std::string(target);
  const bool printable =
      std::ranges::all_of(request.target, [](char c) { return static_cast<unsigned char>(c) < 0x80 && c != '#'; });
  if (!printable) return refuse(400, "the URL holds a character that must be percent-encoded");
  auto segments = split_path(request.path());
  if (!segments) return refuse(400, segments.error().message);
  request.segments = std::move(*segments);
  const std::size_t question = request.target.find('?');
  if (question == std::string::npos) return {};
  auto query = Query::parse(std::string_view(request.target).substr(question + 1));
  if (!query) return refuse(400, query.error().message);
  request.query = std::move(*query);
  return {};
}

Verdict read_wishes(const Request& request, Head& head) {
  head.keep_alive = wants_keep_alive(request.headers, head.http10);
  const auto expect = request.headers.get("Expect");
  if (!expect || head.http10) return {};
  if (!same_name(*expect, "100-continue")) return refuse(417, "the only expectation understood is \"100-continue\"");
  head.expect_continue = true;
  return {};
}

}  // namespace

std::expected<Head, Refusal> parse_head(std::string_view text, Request& request) {
  if (const auto verdict = check_head_lines(text); !verdict) return std::unexpected(verdict.error());
  Grammar grammar(request);
  grammar.body_limit(boost::none);
  grammar.header_limit(UINT32_MAX);  // HeadScanner has seen to it
  beast::error_code error;
  grammar.put(boost::asio::const_buffer(text.data(), text.size()), error);
  if (error) return std::unexpected(check_grammar(error, text).error());
  if (!grammar.is_header_done()) return refuse(400, "the request header is malformed");
  Head head{.http10 = grammar.version == 10};
  if (const auto verdict = check_host(request, head.http10); !verdict) return std::unexpected(verdict.error());
  const auto framing = read_framing(request.headers, head.http10);
  if (!framing) return std::unexpected(framing.error());
  request.content_length = framing->length;
  request.chunked = framing->chunked;
  if (const auto verdict = read_target(grammar.target, request); !verdict) return std::unexpected(verdict.error());
  if (const auto verdict = read_wishes(request, head); !verdict) return std::unexpected(verdict.error());
  return head;
}

}  // namespace hansa::http
