// Manifests are whatever a client sends: parsing ends, never crashes, and what it accepts is within the limits.
#include <cstdint>

#include "base/assert.h"
#include "oci/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hansa::oci;
  const auto body = std::as_bytes(std::span(data, size));
  for (const auto type : {media_type::image_manifest, media_type::image_index, media_type::docker_manifest}) {
    const auto parsed = parse_manifest(type, body);
    if (!parsed) continue;
    HANSA_ASSERT(parsed->blobs.size() + parsed->foreign.size() + parsed->children.size() <= max_references + 1,
                 "no more references than the limit and a config");
  }
  return 0;
}
