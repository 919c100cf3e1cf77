#include "server/open_files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace hansa::server {
namespace {

TEST(OpenFiles, WithManyFilesTheLimitsStayAsTheyAre) {
  EXPECT_EQ(fit(config::Limits{}, 1'048'576), config::Limits{});
  EXPECT_EQ(fit(config::Limits{}, RLIM_INFINITY), config::Limits{});
}

TEST(OpenFiles, WhatIsAllowedFitsIntoTheFilesThatThereAre) {
  for (const std::uint64_t files : {1'024U, 4'096U, 20'000U, 40'000U}) {
    const config::Limits limits = fit(config::Limits{}, files);
    EXPECT_LT(2 * limits.connections + limits.uploads, files);
    EXPECT_LE(limits.connections_per_client, share_of_one(limits.connections));
    EXPECT_LE(limits.uploads_per_client, share_of_one(limits.uploads));
    EXPECT_GT(limits.connections, files / 5);
  }
}

TEST(OpenFiles, WhoWantsNoLimitPerClientGetsNoneAndASmallOneStays) {
  const config::Limits unlimited = fit({.connections_per_client = 0, .uploads_per_client = 0}, 1'024);
  EXPECT_EQ(unlimited.connections_per_client, 0U);
  EXPECT_EQ(unlimited.uploads_per_client, 0U);
  EXPECT_EQ(fit({.connections_per_client = 7, .uploads_per_client = 3}, 1'024).connections_per_client, 7U);
}

TEST(OpenFiles, AreRaisedAsFarAsTheyMayBe) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  low.rlim_cur = std::min<rlim_t>(before.rlim_max, 256);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(raise_open_files(), before.rlim_max);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

}  // namespace
}  // namespace hansa::server
