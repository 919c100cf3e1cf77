#include "http/head.h"

#include <gtest/gtest.h>

#include "http/response.h"

namespace hansa::http {
namespace {

struct Parsed {
  int status = 0;  // 0: accepted, -1: incomplete
  std::string message;
  Head head;
  Request request;
};

// Scans `text` in pieces of `step` bytes, then parses.
Parsed parse(std::string_view text, HeadLimits limits = {}, std::size_t step = SIZE_MAX) {
  Parsed parsed;
  HeadScanner scanner(limits);
  std::size_t seen = 0;
  while (seen < text.size()) {
    seen += std::min(step, text.size() - seen);
    const auto length = scanner.scan(text.substr(0, seen));
    if (!length) {
      parsed.status = length.error().status;
      parsed.message = length.error().message;
      return parsed;
    }
    if (*length == 0) continue;
    const auto head = parse_head(text.substr(0, *length), parsed.request);
    if (head) {
      parsed.head = *head;
    } else {
      parsed.status = head.error().status;
      parsed.message = head.error().message;
    }
    return parsed;
  }
  parsed.status = -1;
  return parsed;
}

Parsed parse_fields(const std::string& fields) {
  return parse("POST / HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n");
}

TEST(Head, IsReadTheSameHoweverTheBytesArrive) {
  const std::string text =
      "PUT /v2/a%2Fb/?digest=x%3Ay HTTP/1.1\r\nHost: r.example:5000\r\nContent-Length: 12\r\nX-Empty:\r\nX: \t v v "
      "\r\n\r\n";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    const Parsed parsed = parse(text, {}, step);
    ASSERT_EQ(parsed.status, 0) << parsed.message;
    EXPECT_EQ(parsed.request.method, Method::put);
    EXPECT_EQ(parsed.request.target, "/v2/a%2Fb/?digest=x%3Ay");
    EXPECT_EQ(parsed.request.path(), "/v2/a%2Fb/");
    EXPECT_EQ(parsed.request.segments, (std::vector<std::string>{"v2", "a/b", ""}));
    EXPECT_EQ(parsed.request.query.get("digest"), "x:y");
    EXPECT_EQ(parsed.request.content_length, 12u);
    EXPECT_EQ(parsed.request.headers.get("x-empty"), "");
    EXPECT_EQ(parsed.request.headers.get("x"), "v v");
    EXPECT_TRUE(parsed.head.keep_alive);
  }
}

TEST(Head, LinesAreStrict) {
  const std::string host = "Host: x\r\n";
  for (const std::string text : {
           "GET / HTTP/1.1\nHost: x\r\n\r\n",                  // bare LF
           "GET / HTTP/1.1\r\nHost: x\n\n",                    //
           "GET / HTTP/1.1\r\nHost: x\rY: z\r\n\r\n",          // bare CR
           "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",  // folded
           "GET / HTTP/1.1\r\n Host: x\r\n\r\n",               //
           "GET / HTTP/1.1\r\nHost : x\r\n\r\n",               // space before the colon
           "GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 1\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: x\r\nnocolon\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: x\r\n: v\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: x\r\nA\x01: v\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: x\r\nA(: v\r\n\r\n",
           "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
           "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET /\r\nHost: x\r\n\r\n",
           "G@T / HTTP/1.1\r\nHost: x\r\n\r\n",
       }) {
    EXPECT_EQ(parse(text).status, 400) << text << parse(text).message;
  }
  EXPECT_EQ(parse(std::string_view("GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", 38)).status, 400);
  EXPECT_EQ(parse("GET / HTTP/2.0\r\nHost: x\r\n\r\n").status, 505);
  EXPECT_EQ(parse("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status, 505);
}

TEST(Head, LengthAndEncodingLeaveNoRoomForTwoReadings) {
  for (const char* fields : {
           "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
           "Content-Length: 5\r\nContent-Length: 5\r\n",
           "Content-Length: 5\r\nContent-Length: 6\r\n",
           "Content-Length: 5, 5\r\n",
           "Content-Length: +5\r\n",
           "Content-Length: -5\r\n",
           "Content-Length: 0x5\r\n",
           "Content-Length: 5 5\r\n",
           "Content-Length: \r\n",
           "Content-Length: 99999999999999999999\r\n",
           "Content-Length: 9223372036854775808\r\n",
           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
       }) {
    EXPECT_EQ(parse_fields(fields).status, 400) << fields;
  }
  for (const char* fields :
       {"Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: identity\r\n", "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n", "Transfer-Encoding:\r\n", "Transfer-Encoding: chunked;q=1\r\n"}) {
    EXPECT_EQ(parse_fields(fields).status, 501) << fields;
  }
  EXPECT_TRUE(parse_fields("Transfer-Encoding: Chunked\r\n").request.chunked);
  EXPECT_EQ(parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").status, 400);
}

TEST(Head, HostIsNeededOnceInHttp11) {
  EXPECT_EQ(parse("GET / HTTP/1.1\r\n\r\n").status, 400);
  EXPECT_EQ(parse("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n").status, 400);
  EXPECT_EQ(parse("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n").status, 400);
  EXPECT_EQ(parse("GET / HTTP/1.1\r\nHost: a b\r\n\r\n").status, 400);
  EXPECT_EQ(parse("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n").status, 400);
  EXPECT_EQ(parse("GET / HTTP/1.1\r\nHost: [::1]:5000\r\n\r\n").status, 0);
  EXPECT_EQ(parse("GET / HTTP/1.1\r\nHost:\r\n\r\n").status, 0);
  EXPECT_EQ(parse("GET / HTTP/1.0\r\n\r\n").status, 0);
}

TEST(Head, TargetsOfEveryForm) {
  const Parsed absolute = parse("GET http://other:80/a?b=c HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(absolute.status, 0);
  EXPECT_EQ(absolute.request.target, "/a?b=c");
  EXPECT_EQ(absolute.request.headers.all("Host"), (std::vector<std::string_view>{"other:80"}));
  EXPECT_EQ(parse("GET http://other HTTP/1.1\r\nHost: x\r\n\r\n").request.target, "/");
  EXPECT_EQ(parse("GET http://other?a HTTP/1.1\r\nHost: x\r\n\r\n").request.target, "/?a");
  EXPECT_EQ(parse("GET http://u:p@h/ HTTP/1.1\r\nHost: x\r\n\r\n").status, 400);
  EXPECT_EQ(parse("GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n").status, 400);
  EXPECT_EQ(parse("GET ftp://h/ HTTP/1.1\r\nHost: x\r\n\r\n").status, 400);
  EXPECT_EQ(parse("GET a/b HTTP/1.1\r\nHost: x\r\n\r\n").status, 400);
  EXPECT_EQ(parse("CONNECT h:443 HTTP/1.1\r\nHost: x\r\n\r\n").status, 400);
  EXPECT_EQ(parse("GET * HTTP/1.1\r\nHost: x\r\n\r\n").status, 400);
  const Parsed asterisk = parse("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(asterisk.status, 0);
  EXPECT_EQ(asterisk.request.target, "*");
  EXPECT_TRUE(asterisk.request.segments.empty());
  EXPECT_EQ(parse("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n").status, 400);
  EXPECT_EQ(parse("GET /?a=%1 HTTP/1.1\r\nHost: x\r\n\r\n").status, 400);
  EXPECT_EQ(parse("GET /#f HTTP/1.1\r\nHost: x\r\n\r\n").status, 400);
  EXPECT_EQ(parse("GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n").status, 400);
  EXPECT_EQ(parse("BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n").request.method, Method::other);
}

TEST(Head, LimitsHaveTheirOwnStatus) {
  const std::string begin = "GET / HTTP/1.1\r\nHost: x\r\n";
  EXPECT_EQ(parse("GET /" + std::string(max_target, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n").status, 414);
  EXPECT_EQ(parse("GET /" + std::string(max_target + 100, 'a')).status, 414);  // without waiting for its end
  EXPECT_EQ(parse(begin + "A: " + std::string(70'000, 'a') + "\r\n\r\n").status, 431);
  EXPECT_EQ(parse(begin + "A: " + std::string(70'000, 'a'), {}, 1000).status, 431);
  std::string many = begin;
  for (int i = 1; i < 128; ++i) many += "A: b\r\n";
  EXPECT_EQ(parse(many + "\r\n").status, 0);
  EXPECT_EQ(parse(many + "A: b\r\n\r\n").status, 431);
}

TEST(Head, ConnectionWishes) {
  EXPECT_FALSE(parse_fields("Connection: foo, Close\r\n").head.keep_alive);
  EXPECT_FALSE(parse_fields("Connection: foo\r\nConnection: close\r\n").head.keep_alive);
  EXPECT_TRUE(parse_fields("Connection: closed\r\n").head.keep_alive);
  EXPECT_FALSE(parse("GET / HTTP/1.0\r\n\r\n").head.keep_alive);
  EXPECT_TRUE(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").head.keep_alive);
  EXPECT_TRUE(parse_fields("Expect: 100-Continue\r\n").head.expect_continue);
  EXPECT_EQ(parse_fields("Expect: tea\r\n").status, 417);
}

TEST(ResponseHead, FramesEachKindOfBody) {
  Response response;
  EXPECT_EQ(plan_body(response, {}).length, 0u);
  response.body = "hello";
  EXPECT_EQ(plan_body(response, {}).length, 5u);
  EXPECT_FALSE(plan_body(response, {.head = true}).send);
  response.status = 304;
  EXPECT_FALSE(plan_body(response, {}).length);
  EXPECT_FALSE(plan_body(response, {}).send);
  response.status = 200;
  response.body = StreamBody{};
  EXPECT_TRUE(plan_body(response, {}).chunked);
  EXPECT_TRUE(plan_body(response, {.http10 = true}).until_close);
  EXPECT_FALSE(plan_body(response, {.http10 = true}).chunked);
  response.head_length = 77;
  EXPECT_EQ(plan_body(response, {.head = true}).length, 77u);
}

TEST(ResponseHead, AHandlerCannotBreakTheFormat) {
  Response response;
  response.headers.add("Location", "/a\r\nSet-Cookie: evil");
  EXPECT_FALSE(make_head(response, {}, {}, "now"));
  Response named;
  named.headers.add("A:b", "c");
  EXPECT_FALSE(make_head(named, {}, {}, "now"));
  Response framed;
  framed.headers.add("content-length", "99");
  EXPECT_EQ(*make_head(framed, plan_body(framed, {}), {}, "now"),
            "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 0\r\n\r\n");
}

}  // namespace
}  // namespace hansa::http
