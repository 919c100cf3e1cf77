// Digest: the name of content: algorithm ":" hexadecimal hash (image-spec, descriptor.md#digests).
// Parsed once at the edge; below `api` a digest is this type, never a string. Cheap to copy (64 hash bytes inline).
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace hansa::oci {

enum class Algorithm : std::uint8_t { sha256, sha384, sha512 };

std::string_view to_string(Algorithm algorithm);
std::size_t hash_size(Algorithm algorithm);  // bytes
// invalid(digest) for algorithms that are not known.
Result<Algorithm> parse_algorithm(std::string_view text);

class Digest {
 public:
  Digest() = default;  // sha256 of zeros; only a placeholder
  // "sha256:<64 lower-case hex>" and likewise for sha384 and sha512; anything else is invalid(digest).
  static Result<Digest> parse(std::string_view text);
  // REQUIRES: hash.size() == hash_size(algorithm).
  static Digest of_hash(Algorithm algorithm, ConstBytes hash);
  // The digest of `content`.
  static Digest compute(Algorithm algorithm, ConstBytes content);

  Algorithm algorithm() const { return algorithm_; }
  ConstBytes hash() const { return {hash_.data(), hash_size(algorithm_)}; }
  std::string hex() const;
  std::string text() const;  // "sha256:abc..."

  std::strong_ordering operator<=>(const Digest& other) const = default;
  bool operator==(const Digest& other) const = default;

 private:
  Algorithm algorithm_ = Algorithm::sha256;
  std::array<std::byte, 64> hash_{};
};

// A running hash. Not thread-safe; movable. Hash state is never persisted (design review, H12).
class Hasher {
 public:
  explicit Hasher(Algorithm algorithm);
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  void update(ConstBytes data);
  // The digest of everything so far. Does not end the hash: more may follow.
  Digest digest() const;
  Algorithm algorithm() const { return algorithm_; }

 private:
  struct State;
  Algorithm algorithm_;
  std::unique_ptr<State> state_;
};

}  // namespace hansa::oci

template <>
struct std::hash<hansa::oci::Digest> {
  std::size_t operator()(const hansa::oci::Digest& digest) const noexcept;
};
