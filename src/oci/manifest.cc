#include "oci/manifest.h"

#include <simdjson.h>

#include <algorithm>
#include <vector>

namespace hansa::oci {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;

Error invalid(std::string message) { return make_error(ErrorCode::invalid, Subject::manifest, std::move(message)); }

// Layers whose bytes need not be in the registry (image-spec, layer.md; Docker's foreign layers).
bool is_foreign(std::string_view type) {
  return type.starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar") ||
         type == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
}

// Parsers disagree on which of two equal keys counts, so that what one reader verified is not what another runs.
Result<void> reject_duplicate_keys(const element& value, std::size_t depth) {
  if (depth > max_json_depth) return invalid("the manifest is nested deeper than " + std::to_string(max_json_depth));
  if (value.is_object()) {
    std::vector<std::string_view> keys;
    for (const auto field : object(value)) {
      keys.push_back(field.key);
      HANSA_CHECK(reject_duplicate_keys(field.value, depth + 1));
    }
    std::ranges::sort(keys);
    const auto twice = std::ranges::adjacent_find(keys);
    if (twice != keys.end()) return invalid("the key \"" + std::string(*twice) + "\" stands twice in one object");
  } else if (value.is_array()) {
    for (const auto item : array(value)) HANSA_CHECK(reject_duplicate_keys(item, depth + 1));
  }
  return {};
}

// The text at `key`; empty when absent.
Result<std::string_view> text_field(const object& from, std::string_view key) {
  element value;
  if (from[key].get(value) != simdjson::SUCCESS) return std::string_view{};
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return invalid("\"" + std::string(key) + "\" must be a string");
  return text;
}

Result<Descriptor> parse_descriptor(const element& value, const std::string& where) {
  object from;
  if (value.get(from) != simdjson::SUCCESS) return invalid(where + " must be a descriptor (an object)");
  Descriptor result;
  HANSA_TRY(const auto type, text_field(from, "mediaType"));
  if (type.empty()) return invalid(where + " has no mediaType");
  result.media_type = type;
  HANSA_TRY(const auto digest, text_field(from, "digest"));
  auto parsed = Digest::parse(digest);
  if (!parsed) return invalid(where + ": " + parsed.error().message);
  result.digest = *parsed;
  std::int64_t size = 0;
  if (from["size"].get(size) != simdjson::SUCCESS || size < 0) {
    return invalid(where + ": \"size\" must be a number of bytes");
  }
  result.size = static_cast<std::uint64_t>(size);
  return result;
}

// The descriptor at `key`, if there is one (null counts as absent).
Result<std::optional<Descriptor>> descriptor_field(const object& from, std::string_view key) {
  element value;
  if (from[key].get(value) != simdjson::SUCCESS || value.is_null()) return std::optional<Descriptor>{};
  HANSA_TRY(auto descriptor, parse_descriptor(value, "\"" + std::string(key) + "\""));
  return std::optional<Descriptor>(std::move(descriptor));
}

Result<std::vector<Descriptor>> descriptor_list(const object& from, std::string_view key, bool required) {
  std::vector<Descriptor> result;
  element value;
  if (from[key].get(value) != simdjson::SUCCESS || value.is_null()) {
    if (required) return invalid("\"" + std::string(key) + "\" is missing");
    return result;
  }
  array items;
  if (value.get(items) != simdjson::SUCCESS) return invalid("\"" + std::string(key) + "\" must be an array");
  if (items.size() > max_references) {
    return make_error(ErrorCode::too_large, Subject::manifest,
                      "the manifest refers to more than " + std::to_string(max_references) + " others");
  }
  result.reserve(items.size());
  for (const auto item : items) {
    HANSA_TRY(auto descriptor,
              parse_descriptor(item, "\"" + std::string(key) + "\"[" + std::to_string(result.size()) + "]"));
    result.push_back(std::move(descriptor));
  }
  return result;
}

Result<Annotations> parse_annotations(const object& from) {
  Annotations result;
  element value;
  if (from["annotations"].get(value) != simdjson::SUCCESS || value.is_null()) return result;
  object fields;
  if (value.get(fields) != simdjson::SUCCESS) return invalid("\"annotations\" must be an object");
  for (const auto field : fields) {
    std::string_view text;
    if (field.value.get(text) != simdjson::SUCCESS) {
      return invalid("the annotation \"" + std::string(field.key) + "\" must be a string");
    }
    result.emplace(field.key, text);
  }
  return result;
}

Result<void> parse_image(const object& from, Manifest& manifest) {
  HANSA_TRY(manifest.config, descriptor_field(from, "config"));
  if (!manifest.config) return invalid("an image manifest needs a \"config\" descriptor");
  // Docker and OCI both require the array; null and absence stand for "no layers" in the field.
  HANSA_TRY(auto layers, descriptor_list(from, "layers", false));
  manifest.blobs.push_back(*manifest.config);
  for (auto& layer : layers) {
    auto& list = is_foreign(layer.media_type) ? manifest.foreign : manifest.blobs;
    list.push_back(std::move(layer));
  }
  if (manifest.artifact_type.empty()) manifest.artifact_type = manifest.config->media_type;
  return {};
}

Result<void> check_head(const object& from, std::string_view type) {
  std::int64_t version = 0;
  if (from["schemaVersion"].get(version) != simdjson::SUCCESS || version != 2) {
    return invalid("\"schemaVersion\" must be 2");
  }
  HANSA_TRY(const auto own_type, text_field(from, "mediaType"));
  if (!own_type.empty() && own_type != type) {
    return invalid("the manifest says mediaType \"" + std::string(own_type) + "\" but was pushed as \"" +
                   std::string(type) + "\"");
  }
  element ignored;
  const bool has_layers = from["layers"].get(ignored) == simdjson::SUCCESS;
  const bool has_config = from["config"].get(ignored) == simdjson::SUCCESS;
  const bool has_children = from["manifests"].get(ignored) == simdjson::SUCCESS;
  // A body that is both could be read as either, whatever was signed (CVE-2021-41190).
  if (has_children && (has_layers || has_config)) {
    return invalid("a manifest has \"manifests\" (an index) or \"config\" and \"layers\" (an image), not both");
  }
  return {};
}

}  // namespace

