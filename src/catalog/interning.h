// Small helpers that the view's writer and its queries share: digests as sortable blobs, integers as SQLite's.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "oci/digest.h"

namespace hansa::catalog {

// Algorithm byte + hash: sorts as the digest's text does, in half the bytes.
inline std::string digest_blob(const oci::Digest& digest) {
  std::string blob(1, static_cast<char>(digest.algorithm()));
  blob.append(as_text(digest.hash()));
  return blob;
}

inline Result<oci::Digest> digest_from_blob(ConstBytes blob) {
  const auto bad = [] {
    return make_error(ErrorCode::corrupt, "a digest in the catalogue's view is damaged; delete the view's tables");
  };
  if (blob.empty() || static_cast<std::uint8_t>(blob[0]) > static_cast<std::uint8_t>(oci::Algorithm::sha512)) {
    return bad();
  }
  const auto algorithm = static_cast<oci::Algorithm>(blob[0]);
  if (blob.size() - 1 != oci::hash_size(algorithm)) return bad();
  return oci::Digest::of_hash(algorithm, blob.subspan(1));
}

// SQLite has signed integers only; revisions and sizes stay far below 2^63.
inline std::int64_t signed_of(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}
inline std::uint64_t unsigned_of(std::int64_t value) {
  return static_cast<std::uint64_t>(value);
}

}  // namespace hansa::catalog
