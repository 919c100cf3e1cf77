// ServerLog: the real Logger: JSON lines in zot's shape, or readable text where a terminal reads. Thread-safe.
//
//   {"time":"2026-08-01T10:00:00.123456789Z","level":"info","message":"...","field":"...","caller":"src/a/b.cc:12",
//    "goroutine":4711}
//
// `goroutine` holds the thread's id: log collectors made for zot expect a number there.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "io/clock.h"

namespace spdlog::sinks {
class sink;
}

namespace hansa::server {

struct LogOptions {
  LogLevel level = LogLevel::info;
  std::string file;   // appended to, mode 0600 when made; empty: standard output
  bool text = false;  // readable text instead of JSON
};

class ServerLog final : public Logger {
 public:
  // config: the file cannot be opened. `clock` outlives the log.
  static Result<std::unique_ptr<ServerLog>> open(io::Clock& clock, LogOptions options);
  ~ServerLog() override;

  bool enabled(LogLevel level) const override { return level >= level_.load(std::memory_order_relaxed); }
  void write(LogLevel level, std::string_view message, LogFields fields, const std::source_location& where) override;

  void set_level(LogLevel level) { level_ = level; }
  // Opens the file anew, for log rotation. On an error the old one stays in use.
  Result<void> reopen();

 private:
  ServerLog(io::Clock& clock, LogOptions options)
      : clock_(clock), options_(std::move(options)), level_(options_.level) {}
  std::string json_line(LogLevel level, std::string_view message, LogFields fields,
                        const std::source_location& where) const;
  std::string text_line(LogLevel level, std::string_view message, LogFields fields) const;

  io::Clock& clock_;
  const LogOptions options_;
  std::atomic<LogLevel> level_;
  std::mutex mutex_;
  std::shared_ptr<spdlog::sinks::sink> sink_;
};

// RFC 3339 with nanoseconds, UTC.
std::string format_time(io::WallTime time);
// A JSON string with its quotes, of printable ASCII. Bytes that are no UTF-8 are replaced.
std::string json_string(std::string_view text);

}  // namespace hansa::server