Result<ManifestKind> manifest_kind(std::string_view type) {
  if (type == media_type::image_manifest || type == media_type::docker_manifest) return ManifestKind::image;
  if (type == media_type::image_index || type == media_type::docker_list) return ManifestKind::index;
  return make_error(ErrorCode::unsupported, Subject::media_type,
                    "the media type \"" + std::string(type.substr(0, 200)) +
                        "\" is not a manifest that this registry takes; it takes OCI image manifests and indexes, "
                        "and Docker schema-2 manifests and lists");
}

Result<Manifest> parse_manifest(std::string_view type, ConstBytes body) {
  HANSA_TRY(const auto kind, manifest_kind(type));
  if (body.size() > max_manifest_size) {
    return make_error(ErrorCode::too_large, Subject::manifest,
                      "the manifest is larger than " + std::to_string(max_manifest_size) + " bytes");
  }
  simdjson::dom::parser parser(max_manifest_size + 1);
  // One level more than allowed, so that our own message is given for it.
  if (parser.allocate(std::max<std::size_t>(body.size(), 64), max_json_depth + 2) != simdjson::SUCCESS) {
    return make_error(ErrorCode::unavailable, "no memory to parse a manifest");
  }
  const std::string_view text = as_text(body);
  element document;
  if (const auto error = parser.parse(text.data(), text.size()).get(document); error != simdjson::SUCCESS) {
    return invalid(std::string("the manifest is not valid JSON: ") + simdjson::error_message(error));
  }
  object root;
  if (document.get(root) != simdjson::SUCCESS) return invalid("the manifest must be a JSON object");
  HANSA_CHECK(reject_duplicate_keys(document, 1));
  HANSA_CHECK(check_head(root, type));
  Manifest manifest;
  manifest.kind = kind;
  manifest.media_type = type;
  manifest.size = body.size();
  HANSA_TRY(manifest.artifact_type, text_field(root, "artifactType"));
  HANSA_TRY(manifest.subject, descriptor_field(root, "subject"));
  HANSA_TRY(manifest.annotations, parse_annotations(root));
  if (kind == ManifestKind::image) {
    HANSA_CHECK(parse_image(root, manifest));
  } else {
    HANSA_TRY(manifest.children, descriptor_list(root, "manifests", true));
  }
  return manifest;
}

}  // namespace hansa::oci
