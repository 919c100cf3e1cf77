#include "server/importer.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/byte_source.h"
#include "io/wait.h"

namespace hansa::server {
namespace {

bool may_pass(ErrorCode code) {
  using enum ErrorCode;
  return code == out_of_space || code == unavailable || code == too_many || code == timeout || code == conflict ||
         code == ambiguous || code == cancelled;
}

constexpr std::string_view tag_annotation = "org.opencontainers.image.ref.name";

// A link would make another file of this machine, which may change or go, part of the registry; a pipe or a device may
// never end.
Result<void> require_plain_file(const std::string& path) {
  std::error_code error;
  const auto type = std::filesystem::symlink_status(path, error).type();
  if (type == std::filesystem::file_type::regular) return {};
  if (type == std::filesystem::file_type::not_found || type == std::filesystem::file_type::none) {
    return make_error(ErrorCode::not_found, Subject::file, path + ": cannot be read: " + error.message());
  }
  return make_error(ErrorCode::invalid, Subject::file,
                    path + ": is no plain file; copy the layout with its links resolved (cp -rL)");
}

Result<std::string> read_whole(const std::string& path, std::size_t limit) {
  HANSA_CHECK(require_plain_file(path));
  std::ifstream stream(path, std::ios::binary);
  if (!stream.is_open()) return make_error(ErrorCode::not_found, Subject::file, path + ": cannot be read");
  std::string text(limit + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad()) return make_error(ErrorCode::io, Subject::file, path + ": cannot be read");
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > limit) {
    return make_error(ErrorCode::too_large, Subject::file,
                      path + ": has more than " + std::to_string(limit) + " bytes");
  }
  text.shrink_to_fit();
  return text;
}

// A file as the body of an upload.
class FileSource final : public io::ByteSource {
 public:
  explicit FileSource(std::string path) : path_(std::move(path)), stream_(path_, std::ios::binary) {}

  io::Task<Result<std::size_t>> read(Bytes out) override {
    auto work = [this, out]() -> Result<std::size_t> {
      if (!stream_.is_open()) return make_error(ErrorCode::io, Subject::file, path_ + ": cannot be read");
      stream_.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size()));
      if (stream_.bad()) return make_error(ErrorCode::io, Subject::file, path_ + ": cannot be read");
      return static_cast<std::size_t>(stream_.gcount());
    };
    co_return co_await io::blocking(io::Pool::disk, std::move(work));
  }

 private:
  const std::string path_;
  std::ifstream stream_;
};

// nlohmann's non-throwing parse; a value that is discarded is no JSON.
nlohmann::json parse_text(std::string_view text) {
  return nlohmann::json::parse(text, nullptr, false);
}

std::string text_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

std::string layout_file(const std::string& layout, const oci::Digest& digest) {
  return layout + "/blobs/" + std::string(to_string(digest.algorithm())) + "/" + digest.hex();
}

Result<LayoutIndex> parse_layout_index(std::string_view text) {
  const auto json = parse_text(text);
  if (!json.is_object()) return make_error(ErrorCode::invalid, Subject::file, "is not a JSON object");
  LayoutIndex index;
  const auto rows = json.find("manifests");
  if (rows == json.end() || rows->is_null()) return index;
  if (!rows->is_array()) return make_error(ErrorCode::invalid, Subject::file, "its \"manifests\" is no list");
  for (const auto& row : *rows) {
    const auto digest = row.is_object() ? oci::Digest::parse(text_of(row, "digest"))
                                        : Result<oci::Digest>(make_error(ErrorCode::invalid, "a row is no object"));
    if (!digest) {
      index.problems.push_back("a row of \"manifests\" is left out: " + digest.error().message);
      continue;
    }
    LayoutEntry& entry = index.entries.try_emplace(*digest, LayoutEntry{.row = index.entries.size()}).first->second;
    entry.media_type = text_of(row, "mediaType");
    const auto annotations = row.find("annotations");
    if (annotations == row.end() || !annotations->is_object()) continue;
    const std::string name = text_of(*annotations, std::string(tag_annotation).c_str());
    if (name.empty()) continue;
    if (auto tag = oci::Tag::parse(name)) {
      entry.tags.push_back(std::move(*tag));
    } else {
      index.problems.push_back("\"" + name + "\" is no tag; " + digest->text() + " is taken without it");
    }
  }
  return index;
}

std::string guess_media_type(std::string_view body) {
  const auto json = parse_text(body);
  if (!json.is_object()) return {};
  if (auto type = text_of(json, "mediaType"); !type.empty()) return type;
  return std::string(json.contains("manifests") ? oci::media_type::image_index : oci::media_type::image_manifest);
}

namespace {

// By the times of the manifests' files, which is when they were pushed; of the same time in the order of their rows.
// Retention ranks what was pushed between two ticks by the order of its records.
std::vector<std::pair<oci::Digest, LayoutEntry>> in_order_of_push(const LayoutIndex& index, const std::string& layout) {
  std::vector<std::pair<oci::Digest, LayoutEntry>> out(index.entries.begin(), index.entries.end());
  std::map<oci::Digest, std::filesystem::file_time_type> times;
  for (const auto& [digest, entry] : out) {
    std::error_code error;
    const auto time = std::filesystem::last_write_time(layout_file(layout, digest), error);
    times[digest] = error ? std::filesystem::file_time_type::min() : time;
  }
  std::ranges::sort(out, {}, [&times](const auto& one) { return std::pair(times.at(one.first), one.second.row); });
  return out;
}

}  // namespace

