#include "sim/image.h"

#include "blob/store.h"

namespace hansa::sim {
namespace {

constexpr std::size_t sizes = 6;
constexpr std::size_t step = 500;  // bytes
constexpr std::string_view layer_type = "application/vnd.oci.image.layer.v1.tar";

// One of the sizes is of two chunks: only such a blob has a sidecar.
std::size_t draw_size(SimRandom& random) {
  const std::size_t drawn = random.below(sizes);
  return 1 + drawn * step + (drawn + 1 == sizes ? blob::chunk_size : 0);
}

std::string draw_layer(SimRandom& random) {
  const std::size_t size = draw_size(random);
  return std::string(size, static_cast<char>('a' + random.below(4)));
}

std::string beginning(std::string_view type) {
  return R"({"schemaVersion":2,"mediaType":")" + std::string(type) + R"(",)";
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
    const std::string layer = draw_layer(random);
    image.blobs.emplace(sha256(layer), layer);
    layers += (layers.empty() ? "" : ",") + descriptor(layer_type, layer);
  }
  image.body = beginning(image.type) + R"("config":)" + descriptor(oci::media_type::image_config, config) +
               R"(,"layers":[)" + layers + "]}";
  image.digest = sha256(image.body);
  return image;
}

Image draw_attachment(SimRandom& random, const Image& subject) {
  Image attachment;
  const std::string config = "{}";
  const std::string layer = draw_layer(random);
  attachment.config = sha256(config);
  attachment.blobs = {{attachment.config, config}, {sha256(layer), layer}};
  attachment.subject = subject.digest;
  attachment.body = beginning(attachment.type) + R"("artifactType":"application/vnd.example.signature","config":)" +
                    descriptor("application/vnd.oci.empty.v1+json", config) + R"(,"layers":[)" +
                    descriptor(layer_type, layer) + R"(],"subject":)" + descriptor(subject.type, subject.body) + "}";
  attachment.digest = sha256(attachment.body);
  return attachment;
}

Image make_index(const Image& one, const Image& other) {
  Image index;
  for (const Image* part : {&one, &other}) {
    index.blobs.insert(part->blobs.begin(), part->blobs.end());
    index.blobs.emplace(part->digest, part->body);
    index.children.push_back(part->digest);
  }
  index.type = oci::media_type::image_index;
  index.body = beginning(index.type) + R"("manifests":[)" + descriptor(one.type, one.body) + "," +
               descriptor(other.type, other.body) + "]}";
  index.digest = sha256(index.body);
  return index;
}

}  // namespace hansa::sim
