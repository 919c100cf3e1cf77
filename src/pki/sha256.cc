#include "pki/sha256.h"

#include <openssl/evp.h>

#include "base/assert.h"

namespace hansa::pki {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  HANSA_ASSERT(EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1, "OpenSSL has SHA-256");
}
Sha256::~Sha256() = default;

void Sha256::add(ConstBytes bytes) {
  HANSA_ASSERT(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1, "hashing of memory cannot fail");
}

std::string Sha256::finish() {
  std::string out(sha256_bytes, '\0');
  unsigned length = 0;
  const int made = EVP_DigestFinal_ex(state_->context, reinterpret_cast<unsigned char*>(out.data()), &length);
  HANSA_ASSERT(made == 1 && length == sha256_bytes, "hashing of memory cannot fail");
  return out;
}

}  // namespace hansa::pki
