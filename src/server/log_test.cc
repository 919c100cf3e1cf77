#include "server/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sim/ports/clock.h"
#include "sim/ports/world.h"

namespace hansa::server {
namespace {

class Log : public testing::Test {
 protected:
  void SetUp() override {
    folder = testing::TempDir() + "hansa-log-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::vector<std::string> lines(const std::string& name) const {
    std::ifstream file(folder + "/" + name);
    std::vector<std::string> out;
    for (std::string line; std::getline(file, line);) out.push_back(line);
    return out;
  }

  sim::World world;
  sim::SimClock clock{world, "node"};
  std::string folder;
};

TEST_F(Log, lines_are_json_in_zots_shape) {
  auto log = *ServerLog::open(clock, {.level = LogLevel::info, .file = folder + "/log", .text = false});
  log->debug("not shown");
  log->warn("a \"quoted\"\nmessage",
            {{"text", std::string("b\xFFz")}, {"number", 7}, {"flag", true}, {"ratio", 0.5}, {"path", "/v2/"}});
  const auto written = lines("log");
  ASSERT_EQ(written.size(), 1U);
  const auto json = nlohmann::json::parse(written[0]);
  EXPECT_EQ(json["level"], "warn");
  EXPECT_EQ(json["message"], "a \"quoted\"\nmessage");
  EXPECT_EQ(json["text"], "b\xEF\xBF\xBDz");
  EXPECT_EQ(json["number"], 7);
  EXPECT_EQ(json["flag"], true);
  EXPECT_EQ(json["ratio"], 0.5);
  EXPECT_EQ(json["path"], "/v2/");
  EXPECT_TRUE(json["goroutine"].is_number_integer());
  EXPECT_THAT(json["caller"].get<std::string>(), testing::StartsWith("src/server/log_test.cc:"));
  EXPECT_THAT(json["time"].get<std::string>(), testing::EndsWith("Z"));
  struct stat info{};
  ASSERT_EQ(::stat((folder + "/log").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(Log, times_are_rfc3339_with_nanoseconds) {
  const io::WallTime time(std::chrono::nanoseconds(1'786'000'000'123'456'789));
  EXPECT_EQ(format_time(time), "2026-08-06T07:06:40.123456789Z");
}

TEST_F(Log, text_is_for_people) {
  auto log = *ServerLog::open(clock, {.level = LogLevel::info, .file = folder + "/log", .text = true});
  log->info("serving", {{"root", "/a b"}, {"port", 5000}});
  EXPECT_THAT(lines("log").at(0), testing::HasSubstr("INFO  serving  root=\"/a b\"  port=5000"));
}

TEST_F(Log, what_a_client_sent_does_nothing_to_a_terminal) {
  const std::string evil = "\x1B[2J\xC2\x9B[31m\x7F\r\n\xE2\x80\xAE\xFF";  // escapes of both kinds, breaks, a reversal
  for (const bool text : {true, false}) {
    auto log = *ServerLog::open(clock, {.level = LogLevel::info, .file = folder + "/log", .text = text});
    log->info("HTTP API", {{"path", evil}});
  }
  const auto written = lines("log");
  ASSERT_EQ(written.size(), 2U);
  for (const auto& line : written) EXPECT_TRUE(std::ranges::all_of(line, [](char c) { return c >= 0x20 && c < 0x7F; }));
  EXPECT_EQ(nlohmann::json::parse(written[1])["path"], evil.substr(0, evil.size() - 1) + "\xEF\xBF\xBD");
}

TEST_F(Log, the_level_changes_and_a_rotated_file_is_opened_anew) {
  auto log = *ServerLog::open(clock, {.level = LogLevel::error, .file = folder + "/log", .text = false});
  log->info("one");
  log->set_level(LogLevel::info);
  log->info("two");
  std::filesystem::rename(folder + "/log", folder + "/old");
  ASSERT_TRUE(log->reopen());
  log->info("three");
  EXPECT_EQ(lines("old").size(), 1U);
  EXPECT_EQ(lines("log").size(), 1U);
}

TEST_F(Log, a_file_that_cannot_be_opened_is_named) {
  std::ofstream(folder + "/file") << "not a folder";
  const auto log = ServerLog::open(clock, {.level = LogLevel::info, .file = folder + "/file/log", .text = false});
  ASSERT_FALSE(log);
  EXPECT_THAT(log.error().message, testing::HasSubstr(folder + "/file/log"));
}

}  // namespace
}  // namespace hansa::server
