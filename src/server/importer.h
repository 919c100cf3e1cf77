// Importer: the coroutines behind import.h. One repository after the other; within it, blobs before the manifests that
// name them, children before their index.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "auth/access.h"
#include "base/log.h"
#include "io/task.h"
#include "oci/manifest.h"
#include "oci/name.h"
#include "registry/registry.h"
#include "server/import.h"

namespace hansa::server {

struct Layout {
  std::string path;
  oci::RepositoryName repository;
};

// One row of an index.json, the rows of one digest joined.
struct LayoutEntry {
  std::string media_type = {};
  std::vector<oci::Tag> tags = {};
  std::size_t row = 0;  // its first
};

struct LayoutIndex {
  std::map<oci::Digest, LayoutEntry> entries;
  std::vector<std::string> problems;
};

// Parses an index.json; "manifests" may be null, as in a layout that was just made.
Result<LayoutIndex> parse_layout_index(std::string_view text);

// What a manifest is when its row does not say: its own mediaType, else by its fields.
std::string guess_media_type(std::string_view body);

// Where a digest's bytes lie in a layout.
std::string layout_file(const std::string& layout, const oci::Digest& digest);

class Importer {
 public:
  // `registry` and `log` outlive it.
  Importer(registry::Registry& registry, Logger& log, bool copy)
      : registry_(registry), log_(log), copy_(copy), who_({}, auth::allow_everything()) {}

  io::Task<void> run(std::vector<Layout> layouts);
  ImportReport& report() { return report_; }

 private:
  io::Task<Result<void>> take_layout(Layout layout);
  // With all that it names; nothing if it was taken already.
  io::Task<Result<void>> take_manifest(Layout layout, oci::Digest digest, std::string media_type,
                                       std::vector<oci::Tag> tags, std::size_t depth);
  io::Task<Result<void>> take_parts(Layout layout, oci::Manifest manifest, std::size_t depth);
  io::Task<Result<void>> take_blob(Layout layout, oci::Digest digest);
  io::Task<Result<void>> put(oci::RepositoryName repository, oci::Digest digest, std::string media_type,
                             std::string body, std::vector<oci::Tag> tags);

  registry::Registry& registry_;
  Logger& log_;
  const bool copy_;
  const auth::Access who_;
  ImportReport report_;
  std::set<oci::Digest> taken_;  // of the present layout
};

}  // namespace hansa::server
