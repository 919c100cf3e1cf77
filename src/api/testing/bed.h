// What the tests of the API share: a handler with a known authenticator, a recording log and made-up requests.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "api/access_log.h"
#include "api/api.h"
#include "http/text.h"
#include "sim/ports/clock.h"
#include "sim/ports/world.h"

namespace hansa::api::testing {

// "alice" may do everything, "bob" may read; the anonymous caller may what `anonymous` says.
class Rights final : public auth::AccessPolicy {
 public:
  bool anonymous_reads = false;
  bool anonymous_all = false;
  bool allows(const auth::Identity& who, auth::Action action, const oci::RepositoryName&) const override {
    if (who.user == "alice" || (who.anonymous() && anonymous_all)) return true;
    return action == auth::Action::read && (who.user == "bob" || anonymous_reads);
  }
  bool is_admin(const auth::Identity& who) const override { return who.user == "alice"; }
};

// Authorization: the bare user name.
class Users final : public auth::Authenticator {
 public:
  std::shared_ptr<Rights> rights = std::make_shared<Rights>();
  bool on = false;
  auth::Credentials last;
  io::Task<Result<auth::Access>> authenticate(auth::Credentials credentials) override {
    last = credentials;
    if (!credentials.authorization) {
      if (!on || rights->anonymous_reads) co_return auth::Access({}, rights);
      co_return make_error(ErrorCode::unauthenticated, "no credentials were sent");
    }
    if (*credentials.authorization != "alice" && *credentials.authorization != "bob") {
      co_return make_error(ErrorCode::unauthenticated, "wrong password");
    }
    co_return auth::Access({.user = *credentials.authorization, .groups = {}}, rights);
  }
  bool enabled() const override { return on; }
  std::string challenge() const override { return R"(Basic realm="here")"; }
  bool may_read_metrics(const auth::Identity& who) const override { return !on || who.user == "alice"; }
};

class RecordingLog final : public Logger {
 public:
  struct Line {
    std::string message;
    std::map<std::string, std::string> fields;
  };
  std::vector<Line> lines;
  bool enabled(LogLevel) const override { return true; }
  void write(LogLevel, std::string_view message, LogFields fields, const std::source_location&) override {
    Line line{.message = std::string(message), .fields = {}};
    for (const auto& field : fields) line.fields[std::string(field.key)] = std::visit(text_of, field.value);
    lines.push_back(std::move(line));
  }

 private:
  static constexpr auto text_of = [](const auto& value) -> std::string {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string>) {
      return value;
    } else {
      return std::to_string(value);
    }
  };
};

using Fields = std::vector<std::pair<std::string, std::string>>;

class Bed {
 public:
  explicit Bed(registry::Registry& store) : registry(store) { users.rights->anonymous_all = true; }

  Services services() {
    return {.registry = registry,
            .authenticator = users,
            .metrics = metrics,
            .log = log,
            .clock = clock,
            .live = {},
            .ready = ready,
            .started = {},
            .options = options,
            .cluster = {}};
  }
  void set_routes(std::vector<Route> routes) { handler = make_handler(services(), std::move(routes)); }

  // `body` is declared by Content-Length unless `chunked`.
  http::Response send(http::Method method, const std::string& target, const Fields& fields = {},
                      const std::string& body = "", bool chunked = false) {
    http::Request request;
    request.method = method;
    request.target = target;
    const std::size_t question = target.find('?');
    auto segments = http::split_path(target.substr(0, question));
    EXPECT_TRUE(segments) << target;
    request.segments = std::move(*segments);
    if (question != std::string::npos) {
      auto query = http::Query::parse(target.substr(question + 1));
      EXPECT_TRUE(query) << target;
      request.query = std::move(*query);
    }
    for (const auto& [name, value] : fields) request.headers.add(name, value);
    request.chunked = chunked;
    if (!chunked && !body.empty()) request.content_length = body.size();
    request.connection.client = "192.0.2.1";
    request.connection.certificate_name = "carol";
    io::MemorySource source(as_bytes(body));
    request.body = &source;
    return sim::run(world, executor, handler(request));
  }
  http::Response get(const std::string& target, const Fields& fields = {}) {
    return send(http::Method::get, target, fields);
  }

  sim::World world{{.seed = 3}};
  sim::SimExecutor executor{world, "loop"};
  sim::SimClock clock{world, "node"};
  registry::Registry& registry;
  Users users;
  RecordingLog log;
  metrics::ServerMetrics metrics{{.version = "t", .spec_version = "1.1.1", .commit = ""}};
  std::function<bool()> ready;
  Options options;
  http::Handler handler;
};

inline std::string header(const http::Response& response, std::string_view name) {
  return std::string(response.headers.get(name).value_or("(absent)"));
}

inline std::string text_of(const http::Response& response) {
  if (const auto* text = std::get_if<std::string>(&response.body)) return *text;
  if (const auto* text = std::get_if<std::shared_ptr<const std::string>>(&response.body)) return **text;
  return "";
}

// The response has this status and the one error code, in the specification's form.
inline void expect_error(const http::Response& response, int status, std::string_view code) {
  EXPECT_EQ(response.status, status) << text_of(response);
  EXPECT_EQ(header(response, "Content-Type"), "application/json");
  const std::string start = R"({"errors":[{"code":")" + std::string(code) + "\"";
  EXPECT_EQ(text_of(response).substr(0, start.size()), start);
}

}  // namespace hansa::api::testing
