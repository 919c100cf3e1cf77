// Small images for workloads, drawn from a stream of random numbers.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/digest.h"
#include "oci/manifest.h"
#include "sim/ports/random.h"

namespace hansa::sim {

struct Image {
  oci::Digest digest;
  std::string body;
  std::map<oci::Digest, std::string> blobs;  // all that it reaches; an index's children too
  oci::Digest config;                        // of an image that is no index
  std::vector<oci::Digest> children;         // of an index
  std::string_view type = oci::media_type::image_manifest;
  std::optional<oci::Digest> subject = {};  // of an attachment
};

oci::Digest sha256(const std::string& content);
std::string descriptor(std::string_view type, const std::string& content);

// A configuration of its own, so no two are the same; its layers are from a small set, so that they are shared, deleted
// and pushed again.
Image draw_image(SimRandom& random);

// What clients attach to an image, as a signature is. Two of the same subject and layer are the same.
Image draw_attachment(SimRandom& random, const Image& subject);

// An index of both, which reaches what they do.
Image make_index(const Image& one, const Image& other);

}  // namespace hansa::sim
