#include "oci/digest.h"

#include <gtest/gtest.h>

#include <string>

namespace hansa::oci {
namespace {

std::string hash_of(Algorithm algorithm, std::string_view text) {
  return Digest::compute(algorithm, as_bytes(text)).text();
}

TEST(Digest, ComputesTheVectorsOfFips180) {
  EXPECT_EQ(hash_of(Algorithm::sha256, "abc"),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash_of(Algorithm::sha256, ""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash_of(Algorithm::sha384, "abc"),
            "sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
            "8086072ba1e7cc2358baeca134c825a7");
  EXPECT_EQ(hash_of(Algorithm::sha512, "abc"),
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
}

TEST(Digest, ParsesWhatItWrites) {
  for (const auto algorithm : {Algorithm::sha256, Algorithm::sha384, Algorithm::sha512}) {
    const Digest digest = Digest::compute(algorithm, as_bytes("x"));
    const auto parsed = Digest::parse(digest.text());
    ASSERT_TRUE(parsed);
    EXPECT_EQ(*parsed, digest);
    EXPECT_EQ(parsed->algorithm(), algorithm);
    EXPECT_EQ(Digest::of_hash(algorithm, digest.hash()), digest);
    EXPECT_EQ(std::hash<Digest>{}(*parsed), std::hash<Digest>{}(digest));
  }
}

TEST(Digest, RefusesEverySpellingButTheCanonicalOne) {
  const std::string hex(64, 'a');
  for (const std::string& bad :
       {std::string(), std::string("sha256"), std::string("sha256:"), "sha256:" + hex.substr(1), "sha256:" + hex + "a",
        "sha256:" + std::string(64, 'A'), "SHA256:" + hex, "sha512:" + hex, "md5:" + std::string(32, 'a'),
        "sha256:" + hex.substr(1) + "g", "sha256:" + hex.substr(1) + ":", " sha256:" + hex, "sha256:" + hex + "\n",
        hex}) {
    const auto parsed = Digest::parse(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().code, ErrorCode::invalid);
    EXPECT_EQ(parsed.error().subject, Subject::digest);
  }
  EXPECT_FALSE(parse_algorithm("sha1"));
}

TEST(Digest, OrdersByAlgorithmAndBytes) {
  const auto a = Digest::parse("sha256:" + std::string(64, '1'));
  const auto b = Digest::parse("sha256:" + std::string(64, 'f'));
  const auto c = Digest::parse("sha512:" + std::string(128, '0'));
  EXPECT_LT(*a, *b);
  EXPECT_LT(*b, *c);
}

TEST(Hasher, GivesTheSameDigestForAnyPieces) {
  const std::string text(100'000, 'q');
  Hasher hasher(Algorithm::sha512);
  for (std::size_t at = 0; at < text.size(); at += 777) hasher.update(as_bytes(std::string_view(text).substr(at, 777)));
  EXPECT_EQ(hasher.digest(), Digest::compute(Algorithm::sha512, as_bytes(text)));
}

TEST(Hasher, GoesOnAfterADigestWasTaken) {
  Hasher hasher(Algorithm::sha256);
  EXPECT_EQ(hasher.digest(), Digest::compute(Algorithm::sha256, {}));
  hasher.update(as_bytes("ab"));
  EXPECT_EQ(hasher.digest(), Digest::compute(Algorithm::sha256, as_bytes("ab")));
  Hasher moved = std::move(hasher);
  moved.update(as_bytes("c"));
  EXPECT_EQ(moved.digest(), Digest::compute(Algorithm::sha256, as_bytes("abc")));
}

}  // namespace
}  // namespace hansa::oci
