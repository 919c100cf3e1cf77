#include "sim/image.h"

namespace hansa::sim {
namespace {

constexpr std::size_t max_blob = 3000;  // bytes

}  // namespace

oci::Digest sha256(const std::string& content) {
  return oci::Digest::compute(oci::Algorithm::sha256, as_bytes(content));
}

std::string descriptor(std::string_view type, const std::string& content) {
  return R"({"mediaType":")" + std::string(type) + R"(","digest":")" + sha256(content).text() + R"(","size":)" +
         std::to_string(content.size()) + "}";
}

Image draw_image(SimRandom& random) {
  Image image;
  std::string layers;
  const std::string config = R"({"n":")" + random.hex(4) + R"("})";
  image.config = sha256(config);
  image.blobs.emplace(image.config, config);
  const std::size_t count = 1 + random.below(2);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string layer(1 + random.below(6) * (max_blob / 6), static_cast<char>('a' + random.below(4)));
    image.blobs.emplace(sha256(layer), layer);
    layers += (layers.empty() ? "" : ",") + descriptor("application/vnd.oci.image.layer.v1.tar", layer);
  }
  image.body = R"({"schemaVersion":2,"mediaType":")" + std::string(oci::media_type::image_manifest) + R"(","config":)" +
               descriptor(oci::media_type::image_config, config) + R"(,"layers":[)" + layers + "]}";
  image.digest = sha256(image.body);
  return image;
}

}  // namespace hansa::sim
