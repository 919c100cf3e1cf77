#include "sim/image.h"

#include "blob/store.h"

namespace hansa::sim {
namespace {

constexpr std::size_t sizes = 6;
constexpr std::size_t step = 500;  // bytes

// One of the sizes is of two chunks: only such a blob has a sidecar.
std::size_t draw_size(SimRandom& random) {
  const std::size_t drawn = random.below(sizes);
  return 1 + drawn * step + (drawn + 1 == sizes ? blob::chunk_size : 0);
}

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
    const std::size_t size = draw_size(random);
    const std::string layer(size, static_cast<char>('a' + random.below(4)));
    image.blobs.emplace(sha256(layer), layer);
    layers += (layers.empty() ? "" : ",") + descriptor("application/vnd.oci.image.layer.v1.tar", layer);
  }
  image.body = R"({"schemaVersion":2,"mediaType":")" + std::string(oci::media_type::image_manifest) + R"(","config":)" +
               descriptor(oci::media_type::image_config, config) + R"(,"layers":[)" + layers + "]}";
  image.digest = sha256(image.body);
  return image;
}

}  // namespace hansa::sim
