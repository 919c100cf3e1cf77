// Manifests and indexes as far as a registry must understand them. A body is parsed once, stored and served as the
// bytes that were pushed: never re-serialised.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/digest.h"

namespace hansa::oci {

namespace media_type {
inline constexpr std::string_view image_manifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view image_index = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view image_config = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view empty = "application/vnd.oci.empty.v1+json";
inline constexpr std::string_view docker_manifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view docker_list = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view octet_stream = "application/octet-stream";
}  // namespace media_type

inline constexpr std::size_t max_manifest_size = 4 * 1024 * 1024;  // bytes
inline constexpr std::size_t max_references = 10'000;              // of one manifest (design review, H15)
inline constexpr std::size_t max_json_depth = 64;

enum class ManifestKind : std::uint8_t { image, index };  // an index's children are manifests

// Whether a registry accepts this manifest media type, and what it is. unsupported(media_type) otherwise, with the
// accepted ones listed. Parameters ("; charset=...") are not part of `type`.
Result<ManifestKind> manifest_kind(std::string_view type);

struct Descriptor {
  std::string media_type;
  Digest digest;
  std::uint64_t size = 0;
};

using Annotations = std::map<std::string, std::string>;
std::size_t size_of(const Annotations& annotations);  // bytes of keys and values

struct Manifest {
  ManifestKind kind = ManifestKind::image;
  std::string media_type;  // the one it was pushed as
  std::uint64_t size = 0;  // of the body, bytes
  // The referrers API's artifact type: the field, else an image's config media type; empty if neither (spec.md,
  // "Listing Referrers").
  std::string artifact_type;
  std::optional<Descriptor> subject;
  Annotations annotations;
  std::optional<Descriptor> config;  // images
  std::vector<Descriptor> blobs;     // images: config and layers that the repository must hold
  std::vector<Descriptor> foreign;   // images: non-distributable layers, need not be held
  std::vector<Descriptor> children;  // indexes: what stands in `manifests`
};

// Parses and checks a body that was pushed with `type`. invalid(manifest) for: not JSON, nested deeper than
// max_json_depth, duplicate keys at any depth, both `layers` and `manifests`, a mediaType that differs from `type`,
// missing or malformed required fields, more than max_references; too_large(manifest) above max_manifest_size.
Result<Manifest> parse_manifest(std::string_view type, ConstBytes body);

}  // namespace hansa::oci
