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
  std::size_t bytes;
  const char* openssl;
};
constexpr std::array<AlgorithmInfo, 3> algorithms = {{
    {Algorithm::sha256, "sha256", 32, "SHA256"},
    {Algorithm::sha384, "sha384", 48, "SHA384"},
    {Algorithm::sha512, "sha512", 64, "SHA512"},
}};

const AlgorithmInfo& info(Algorithm algorithm) { return algorithms[static_cast<std::size_t>(algorithm)]; }

// Fetched once per process: an implicit fetch costs more than hashing a small body. Immutable afterwards.
const EVP_MD* message_digest(Algorithm algorithm) {
  static const std::array<EVP_MD*, 3> fetched = {EVP_MD_fetch(nullptr, algorithms[0].openssl, nullptr),
                                                 EVP_MD_fetch(nullptr, algorithms[1].openssl, nullptr),
                                                 EVP_MD_fetch(nullptr, algorithms[2].openssl, nullptr)};
  const EVP_MD* md = fetched[static_cast<std::size_t>(algorithm)];
  HANSA_ASSERT(md != nullptr, "OpenSSL has the SHA-2 family");
  return md;
}

// The value of a lower-case hexadecimal digit, or -1.
int nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

Error malformed(std::string_view text, std::string_view why) {
  return make_error(ErrorCode::invalid, Subject::digest,
                    "\"" + std::string(text.substr(0, 200)) + "\" is not a digest: " + std::string(why));
}

}  // namespace

std::string_view to_string(Algorithm algorithm) { return info(algorithm).name; }
std::size_t hash_size(Algorithm algorithm) { return info(algorithm).bytes; }

Result<Algorithm> parse_algorithm(std::string_view text) {
  for (const auto& entry : algorithms) {
    if (entry.name == text) return entry.algorithm;
  }
  return make_error(ErrorCode::invalid, Subject::digest,
                    "unknown digest algorithm \"" + std::string(text.substr(0, 50)) +
                        "\"; known are sha256, sha384 and sha512");
}

Result<Digest> Digest::parse(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return malformed(text, "it has no \"algorithm:\" in front");
  auto algorithm = parse_algorithm(text.substr(0, colon));
  if (!algorithm) return malformed(text, "the algorithm is none of sha256, sha384, sha512");
  const std::string_view hex = text.substr(colon + 1);
  Digest digest;
  digest.algorithm_ = *algorithm;
  if (hex.size() != 2 * oci::hash_size(*algorithm)) return malformed(text, "the hash has the wrong length");
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = nibble(hex[i]);
    const int low = nibble(hex[i + 1]);
    if (high < 0 || low < 0) return malformed(text, "the hash is not lower-case hexadecimal");
    digest.hash_[i / 2] = static_cast<std::byte>(high * 16 + low);
  }
  return digest;
}

Digest Digest::of_hash(Algorithm algorithm, ConstBytes hash) {
  HANSA_ASSERT(hash.size() == hash_size(algorithm), "a hash has its algorithm's size");
  Digest digest;
  digest.algorithm_ = algorithm;
  std::copy(hash.begin(), hash.end(), digest.hash_.begin());
  return digest;
}

Digest Digest::compute(Algorithm algorithm, ConstBytes content) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  const int ok = EVP_Digest(content.data(), content.size(), out.data(), &size, message_digest(algorithm), nullptr);
  HANSA_ASSERT(ok == 1, "hashing cannot fail");
  return of_hash(algorithm, std::as_bytes(std::span(out)).first(size));
}

std::string Digest::hex() const { return hex_encode(hash()); }

std::string Digest::text() const {
  std::string result(to_string(algorithm_));
  result += ':';
  result += hex();
  return result;
}

struct Hasher::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_MD_CTX* scratch = EVP_MD_CTX_new();  // for digest(), which must not end the hash
  ~State() {
    EVP_MD_CTX_free(context);
    EVP_MD_CTX_free(scratch);
  }
};

Hasher::Hasher(Algorithm algorithm) : algorithm_(algorithm), state_(std::make_unique<State>()) {
  const int ok = EVP_DigestInit_ex2(state_->context, message_digest(algorithm), nullptr);
  HANSA_ASSERT(ok == 1, "hashing cannot fail");
}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::update(ConstBytes data) {
  const int ok = EVP_DigestUpdate(state_->context, data.data(), data.size());
  HANSA_ASSERT(ok == 1, "hashing cannot fail");
}

Digest Hasher::digest() const {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  int ok = EVP_MD_CTX_copy_ex(state_->scratch, state_->context);
  ok &= EVP_DigestFinal_ex(state_->scratch, out.data(), &size);
  HANSA_ASSERT(ok == 1, "hashing cannot fail");
  return Digest::of_hash(algorithm_, std::as_bytes(std::span(out)).first(size));
}

}  // namespace hansa::oci

std::size_t std::hash<hansa::oci::Digest>::operator()(const hansa::oci::Digest& digest) const noexcept {
  std::size_t value = 0;
  std::memcpy(&value, digest.hash().data(), sizeof value);
  return value;
}
