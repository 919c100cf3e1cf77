#include "api/cluster_page.h"

#include <algorithm>
#include <array>

#include "api/ui_files.h"
#include "base/assert.h"

namespace hansa::api {
namespace {

constexpr std::string_view policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

struct Served {
  std::string_view path;
  std::string_view file;
  std::string_view type;
};
constexpr std::array<Served, 8> served = {{
    {"/cluster", "cluster.html", "text/html; charset=utf-8"},
    {"/cluster/", "cluster.html", "text/html; charset=utf-8"},
    {"/cluster/page.css", "page.css", "text/css; charset=utf-8"},
    {"/cluster/page.js", "page.js", "text/javascript; charset=utf-8"},
    {"/cluster/meaning.js", "meaning.js", "text/javascript; charset=utf-8"},
    {"/cluster/sections.js", "sections.js", "text/javascript; charset=utf-8"},
    {"/cluster/chart.js", "chart.js", "text/javascript; charset=utf-8"},
    {"/cluster/icon.svg", "icon.svg", "image/svg+xml"},
}};

// The path as the route table compared it: decoded.
std::string path_of(const http::Request& request) {
  std::string path;
  for (const auto& segment : request.segments) path += "/" + segment;
  return path;
}

io::Task<Result<http::Response>> show(Call& call) {
  const auto page = std::ranges::find(served, path_of(call.request), &Served::path);
  HANSA_ASSERT(page != served.end(), "the routes are those of the files");
  const auto files = ui_files();
  const auto file = std::ranges::find(files, page->file, &UiFile::name);
  HANSA_ASSERT(file != files.end(), "every file of the page was embedded");
  http::Response response;
  response.headers.add("Content-Type", std::string(page->type));
  response.headers.add("Content-Security-Policy", std::string(policy));
  response.headers.add("X-Content-Type-Options", "nosniff");
  response.headers.add("Referrer-Policy", "no-referrer");
  response.headers.add("Cross-Origin-Opener-Policy", "same-origin");
  response.headers.add("Cross-Origin-Resource-Policy", "same-origin");
  response.headers.add("Cache-Control", "no-store");  // another version's script would not fit the page
  response.body = std::string(file->text);
  co_return response;
}

}  // namespace

std::vector<Route> cluster_page_routes() {
  std::vector<Route> routes;
  for (const auto& one : served) {
    routes.push_back({.pattern = std::string(one.path), .need = Need::identity, .handler = show, .logged = false});
  }
  return routes;
}

}  // namespace hansa::api
