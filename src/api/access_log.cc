#include "api/access_log.h"

#include <array>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "http/text.h"

namespace hansa::api {
namespace {

bool is_secret(std::string_view name) {
  return http::same_name(name, "Authorization") || http::same_name(name, "Cookie") ||
         http::same_name(name, "Proxy-Authorization");
}

std::string headers_text(const http::Headers& headers) {
  std::map<std::string, std::vector<std::string>> fields;
  for (const auto& [name, value] : headers.fields()) fields[name].push_back(is_secret(name) ? "******" : value);
  return nlohmann::json(fields).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string seconds_text(io::Duration latency) {
  std::array<char, 32> text{};
  const double seconds = std::chrono::duration<double>(latency).count();
  std::snprintf(text.data(), text.size(), "%.6fs", seconds);
  return text.data();
}

struct SizeOf {
  std::uint64_t operator()(std::monostate) const { return 0; }
  std::uint64_t operator()(const std::string& text) const { return text.size(); }
  std::uint64_t operator()(const std::shared_ptr<const std::string>& text) const { return text ? text->size() : 0; }
  std::uint64_t operator()(const http::FileBody& file) const { return file.length; }
  std::uint64_t operator()(const http::StreamBody& stream) const { return stream.length.value_or(0); }
  std::uint64_t operator()(const std::vector<std::variant<std::string, http::FileBody>>& parts) const {
    std::uint64_t sum = 0;
    for (const auto& part : parts) sum += std::visit(*this, part);
    return sum;
  }
};

}  // namespace

std::uint64_t body_size(const http::Body& body) {
  return std::visit(SizeOf{}, body);
}

std::string loggable_target(const http::Request& request) {
  if (!request.query.has("ticket")) return request.target;
  return std::string(request.path()) + "?ticket=******";
}

void log_access(Logger& log, const http::Request& request, const http::Response& response, const std::string& user,
                io::Duration latency) {
  if (!log.enabled(LogLevel::info)) return;
  const std::string_view method = http::to_string(request.method);
  const std::uint64_t size = body_size(response.body);
  const std::string headers = headers_text(request.headers);
  const std::string taken = seconds_text(latency);
  const std::string target = loggable_target(request);
  if (user.empty()) {
    log.info("HTTP API", {{"module", "http"},
                          {"component", "session"},
                          {"clientIP", request.connection.client},
                          {"method", method},
                          {"path", target},
                          {"statusCode", response.status},
                          {"latency", taken},
                          {"bodySize", size},
                          {"headers", headers}});
    return;
  }
  log.info("HTTP API", {{"module", "http"},
                        {"username", user},
                        {"component", "session"},
                        {"clientIP", request.connection.client},
                        {"method", method},
                        {"path", target},
                        {"statusCode", response.status},
                        {"latency", taken},
                        {"bodySize", size},
                        {"headers", headers}});
}

void log_audit(Logger& audit, const http::Request& request, const http::Response& response, const std::string& user) {
  const bool change = request.method == http::Method::post || request.method == http::Method::put ||
                      request.method == http::Method::patch || request.method == http::Method::del;
  const bool done = response.status >= 200 && response.status <= 202;
  if (!change || !done) return;
  audit.info("HTTP API Audit", {{"component", "session"},
                                {"clientIP", request.connection.client},
                                {"subject", user.empty() ? std::string("anonymous") : user},
                                {"action", http::to_string(request.method)},
                                {"object", loggable_target(request)},
                                {"status", response.status}});
}

}  // namespace hansa::api
