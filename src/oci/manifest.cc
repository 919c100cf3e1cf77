#include "oci/manifest.h"

#include <simdjson.h>

#include <algorithm>
#include <array>

namespace hansa::oci {

std::size_t size_of(const Annotations& annotations) {
  std::size_t bytes = 0;
  for (const auto& [key, value] : annotations) bytes += key.size() + value.size();
  return bytes;
}

namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

Error refuse(std::string message) {
  return make_error(ErrorCode::invalid, Subject::manifest, "the manifest is not valid: " + std::move(message));
}

// Layers that must not be distributed: the image-spec's three and Docker's.
bool is_foreign_layer(std::string_view type) {
  constexpr std::array<std::string_view, 4> types = {
      "application/vnd.oci.image.layer.nondistributable.v1.tar",
      "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
      "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
      "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
  };
  return std::ranges::find(types, type) != types.end();
}

// Two parsers may take different ones of two equal keys, and would then disagree on what the manifest says.
Result<void> check_structure(const element& value, std::size_t depth) {
  if (depth > max_json_depth) {
    return refuse("it is nested deeper than " + std::to_string(max_json_depth) + " levels");
  }
  if (value.is_array()) {
    for (const element item : array(value)) HANSA_CHECK(check_structure(item, depth + 1));
    return {};
  }
  if (!value.is_object()) return {};
  const object members(value);
  std::vector<std::string_view> keys;
  for (const auto& member : members) {
    keys.push_back(member.key);
    HANSA_CHECK(check_structure(member.value, depth + 1));
  }
  std::ranges::sort(keys);
  const auto twice = std::ranges::adjacent_find(keys);
  if (twice != keys.end()) return refuse("the key \"" + std::string(twice->substr(0, 160)) + "\" occurs twice");
  return {};
}

// The member, or nothing when it is absent or null.
std::optional<element> find(const object& from, std::string_view key) {
  element value;
  if (from.at_key(key).get(value) != simdjson::SUCCESS || value.is_null()) return std::nullopt;
  return value;
}

// An optional string: empty when absent.
Result<std::string> text_of(const object& from, std::string_view key, std::string_view where) {
  const auto value = find(from, key);
  if (!value) return std::string();
  std::string_view text;
  if (value->get(text) != simdjson::SUCCESS) {
    return refuse(std::string(where) + std::string(key) + " must be a string");
  }
  return std::string(text);
}

// type/subtype, each a restricted name of RFC 6838, 4.2, as the image-spec demands. Media types of descriptors come
// back as Content-Type of blobs, so nothing else may get in.
bool is_media_type(std::string_view text) {
  constexpr std::size_t max_name = 127;
  const auto is_name = [](std::string_view name) {
    const auto is_alnum = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    constexpr std::string_view signs = "!#$&-^_.+";
    const auto fits = [&](char c) { return is_alnum(c) || signs.find(c) != std::string_view::npos; };
    return !name.empty() && name.size() <= max_name && is_alnum(name.front()) && std::ranges::all_of(name, fits);
  };
  const std::size_t slash = text.find('/');
  return slash != std::string_view::npos && is_name(text.substr(0, slash)) && is_name(text.substr(slash + 1));
}

Result<Descriptor> descriptor_of(const element& value, const std::string& where) {
  object members;
  if (value.get(members) != simdjson::SUCCESS) return refuse(where + " must be an object (a descriptor)");
  Descriptor descriptor;
  HANSA_TRY(descriptor.media_type, text_of(members, "mediaType", where + "."));
  if (descriptor.media_type.empty()) return refuse(where + ".mediaType is missing");
  if (!is_media_type(descriptor.media_type)) return refuse(where + ".mediaType is not of the form type/subtype");
  HANSA_TRY(const std::string digest, text_of(members, "digest", where + "."));
  if (digest.empty()) return refuse(where + ".digest is missing");
  auto parsed = Digest::parse(digest);
  if (!parsed) return refuse(where + ".digest: " + parsed.error().message);
  descriptor.digest = *parsed;
  const auto size = find(members, "size");
  if (!size) return refuse(where + ".size is missing");
  if (size->get(descriptor.size) != simdjson::SUCCESS) {
    return refuse(where + ".size must be a whole number, not negative");
  }
  return descriptor;
}

Result<std::vector<Descriptor>> descriptors_of(const object& from, const std::string& key) {
  const auto value = find(from, key);
  if (!value) return refuse(key + " is missing (an empty list is allowed)");
  array items;
  if (value->get(items) != simdjson::SUCCESS) return refuse(key + " must be a list");
  std::vector<Descriptor> out;
  for (const element item : items) {
    if (out.size() == max_references) {
      return refuse(key + " has more than " + std::to_string(max_references) + " entries");
    }
    HANSA_TRY(Descriptor descriptor, descriptor_of(item, key + "[" + std::to_string(out.size()) + "]"));
    out.push_back(std::move(descriptor));
  }
  return out;
}

Result<Annotations> annotations_of(const object& from) {
  Annotations out;
  const auto value = find(from, "annotations");
  if (!value) return out;
  object members;
  if (value->get(members) != simdjson::SUCCESS) return refuse("annotations must be an object");
  for (const auto& member : members) {
    std::string_view text;
    if (member.value.get(text) != simdjson::SUCCESS) {
      return refuse("annotations[\"" + std::string(member.key.substr(0, 160)) + "\"] must be a string");
    }
    out.emplace(member.key, text);
  }
  return out;
}

Result<void> fill_image(const object& body, Manifest& manifest) {
  if (find(body, "manifests")) return refuse("it has manifests, but was pushed as an image, which has layers");
  const auto config = find(body, "config");
  if (!config) return refuse("config is missing");
  HANSA_TRY(manifest.config, descriptor_of(*config, "config"));
  HANSA_TRY(auto layers, descriptors_of(body, "layers"));
  if (layers.size() + 1 > max_references) {
    return refuse("config and layers are more than " + std::to_string(max_references) + " references");
  }
  manifest.blobs.reserve(layers.size() + 1);
  manifest.blobs.push_back(*manifest.config);
  for (auto& layer : layers) {
    (is_foreign_layer(layer.media_type) ? manifest.foreign : manifest.blobs).push_back(std::move(layer));
  }
  if (manifest.artifact_type.empty()) manifest.artifact_type = manifest.config->media_type;
  return {};
}

Result<void> fill_index(const object& body, Manifest& manifest) {
  if (find(body, "layers") || find(body, "config")) {
    return refuse("it has layers or config, but was pushed as an index, which has manifests");
  }
  HANSA_TRY(manifest.children, descriptors_of(body, "manifests"));
  return {};
}

Result<void> check_head(const object& body, std::string_view type) {
  const auto version = find(body, "schemaVersion");
  if (!version) return refuse("schemaVersion is missing; it must be 2");
  std::uint64_t number = 0;
  if (version->get(number) != simdjson::SUCCESS || number != 2) return refuse("schemaVersion must be 2");
  const auto own = find(body, "mediaType");
  std::string_view own_type;
  if (own && (own->get(own_type) != simdjson::SUCCESS || own_type != type)) {
    return refuse("its mediaType \"" + std::string(own_type.substr(0, 160)) + "\" is not the Content-Type \"" +
                  std::string(type) + "\" that it was pushed with");
  }
  return {};
}

Result<Manifest> fill(ManifestKind kind, std::string_view type, const object& body) {
  HANSA_CHECK(check_head(body, type));
  Manifest manifest;
  manifest.kind = kind;
  manifest.media_type = type;
  const bool oci = type == media_type::image_manifest || type == media_type::image_index;
  if (oci) {
    // Docker's types know neither of these; there they are unknown fields.
    HANSA_TRY(manifest.artifact_type, text_of(body, "artifactType", ""));
    if (!manifest.artifact_type.empty() && !is_media_type(manifest.artifact_type)) {
      return refuse("artifactType is not of the form type/subtype");
    }
    if (const auto subject = find(body, "subject")) {
      HANSA_TRY(manifest.subject, descriptor_of(*subject, "subject"));
    }
    HANSA_TRY(manifest.annotations, annotations_of(body));
  }
  if (kind == ManifestKind::image) {
    HANSA_CHECK(fill_image(body, manifest));
  } else {
    HANSA_CHECK(fill_index(body, manifest));
  }
  return manifest;
}

}  // namespace

