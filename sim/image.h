// Small images for workloads, drawn from a stream of random numbers.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "oci/digest.h"
#include "oci/manifest.h"
#include "sim/ports/random.h"

namespace hansa::sim {

struct Image {
  oci::Digest digest;
  std::string body;
  std::map<oci::Digest, std::string> blobs;  // all that it reaches; an index's children too
  oci::Digest config;                        // of an image that is no index
  std::string_view type = oci::media_type::image_manifest;
};

oci::Digest sha256(const std::string& content);
std::string descriptor(std::string_view type, const std::string& content);

// A configuration of its own, so no two are the same; its layers are from a small set, so that they are shared, deleted
// and pushed again.
Image draw_image(SimRandom& random);

}  // namespace hansa::sim
