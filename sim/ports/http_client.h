// ScriptedHttpClient: an HttpClient that answers from a script and remembers what it was asked.
//
//   ScriptedHttpClient http;
//   http.answer("GET", "https://upstream/v2/", {.status = 401, .headers = {{"WWW-Authenticate", "Bearer ..."}}});
//   http.fail("PUT", url, ErrorCode::disconnected);
//   EXPECT_EQ(http.requests().at(0).body, "...");
//
// Answers to the same method and URL are given in the order of the script, each once; the last one stays. What is not
// in the script is ErrorCode::unavailable.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "io/http_client.h"

namespace hansa::sim {

struct ScriptedAnswer {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

struct SeenRequest {
  std::string method;
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

class ScriptedHttpClient final : public io::HttpClient {
 public:
  void answer(const std::string& method, const std::string& url, ScriptedAnswer answer) {
    script_[{method, url}].emplace_back(std::move(answer));
  }
  void fail(const std::string& method, const std::string& url, ErrorCode code) {
    script_[{method, url}].emplace_back(make_error(code, method + " " + url + ": scripted"));
  }
  const std::vector<SeenRequest>& requests() const { return requests_; }

  io::Task<Result<io::HttpAnswer>> send(io::HttpExchange request) override;

 private:
  std::map<std::pair<std::string, std::string>, std::deque<Result<ScriptedAnswer>>> script_;
  std::vector<SeenRequest> requests_;
};

// A source that owns its bytes.
class StringSource final : public io::ByteSource {
 public:
  explicit StringSource(std::string text) : text_(std::move(text)), source_(as_bytes(text_)) {}
  io::Task<Result<std::size_t>> read(Bytes out) override { return source_.read(out); }

 private:
  const std::string text_;
  io::MemorySource source_;
};

}  // namespace hansa::sim
