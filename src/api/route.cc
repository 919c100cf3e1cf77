#include "api/route.h"

#include <algorithm>

#include "base/assert.h"

namespace hansa::api {
namespace {

constexpr std::string_view parameter_mark = "{";  // no literal segment of ours begins with a brace

std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> segments;
  path.remove_prefix(1);  // every pattern begins with '/'
  while (true) {
    const std::size_t slash = path.find('/');
    segments.emplace_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

// Does one segment fit one of a pattern? A parameter is noted.
bool fits_segment(const std::string& expected, const std::string& segment, std::string_view& parameter) {
  if (expected != parameter_mark) return expected == segment;
  if (segment.empty()) return false;
  parameter = segment;
  return true;
}

}  // namespace

RouteTable::RouteTable(std::vector<Route> routes) : routes_(std::move(routes)) {
  patterns_.reserve(routes_.size());
  for (const auto& route : routes_) {
    HANSA_ASSERT(route.pattern.starts_with('/') && route.handler != nullptr, "a route has a path and a handler");
    patterns_.push_back(compile(route.pattern));
  }
}

RouteTable::Pattern RouteTable::compile(std::string_view text) {
  Pattern pattern;
  for (auto& segment : split(text)) {
    if (segment == "{name}") {
      pattern.has_name = true;
      continue;
    }
    if (segment.starts_with('{')) segment = parameter_mark;
    (pattern.has_name ? pattern.tail : pattern.head).push_back(std::move(segment));
  }
  return pattern;
}

bool RouteTable::fits(const Pattern& pattern, const std::vector<std::string>& segments, Match& match) {
  const std::size_t fixed = pattern.head.size() + pattern.tail.size();
  if (pattern.has_name ? segments.size() <= fixed : segments.size() != fixed) return false;
  std::string_view parameter;
  const std::size_t tail_start = segments.size() - pattern.tail.size();
  for (std::size_t i = 0; i < pattern.tail.size(); ++i) {
    if (!fits_segment(pattern.tail[i], segments[tail_start + i], parameter)) return false;
  }
  for (std::size_t i = 0; i < pattern.head.size(); ++i) {
    if (!fits_segment(pattern.head[i], segments[i], parameter)) return false;
  }
  match.parameter = parameter;
  match.name.assign(segments.begin() + static_cast<std::ptrdiff_t>(pattern.head.size()),
                    segments.begin() + static_cast<std::ptrdiff_t>(tail_start));
  return true;
}

RouteTable::Match RouteTable::match(http::Method method, const std::vector<std::string>& segments) const {
  Match match;
  const Route* get = nullptr;
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    if (!fits(patterns_[i], segments, match)) continue;
    const Route& route = routes_[i];
    if (route.method == method) {
      match.route = &route;
      match.methods.clear();
      return match;
    }
    if (route.method == http::Method::get) get = &route;
    match.methods.push_back(route.method);
  }
  if (get == nullptr) return match;
  if (method == http::Method::head) {
    match.route = get;
    match.head_of_get = true;
    match.methods.clear();
  } else if (std::ranges::find(match.methods, http::Method::head) == match.methods.end()) {
    match.methods.push_back(http::Method::head);
  }
  return match;
}

}  // namespace hansa::api
