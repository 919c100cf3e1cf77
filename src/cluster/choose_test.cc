#include "cluster/choose.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "sim/ports/random.h"

namespace hansa::cluster {
namespace {

constexpr std::uint64_t layer = 64ULL * 1024 * 1024;

std::vector<Source> members(std::size_t count) {
  std::vector<Source> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back({.id = io::NodeId("node-" + std::to_string(i)), .load = 0});
  return out;
}

oci::Digest digest(int n) {
  return oci::Digest::compute(oci::Algorithm::sha256, as_bytes("layer " + std::to_string(n)));
}

TEST(ChooseSource, NobodyIsThereToChoose) {
  EXPECT_EQ(choose_source({}, "key", 1), std::nullopt);
}

TEST(ChooseSource, WithoutLoadTheSameBytesComeFromTheSameMember) {
  auto sources = members(5);
  const auto key = source_key(digest(1), 0);
  const auto first = choose_source(sources, key, layer);
  EXPECT_EQ(choose_source(sources, key, layer), first);
  std::ranges::reverse(sources);
  EXPECT_EQ(4 - *choose_source(sources, key, layer), *first) << "the order of the list says nothing";
}

TEST(ChooseSource, ManyBlobsSpreadEvenlyWithoutLoad) {
  const auto sources = members(5);
  std::map<std::size_t, int> chosen;
  for (int n = 0; n < 10'000; ++n) ++chosen[*choose_source(sources, source_key(digest(n), 0), layer)];
  for (const auto& [index, count] : chosen) EXPECT_NEAR(count, 2000, 200) << index;
}

// The shares of 20 clients that pull 8 layers each, whose requests all stand in the account.
TEST(ChooseSource, OneHotImageSpreadsEvenlyOverAnyNumberOfMembers) {
  for (const std::size_t count : {2U, 3U, 5U}) {
    auto sources = members(count);
    for (int client = 0; client < 20; ++client) {
      for (int n = 0; n < 8; ++n) sources[*choose_source(sources, source_key(digest(n), 0), layer)].load += layer;
    }
    const auto [least, most] = std::ranges::minmax(sources, {}, &Source::load);
    EXPECT_LE(static_cast<double>(most.load), 1.15 * static_cast<double>(least.load)) << count;
  }
}

TEST(ChooseSource, WhoHasMuchToSendAlreadyIsNotAsked) {
  sim::SimRandom random(7, "loads");
  for (int n = 0; n < 1000; ++n) {
    auto sources = members(5);
    for (auto& source : sources) source.load = random.below(20) * layer;
    const auto least = std::ranges::min_element(sources, {}, &Source::load)->load;
    EXPECT_LT(sources[*choose_source(sources, source_key(digest(n), 0), layer)].load, least + load_slack * layer);
  }
}

TEST(ChooseSource, PartsOfOneBlobSpread) {
  const auto sources = members(5);
  std::map<std::size_t, int> chosen;
  for (std::uint64_t at = 0; at < 100; ++at) {
    ++chosen[*choose_source(sources, source_key(digest(1), at * range_bucket), range_bucket)];
  }
  EXPECT_EQ(chosen.size(), 5U);
  EXPECT_EQ(source_key(digest(1), 1), source_key(digest(1), range_bucket - 1));
}

TEST(MayRedirectTo, NamesAndPublicAddressesOnlyAndNeverFromTlsToPlainHttp) {
  for (const char* good : {"http://r1.example:5000", "https://r1.example", "http://localhost:5000", "http://node1",
                           "http://8.8.8.8:5000", "http://172.15.0.1", "http://1.2.3.4.example"}) {
    EXPECT_TRUE(may_redirect_to(good, false)) << good;
  }
  for (const char* bad : {"", "ftp://r1.example", "http://", "http://127.0.0.1:5000", "http://10.1.2.3", "r1.example",
                          "http://192.168.1.1:80/", "https://172.16.0.1", "http://[::1]:5000", "http://169.254.1.1",
                          "http://100.64.0.1", "http://0.0.0.0:5000"}) {
    EXPECT_FALSE(may_redirect_to(bad, false)) << bad;
  }
  EXPECT_TRUE(may_redirect_to("https://r1.example", true));
  EXPECT_FALSE(may_redirect_to("http://r1.example", true));
}

}  // namespace
}  // namespace hansa::cluster