io::Task<void> Importer::run(std::vector<Layout> layouts) {
  for (const Layout& layout : layouts) {
    taken_.clear();
    auto taken = co_await take_layout(layout);
    if (taken) {
      ++report_.repositories;
      log_.info("imported a repository", {{"repository", layout.repository.text()}, {"path", layout.path}});
    } else {
      report_.problems.push_back(layout.path + ": " + taken.error().message);
    }
  }
}

io::Task<Result<void>> Importer::take_layout(Layout layout) {
  auto read = [path = layout.path + "/index.json"] { return read_whole(path, max_index_file); };
  HANSA_CO_TRY(const std::string text, co_await io::blocking(io::Pool::disk, std::move(read)));
  auto index = parse_layout_index(text);
  if (!index) co_return std::move(index).error().with_context("index.json");
  for (const auto& problem : index->problems) report_.problems.push_back(layout.path + "/index.json: " + problem);
  for (const auto& [digest, entry] : in_order_of_push(*index, layout.path)) {
    auto taken = co_await take_manifest(layout, digest, entry.media_type, entry.tags, max_layout_depth);
    if (!taken) {
      report_.passing += may_pass(taken.error().code) ? 1 : 0;
      report_.problems.push_back(layout.path + ": the manifest " + digest.text() + ": " + taken.error().message);
    }
  }
  co_return Result<void>{};
}

io::Task<Result<void>> Importer::take_manifest(Layout layout, oci::Digest digest, std::string media_type,
                                               std::vector<oci::Tag> tags, std::size_t depth) {
  if (depth == 0) co_return make_error(ErrorCode::invalid, Subject::manifest, "indexes are nested too deep");
  if (taken_.contains(digest) && tags.empty()) co_return Result<void>{};
  auto read = [path = layout_file(layout.path, digest), digest]() -> Result<std::string> {
    HANSA_TRY(auto body, read_whole(path, oci::max_manifest_size));
    if (oci::Digest::compute(digest.algorithm(), as_bytes(body)) != digest) {
      return make_error(ErrorCode::corrupt, Subject::manifest, path + ": its bytes are not those of its name");
    }
    return body;
  };
  HANSA_CO_TRY(std::string body, co_await io::blocking(io::Pool::disk, std::move(read)));
  if (media_type.empty()) media_type = guess_media_type(body);
  HANSA_CO_TRY(auto manifest, oci::parse_manifest(media_type, as_bytes(body)));
  HANSA_CO_CHECK(co_await take_parts(layout, std::move(manifest), depth));
  HANSA_CO_CHECK(co_await put(layout.repository, digest, std::move(media_type), std::move(body), std::move(tags)));
  if (taken_.insert(digest).second) ++report_.manifests;
  co_return Result<void>{};
}

io::Task<Result<void>> Importer::take_parts(Layout layout, oci::Manifest manifest, std::size_t depth) {
  for (const auto& blob : manifest.blobs) {
    HANSA_CO_CHECK(co_await take_blob(layout, blob.digest));
  }
  for (const auto& child : manifest.children) {
    HANSA_CO_CHECK(co_await take_manifest(layout, child.digest, child.media_type, {}, depth - 1));
  }
  co_return Result<void>{};
}

io::Task<Result<void>> Importer::take_blob(Layout layout, oci::Digest digest) {
  if (taken_.contains(digest)) co_return Result<void>{};
  auto present = co_await registry_.head_blob(who_, layout.repository, digest);
  bool here = present.has_value();
  if (!here) {
    // Many repositories share layers: those that are here already are only linked.
    HANSA_CO_TRY(here, co_await registry_.mount_blob(who_, layout.repository, digest, std::nullopt));
  }
  if (!here) {
    const std::string path = layout_file(layout.path, digest);
    auto look = [&path] { return require_plain_file(path); };
    HANSA_CO_CHECK(co_await io::blocking(io::Pool::disk, std::move(look)));
    Result<void> taken;
    if (copy_) {
      FileSource source(path);
      taken = co_await registry_.push_blob(who_, layout.repository, digest, source);
    } else {
      taken = co_await registry_.adopt_blob(who_, layout.repository, digest, path);
    }
    if (!taken) {
      Error error = std::move(taken).error();
      if (!copy_ && error.code == ErrorCode::io) error.message += "; if it lies on another file system, use --copy";
      co_return std::move(error).with_context("the blob " + path);
    }
    ++report_.blobs;
  }
  taken_.insert(digest);
  co_return Result<void>{};
}

io::Task<Result<void>> Importer::put(oci::RepositoryName repository, oci::Digest digest, std::string media_type,
                                     std::string body, std::vector<oci::Tag> tags) {
  std::size_t done = 0;
  do {
    const std::size_t count = std::min(tags.size() - done, registry::max_tags_per_push);
    const auto first = tags.begin() + static_cast<std::ptrdiff_t>(done);
    registry::ManifestPush push{.reference = digest,
                                .tags = {first, first + static_cast<std::ptrdiff_t>(count)},
                                .media_type = media_type,
                                .body = body,
                                .if_match = {},
                                .if_none_match = false};
    auto pushed = co_await registry_.put_manifest(who_, repository, std::move(push));
    if (!pushed) co_return std::move(pushed).error();
    done += count;
    report_.tags += count;
  } while (done < tags.size());
  co_return Result<void>{};
}

}  // namespace hansa::server
