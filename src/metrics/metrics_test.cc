#include <gtest/gtest.h>

#include <thread>

#include "metrics/server_metrics.h"

namespace hansa::metrics {
namespace {

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

BuildInfo build() {
  return {.version = "0.1", .spec_version = "1.1.1", .commit = "abc"};
}

TEST(ServerMetrics, CountsRequestsByMethodAndCode) {
  ServerMetrics metrics(build());
  metrics.request("GET", 200, 0.01, "a/b");
  metrics.request("GET", 200, 0.6, "a/b");
  metrics.request("PUT", 201, 0.01, "");
  metrics.request("BREW", 405, 0.01, "");
  const std::string text = metrics.render();
  EXPECT_TRUE(has_line(text, R"(zot_http_requests_total{code="200",method="GET"} 2)")) << text;
  EXPECT_TRUE(has_line(text, R"(zot_http_requests_total{code="201",method="PUT"} 1)"));
  EXPECT_TRUE(has_line(text, R"(zot_http_requests_total{code="405",method="OTHER"} 1)"));
  EXPECT_TRUE(has_line(text, R"(zot_http_method_latency_seconds_bucket{method="GET",le="0.05"} 1)"));
  EXPECT_TRUE(has_line(text, R"(zot_http_method_latency_seconds_count{method="GET"} 2)"));
  EXPECT_TRUE(has_line(text, R"(zot_http_repo_latency_seconds_count{repo="a/b"} 2)"));
  EXPECT_TRUE(has_line(text, R"(zot_http_repo_latency_seconds_count{repo="N/A"} 2)"));
}

TEST(ServerMetrics, CountsDownloadsAndUploadsByRepository) {
  ServerMetrics metrics(build());
  metrics.download("r");
  metrics.download("r");
  metrics.upload("s");
  const std::string text = metrics.render();
  EXPECT_TRUE(has_line(text, R"(zot_repo_downloads_total{repo="r"} 2)")) << text;
  EXPECT_TRUE(has_line(text, R"(zot_repo_uploads_total{repo="s"} 1)"));
}

TEST(ServerMetrics, ManyRepositoriesShareOneLabel) {
  ServerMetrics metrics(build());
  for (std::size_t i = 0; i < max_repository_labels + 50; ++i) metrics.download("r" + std::to_string(i));
  const std::string text = metrics.render();
  EXPECT_TRUE(has_line(text, R"(zot_repo_downloads_total{repo="_other"} 50)"));
  EXPECT_TRUE(has_line(text, R"(zot_repo_downloads_total{repo="r999"} 1)"));
  EXPECT_EQ(text.find(R"(repo="r1000")"), std::string::npos);
}

TEST(ServerMetrics, NodeNumbersAreReadAtEachScrape) {
  ServerMetrics metrics(build());
  std::uint64_t uploads = 1;
  metrics.set_source([&] { return NodeNumbers{.ready = true, .uploads = uploads}; });
  EXPECT_TRUE(has_line(metrics.render(), "hansa_uploads 1"));
  uploads = 7;
  EXPECT_TRUE(has_line(metrics.render(), "hansa_uploads 7"));
  EXPECT_TRUE(has_line(metrics.render(), "hansa_ready 1"));
}

TEST(ServerMetrics, ASingleNodeShowsOneMemberAndNothingOfASharedStore) {
  ServerMetrics metrics(build());
  metrics.set_source([] { return NodeNumbers{.ready = true}; });
  const std::string text = metrics.render();
  EXPECT_TRUE(has_line(text, "hansa_members 1")) << text;
  EXPECT_TRUE(has_line(text, "hansa_members_alive 1"));
  EXPECT_EQ(text.find("hansa_metadata"), std::string::npos);
  EXPECT_EQ(text.find("hansa_view"), std::string::npos);
}

TEST(ServerMetrics, AMemberShowsItsClusterItsStoreAndItsView) {
  ServerMetrics metrics(build());
  NodeNumbers numbers{.ready = true, .members = 3, .members_alive = 2, .redirects = 12};
  numbers.metadata = MetadataNumbers{.reachable = true,
                                     .alarm = true,
                                     .view_lag = 4,
                                     .barriers = 50,
                                     .engine_reads = 6,
                                     .commits = 7,
                                     .unknown_commits = 8,
                                     .resyncs = 9,
                                     .view_differences = 10,
                                     .size = 11};
  numbers.copies = {.missing = 13,
                    .missing_bytes = 14,
                    .left_out = 15,
                    .filled = 16,
                    .filled_bytes = 17,
                    .fetched = 18,
                    .fetched_bytes = 19};
  metrics.set_source([&] { return numbers; });
  const std::string text = metrics.render();
  for (const char* line : {"hansa_members 3",
                           "hansa_members_alive 2",
                           "hansa_metadata_reachable 1",
                           "hansa_metadata_alarm 1",
                           "hansa_view_lag_revisions 4",
                           "hansa_metadata_barriers 50",
                           "hansa_metadata_barrier_reads 6",
                           "hansa_metadata_commits 7",
                           "hansa_metadata_unknown_commits 8",
                           "hansa_view_resyncs 9",
                           "hansa_redirects 12",
                           "hansa_view_differences 10",
                           "hansa_metadata_size_bytes 11",
                           "hansa_missing_blobs 13",
                           "hansa_missing_bytes 14",
                           "hansa_left_out_blobs 15",
                           "hansa_filled_blobs 16",
                           "hansa_filled_bytes 17",
                           "hansa_fetched_blobs 18",
                           "hansa_fetched_bytes 19"}) {
    EXPECT_TRUE(has_line(text, line)) << line << "\n" << text;
  }
  numbers.metadata->alarm = false;
  EXPECT_TRUE(has_line(metrics.render(), "hansa_metadata_alarm 0"));
}

TEST(ServerMetrics, NothingIsLostBetweenThreads) {
  ServerMetrics metrics(build());
  const auto work = [&] {
    for (int i = 0; i < 1000; ++i) {
      metrics.request("GET", 200, 0.001, "r" + std::to_string(i % 5));
      metrics.download("r");
    }
  };
  {
    std::jthread a(work);
    std::jthread b(work);
  }
  const std::string text = metrics.render();
  EXPECT_TRUE(has_line(text, R"(zot_http_requests_total{code="200",method="GET"} 2000)")) << text;
  EXPECT_TRUE(has_line(text, R"(zot_repo_downloads_total{repo="r"} 2000)"));
}

}  // namespace
}  // namespace hansa::metrics
