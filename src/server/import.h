// Import: takes the content of OCI image layouts into a registry: those of a zot root folder, found at any depth, or a
// single one. Blobs become hard links, so nothing is copied and the originals stay as they are; every byte is hashed
// before it is believed, and records are made by the same use cases that serve a push.
//
// Symbolic links, pipes and devices in the place of a layout's files are refused.
//
// Tags (org.opencontainers.image.ref.name), manifests without a tag, nested indexes and referrers come along. A layout
// that cannot be taken whole is named, and the others are taken.
#pragma once

#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "io/executor.h"
#include "registry/registry.h"

namespace hansa::server {

inline constexpr std::size_t max_index_file = 64 * 1024 * 1024;  // bytes of an index.json
inline constexpr std::size_t max_layout_depth = 32;              // folders below the source, and nested indexes
inline constexpr std::string_view import_marker = "imported";    // file in the root: its layouts were taken

struct ImportOptions {
  std::string source;      // absolute
  std::string repository;  // of a single layout at `source` itself; empty: the folder's name
  bool copy = false;       // copy the bytes, for a source on another file system
};

struct ImportReport {
  std::size_t repositories = 0;
  std::size_t manifests = 0;
  std::size_t tags = 0;
  std::size_t blobs = 0;
  std::vector<std::string> problems;  // each names its file
  std::size_t passing = 0;            // of the problems: those that another try may not meet (no space, an outage)
};

// Runs on `executor` and blocks the calling thread, which is none of its threads. An error: nothing could be begun.
Result<ImportReport> import_layouts(registry::Registry& registry, io::Executor& executor, const ImportOptions& options,
                                    Logger& log);

// Takes the layouts that lie in a root folder when it is first used (a root of zot). Problems are logged. An error if
// some may pass: the next start tries again, before a client could delete what would then come back (P8).
Result<void> import_at_start(registry::Registry& registry, io::Executor& executor, const ImportOptions& options,
                             Logger& log);

// Notes in a root folder that its layouts were taken, so that what is deleted afterwards stays deleted (P8).
Result<void> write_import_marker(const std::string& root);

}  // namespace hansa::server
