#include "oci/digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace hansa::oci {
namespace {

struct AlgorithmInfo {
  Algorithm algorithm;
  std::string_view name;
  std::size_t size;  // bytes
};
constexpr std::array<AlgorithmInfo, 3> algorithms{
    {{Algorithm::sha256, "sha256", 32}, {Algorithm::sha384, "sha384", 48}, {Algorithm::sha512, "sha512", 64}}};

const AlgorithmInfo& info_of(Algorithm algorithm) {
  return algorithms[static_cast<std::size_t>(algorithm)];
}

// Upper-case letters are no digits here: a digest has one spelling (image-spec, descriptor.md#sha-256).
int lower_hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Fetched once per process: looking an algorithm up takes locks in OpenSSL 3.
const EVP_MD* evp_of(Algorithm algorithm) {
  static const std::array<const EVP_MD*, 3> fetched = {EVP_MD_fetch(nullptr, "SHA2-256", nullptr),
                                                       EVP_MD_fetch(nullptr, "SHA2-384", nullptr),
                                                       EVP_MD_fetch(nullptr, "SHA2-512", nullptr)};
  const EVP_MD* md = fetched[static_cast<std::size_t>(algorithm)];
  HANSA_ASSERT(md != nullptr, "OpenSSL provides SHA-2");
  return md;
}

Error bad_digest(std::string_view text, std::string_view why) {
  constexpr std::size_t shown = 160;
  return make_error(ErrorCode::invalid, Subject::digest,
                    "\"" + std::string(text.substr(0, shown)) + "\" is not a digest: " + std::string(why));
}

}  // namespace

std::string_view to_string(Algorithm algorithm) {
  return info_of(algorithm).name;
}

std::size_t hash_size(Algorithm algorithm) {
  return info_of(algorithm).size;
}

Result<Algorithm> parse_algorithm(std::string_view text) {
  for (const auto& known : algorithms) {
    if (known.name == text) return known.algorithm;
  }
  return bad_digest(text, "the algorithm must be sha256, sha384 or sha512");
}

Result<Digest> Digest::parse(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return bad_digest(text, "it must have the form algorithm:hexadecimal");
  const auto algorithm = parse_algorithm(text.substr(0, colon));
  if (!algorithm) return bad_digest(text, "the algorithm must be sha256, sha384 or sha512");
  const std::string_view hex = text.substr(colon + 1);
  if (hex.size() != 2 * hash_size(*algorithm)) {
    return bad_digest(text, std::string(to_string(*algorithm)) + " needs " + std::to_string(2 * hash_size(*algorithm)) +
                                " hexadecimal digits, not " + std::to_string(hex.size()));
  }
  Digest digest;
  digest.algorithm_ = *algorithm;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = lower_hex_value(hex[i]);
    const int low = lower_hex_value(hex[i + 1]);
    if (high < 0 || low < 0) return bad_digest(text, "only 0-9 and lower-case a-f may follow the colon");
    digest.hash_[i / 2] = static_cast<std::byte>(high << 4 | low);
  }
  return digest;
}

Digest Digest::of_hash(Algorithm algorithm, ConstBytes hash) {
  HANSA_ASSERT(hash.size() == hash_size(algorithm), "a hash has its algorithm's size");
  Digest digest;
  digest.algorithm_ = algorithm;
  std::ranges::copy(hash, digest.hash_.begin());
  return digest;
}

Digest Digest::compute(Algorithm algorithm, ConstBytes content) {
  Digest digest;
  digest.algorithm_ = algorithm;
  unsigned size = 0;
  const int ok = EVP_Digest(content.data(), content.size(), reinterpret_cast<unsigned char*>(digest.hash_.data()),
                            &size, evp_of(algorithm), nullptr);
  HANSA_ASSERT(ok == 1 && size == hash_size(algorithm), "SHA-2 of memory cannot fail");
  return digest;
}

std::string Digest::hex() const {
  return hex_encode(hash());
}

std::string Digest::text() const {
  std::string out(to_string(algorithm_));
  out += ':';
  out += hex();
  return out;
}

struct Hasher::State {
  EVP_MD_CTX* running = EVP_MD_CTX_new();
  EVP_MD_CTX* finishing = EVP_MD_CTX_new();  // a copy is finished, so that `running` can go on
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    EVP_MD_CTX_free(running);
    EVP_MD_CTX_free(finishing);
  }
};

Hasher::Hasher(Algorithm algorithm) : algorithm_(algorithm), state_(std::make_unique<State>()) {
  HANSA_ASSERT(state_->running != nullptr && state_->finishing != nullptr, "out of memory for a hash context");
  HANSA_ASSERT(EVP_DigestInit_ex2(state_->running, evp_of(algorithm), nullptr) == 1, "SHA-2 can be started");
}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::update(ConstBytes data) {
  HANSA_ASSERT(EVP_DigestUpdate(state_->running, data.data(), data.size()) == 1, "SHA-2 of memory cannot fail");
}

Digest Hasher::digest() const {
  std::array<std::byte, EVP_MAX_MD_SIZE> hash{};
  unsigned size = 0;
  const bool ok = EVP_MD_CTX_copy_ex(state_->finishing, state_->running) == 1 &&
                  EVP_DigestFinal_ex(state_->finishing, reinterpret_cast<unsigned char*>(hash.data()), &size) == 1;
  HANSA_ASSERT(ok && size == hash_size(algorithm_), "SHA-2 can be finished");
  return Digest::of_hash(algorithm_, ConstBytes(hash).first(size));
}

}  // namespace hansa::oci

// A digest is uniformly distributed already: its first bytes are as good a hash as any.
std::size_t std::hash<hansa::oci::Digest>::operator()(const hansa::oci::Digest& digest) const noexcept {
  std::size_t value = 0;
  std::memcpy(&value, digest.hash().data(), sizeof value);
  return value ^ static_cast<std::size_t>(digest.algorithm());
}
