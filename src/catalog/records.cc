#include "catalog/records.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace hansa::catalog {

namespace keys {

namespace {
std::string join(std::string_view prefix, std::string_view name, char separator, std::string_view rest) {
  std::string key;
  key.reserve(prefix.size() + name.size() + 1 + rest.size());
  key.append(prefix).append(name).push_back(separator);
  key.append(rest);
  return key;
}
}  // namespace

std::string repo(const oci::RepositoryName& name) {
  return "repo/" + name.text();
}
std::string in(const oci::RepositoryName& name) {
  return "in/" + name.text();
}
std::string manifest(const oci::RepositoryName& name, const oci::Digest& digest) {
  return join("manifest/", name.text(), '@', digest.text());
}
std::string tag(const oci::RepositoryName& name, const oci::Tag& tag) {
  return join("tag/", name.text(), ':', tag.text());
}
std::string expired(const oci::RepositoryName& name, const oci::Tag& tag) {
  return join("expired/", name.text(), ':', tag.text());
}
std::string link(const oci::RepositoryName& name, const oci::Digest& digest) {
  return join("link/", name.text(), '@', digest.text());
}
std::string grave(const oci::RepositoryName& name, const oci::Digest& digest) {
  return join("grave/", name.text(), '@', digest.text());
}
std::string node(std::string_view id) {
  return std::string("node/").append(id);
}
std::string alive(std::string_view id) {
  return std::string("alive/").append(id);
}
std::string holds(std::string_view id) {
  return std::string("holds/").append(id);
}
std::string pulls(std::string_view id, std::string_view batch) {
  return join("pulls/", id, '/', batch);
}
std::string folded(std::string_view id) {
  return std::string("folded/").append(id);
}
std::string stats(const oci::RepositoryName& name) {
  return "stats/" + name.text();
}
std::string task(std::string_view name) {
  return std::string("task/").append(name);
}

}  // namespace keys

namespace {

struct Shape {
  std::string_view prefix;
  KeyKind kind;
  char separator;  // between the repository and the rest; 0: no repository, 1: nothing but the repository
};
constexpr std::array shapes = {
    Shape{"repo/", KeyKind::repo, 1}, Shape{"in/", KeyKind::in, 1},       Shape{"manifest/", KeyKind::manifest, '@'},
    Shape{"tag/", KeyKind::tag, ':'}, Shape{"link/", KeyKind::link, '@'}, Shape{"grave/", KeyKind::grave, '@'},
    Shape{"node/", KeyKind::node, 0}, Shape{"alive/", KeyKind::alive, 0}, Shape{"holds/", KeyKind::holds, 0},
};

}  // namespace

KeyParts split_key(std::string_view key) {
  if (key == meta::head_key) return {KeyKind::head, {}, {}};
  if (key == keys::tick) return {KeyKind::tick, {}, {}};
  if (key == keys::layout) return {KeyKind::layout, {}, {}};
  for (const Shape& shape : shapes) {
    if (!key.starts_with(shape.prefix)) continue;
    const std::string_view body = key.substr(shape.prefix.size());
    if (shape.separator == 0) return {shape.kind, {}, body};
    if (shape.separator == 1) return {shape.kind, body, {}};
    const std::size_t at = body.find(shape.separator);
    if (at == std::string_view::npos) return {};
    return {shape.kind, body.substr(0, at), body.substr(at + 1)};
  }
  return {};
}

std::vector<ReferenceItem> references_of(const oci::Manifest& manifest) {
  std::vector<ReferenceItem> items;
  std::set<std::pair<oci::Digest, ReferenceKind>> seen;
  const auto add = [&](ReferenceKind kind, const oci::Descriptor& descriptor) {
    if (seen.emplace(descriptor.digest, kind).second) items.push_back({kind, descriptor});
  };
  if (manifest.config) add(ReferenceKind::config, *manifest.config);
  for (const oci::Descriptor& blob : manifest.blobs) {
    // `blobs` lists the config too.
    if (manifest.config && blob.digest == manifest.config->digest) continue;
    add(ReferenceKind::layer, blob);
  }
  for (const oci::Descriptor& blob : manifest.foreign) add(ReferenceKind::foreign, blob);
  for (const oci::Descriptor& child : manifest.children) add(ReferenceKind::child, child);
  return items;
}

namespace {

// Bytes of the text in JSON, where a control character takes six.
std::size_t escaped_size(std::string_view text) {
  std::size_t bytes = 0;
  for (const char c : text) {
    const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    bytes += control ? 6 : c == '"' || c == '\\' ? 2 : 1;
  }
  return bytes;
}

}  // namespace

ManifestRecord make_manifest_record(const oci::Manifest& manifest) {
  ManifestRecord record;
  record.kind = manifest.kind;
  record.media_type = manifest.media_type;
  record.size = manifest.size;
  record.artifact_type = manifest.artifact_type;
  if (manifest.subject) record.subject = manifest.subject->digest;
  record.annotations = manifest.annotations;
  record.references = references_of(manifest);
  constexpr std::size_t per_reference = 100;  // digest, size, punctuation
  std::size_t bytes = 0;
  for (const auto& [name, value] : record.annotations) bytes += escaped_size(name) + escaped_size(value);
  for (const ReferenceItem& item : record.references) bytes += per_reference + item.descriptor.media_type.size();
  if (bytes > max_record_details) {
    record.details_in_body = true;
    record.annotations.clear();
    record.references.clear();
  }
  return record;
}

std::uint64_t age_of(const TickRecord& tick, Revision tick_mod, Revision mod) {
  if (tick_mod <= mod) return 0;
  // The oldest mark that began after `mod` bounds the age from below; marks between were only thinned out.
  const auto first = std::ranges::find_if(tick.past, [mod](const TickMark& mark) { return mark.mod > mod; });
  const TickNumber oldest = first == tick.past.end() ? tick.number : first->number;
  return tick.number - oldest + 1;
}

std::int64_t measured_since(const TickRecord& tick, Revision tick_mod, Revision mod) {
  if (tick_mod <= mod) return 0;
  const auto first = std::ranges::find_if(tick.past, [mod](const TickMark& mark) { return mark.mod > mod; });
  return first == tick.past.end() ? 0 : std::max<std::int64_t>(0, tick.measured_ms - first->measured_ms);
}

}  // namespace hansa::catalog
