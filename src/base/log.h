// Logger: the logging facade. Nothing global: each Node owns one and hands out references.
//
// A record is a level, a message that is the same text every time, and fields that vary. The sink (JSON lines
// in zot's shape, or text on a terminal) is chosen in `server`. Thread-safe. Never log a secret.
//
//   log.info("blob committed", {{"repository", name.text()}, {"size", size}});
#pragma once

#include <cstdint>
#include <initializer_list>
#include <source_location>
#include <string>
#include <string_view>
#include <variant>

namespace hansa {

enum class LogLevel : std::uint8_t { debug, info, warn, error };

struct LogField {
  std::string_view key;
  std::variant<std::int64_t, std::uint64_t, double, bool, std::string> value;

  LogField(std::string_view k, std::string_view v) : key(k), value(std::string(v)) {}
  LogField(std::string_view k, const char* v) : key(k), value(std::string(v)) {}
  LogField(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  LogField(std::string_view k, bool v) : key(k), value(v) {}
  LogField(std::string_view k, int v) : key(k), value(static_cast<std::int64_t>(v)) {}
  LogField(std::string_view k, unsigned v) : key(k), value(static_cast<std::uint64_t>(v)) {}
  LogField(std::string_view k, long v) : key(k), value(static_cast<std::int64_t>(v)) {}
  LogField(std::string_view k, unsigned long v) : key(k), value(static_cast<std::uint64_t>(v)) {}
  LogField(std::string_view k, double v) : key(k), value(v) {}
};

using LogFields = std::initializer_list<LogField>;

class Logger {
 public:
  virtual ~Logger() = default;
  virtual bool enabled(LogLevel level) const = 0;
  virtual void write(LogLevel level, std::string_view message, LogFields fields, const std::source_location& where) = 0;

  void debug(std::string_view message, LogFields fields = {},
             std::source_location where = std::source_location::current()) {
    if (enabled(LogLevel::debug)) write(LogLevel::debug, message, fields, where);
  }
  void info(std::string_view message, LogFields fields = {},
            std::source_location where = std::source_location::current()) {
    if (enabled(LogLevel::info)) write(LogLevel::info, message, fields, where);
  }
  void warn(std::string_view message, LogFields fields = {},
            std::source_location where = std::source_location::current()) {
    if (enabled(LogLevel::warn)) write(LogLevel::warn, message, fields, where);
  }
  void error(std::string_view message, LogFields fields = {},
             std::source_location where = std::source_location::current()) {
    if (enabled(LogLevel::error)) write(LogLevel::error, message, fields, where);
  }
};

// Swallows everything; for tests.
class NullLogger final : public Logger {
 public:
  bool enabled(LogLevel) const override { return false; }
  void write(LogLevel, std::string_view, LogFields, const std::source_location&) override {}
};

}  // namespace hansa
