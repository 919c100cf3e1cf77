#include "server/import.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "io/asio/event_loops.h"
#include "server/importer.h"

namespace hansa::server {
namespace {

namespace fs = std::filesystem;

bool is_layout(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / "oci-layout", ignored) && fs::is_regular_file(folder / "index.json", ignored);
}

// Layouts at `folder` and below, in byte order of their paths. Symbolic links are not followed.
void find_layouts(const fs::path& folder, std::size_t depth, std::vector<fs::path>& out,
                  std::vector<std::string>& problems) {
  if (is_layout(folder)) out.push_back(folder);
  if (depth == 0) {
    problems.push_back(folder.string() + ": too many folders inside each other; not looked at");
    return;
  }
  std::error_code error;
  std::vector<fs::path> below;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;
    const bool skipped = name == "blobs" || name.starts_with('.') || entry->is_symlink(ignored);
    if (!skipped && entry->is_directory(ignored)) below.push_back(entry->path());
  }
  if (error) problems.push_back(folder.string() + ": cannot be read: " + error.message());
  std::ranges::sort(below);
  for (const auto& path : below) find_layouts(path, depth - 1, out, problems);
}

io::Task<void> run_importer(Importer* importer, std::vector<Layout> layouts) {
  co_await importer->run(std::move(layouts));
}

std::string repository_name(const fs::path& layout, const ImportOptions& options) {
  const fs::path source(options.source);
  if (layout != source) return layout.lexically_relative(source).string();
  return options.repository.empty() ? source.filename().string() : options.repository;
}

}  // namespace

Result<ImportReport> import_layouts(registry::Registry& registry, io::Executor& executor, const ImportOptions& options,
                                    Logger& log) {
  std::error_code error;
  if (!fs::is_directory(options.source, error)) {
    return make_error(ErrorCode::not_found, Subject::file, options.source + ": there is no such folder to import from");
  }
  Importer importer(registry, log, options.copy);
  std::vector<fs::path> found;
  find_layouts(options.source, max_layout_depth, found, importer.report().problems);
  std::vector<Layout> layouts;
  for (const auto& path : found) {
    const auto name = oci::RepositoryName::parse(repository_name(path, options));
    if (name) {
      layouts.push_back({.path = path.string(), .repository = *name});
    } else {
      importer.report().problems.push_back(path.string() + ": " + name.error().message);
    }
  }
  io::asio::run_and_wait(executor, run_importer(&importer, std::move(layouts)));
  return std::move(importer.report());
}

Result<void> import_at_start(registry::Registry& registry, io::Executor& executor, const ImportOptions& options,
                             Logger& log) {
  const fs::path marker = fs::path(options.source) / import_marker;
  std::error_code ignored;
  if (fs::exists(marker, ignored)) return {};
  std::vector<fs::path> found;
  std::vector<std::string> problems;
  find_layouts(options.source, max_layout_depth, found, problems);
  if (found.empty()) return {};
  log.info("this folder holds OCI layouts; they are taken in once, the originals stay",
           {{"root", options.source}, {"layouts", found.size()}});
  HANSA_TRY(const auto report, import_layouts(registry, executor, options, log));
  for (const auto& problem : report.problems) log.warn("not imported", {{"problem", problem}});
  log.info("imported", {{"repositories", report.repositories},
                        {"manifests", report.manifests},
                        {"tags", report.tags},
                        {"blobs", report.blobs},
                        {"problems", report.problems.size()}});
  if (report.passing > 0) {
    return make_error(ErrorCode::unavailable, Subject::file,
                      options.source + ": " + std::to_string(report.passing) +
                          " manifests of its OCI layouts could not be taken in for now, for want of space or since the "
                          "cluster could not take them; the log names them. Mend that and start again; what was "
                          "taken stays");
  }
  return write_import_marker(options.source);
}

Result<void> write_import_marker(const std::string& root) {
  const std::string path = root + "/" + std::string(import_marker);
  std::ofstream file(path);
  file << "The OCI layouts in this folder were taken in; they may be removed. Without this file they are taken in "
          "again.\n";
  file.flush();
  if (file.good()) return {};
  return make_error(ErrorCode::io, Subject::file, path + ": cannot be written");
}

}  // namespace hansa::server