Result<ManifestKind> manifest_kind(std::string_view type) {
  if (type == media_type::image_manifest || type == media_type::docker_manifest) return ManifestKind::image;
  if (type == media_type::image_index || type == media_type::docker_list) return ManifestKind::index;
  std::string accepted;
  for (const auto known :
       {media_type::image_manifest, media_type::image_index, media_type::docker_manifest, media_type::docker_list}) {
    accepted += (accepted.empty() ? "" : ", ") + std::string(known);
  }
  return make_error(ErrorCode::unsupported, Subject::media_type,
                    "a manifest of type \"" + std::string(type.substr(0, 160)) +
                        "\" is not accepted; send it with one of the Content-Types " + accepted);
}

Result<Manifest> parse_manifest(std::string_view type, ConstBytes body) {
  HANSA_TRY(const ManifestKind kind, manifest_kind(type));
  if (body.size() > max_manifest_size) {
    return make_error(ErrorCode::too_large, Subject::manifest,
                      "the manifest has " + std::to_string(body.size()) + " bytes, more than the limit of " +
                          std::to_string(max_manifest_size));
  }
  if (body.empty()) return refuse("the body is empty");
  const simdjson::padded_string text(as_text(body));
  simdjson::dom::parser parser;
  element root;
  if (const auto error = parser.parse(text).get(root); error != simdjson::SUCCESS) {
    return refuse("it is not JSON: " + std::string(simdjson::error_message(error)));
  }
  if (!root.is_object()) return refuse("it must be a JSON object");
  HANSA_CHECK(check_structure(root, 1));
  HANSA_TRY(Manifest manifest, fill(kind, type, object(root)));
  manifest.size = body.size();
  return manifest;
}

}  // namespace hansa::oci
