#include "server/log.h"

#include <fcntl.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace hansa::server {
namespace {

std::string_view level_name(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return "debug";
    case LogLevel::info: return "info";
    case LogLevel::warn: return "warn";
    case LogLevel::error: return "error";
  }
  return "info";
}

// From the project's folder on: "src/node/node.cc".
std::string_view short_path(std::string_view path) {
  const std::size_t at = path.rfind("/src/");
  return at == std::string_view::npos ? path : path.substr(at + 1);
}

// Letters that do nothing to a terminal. Others come escaped: C1 controls are valid UTF-8, and clients choose the text.
bool is_printable(char c) {
  return c >= 0x20 && c < 0x7F;
}

struct FieldText {
  bool json;
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(std::uint64_t value) const { return std::to_string(value); }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(double value) const {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.9g", value);
    const bool number = value - value == 0;  // neither infinite nor NaN, which JSON has not
    return number || !json ? text.data() : "null";
  }
  std::string operator()(const std::string& value) const {
    const bool plain =
        !value.empty() && std::ranges::all_of(value, is_printable) && value.find_first_of(" \"") == std::string::npos;
    return json || !plain ? json_string(value) : value;
  }
};

std::shared_ptr<spdlog::sinks::sink> make_sink(const LogOptions& options) {
  std::shared_ptr<spdlog::sinks::sink> sink;
  if (options.file.empty()) {
    sink = std::make_shared<spdlog::sinks::stdout_sink_st>();
  } else {
    // Made here first, since only the owner may read it.
    const int made = ::open(options.file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (made >= 0) ::close(made);
    sink = std::make_shared<spdlog::sinks::basic_file_sink_st>(options.file);
  }
  sink->set_pattern("%v");
  return sink;
}

Result<std::shared_ptr<spdlog::sinks::sink>> open_sink(const LogOptions& options) {
  try {
    return make_sink(options);
  } catch (const spdlog::spdlog_ex& error) {
    return make_error(
        ErrorCode::io, Subject::config,
        "the log file cannot be appended to (log.output, log.audit): " + options.file + ": " + error.what());
  }
}

}  // namespace

std::string format_time(io::WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss<io::Duration> clock(time - day);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02ld:%02ld:%02ld.%09ldZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<long>(clock.hours().count()), static_cast<long>(clock.minutes().count()),
                static_cast<long>(clock.seconds().count()), static_cast<long>(clock.subseconds().count()));
  return text.data();
}

std::string json_string(std::string_view text) {
  const auto special = [](char c) { return !is_printable(c) || c == '"' || c == '\\'; };
  if (std::ranges::any_of(text, special)) {
    return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  }
  std::string out = "\"";
  out += text;
  return out += '"';
}

Result<std::unique_ptr<ServerLog>> ServerLog::open(io::Clock& clock, LogOptions options) {
  std::unique_ptr<ServerLog> log(new ServerLog(clock, std::move(options)));
  HANSA_TRY(log->sink_, open_sink(log->options_));
  return log;
}

ServerLog::~ServerLog() = default;

Result<void> ServerLog::reopen() {
  if (options_.file.empty()) return {};
  HANSA_TRY(auto fresh, open_sink(options_));
  const std::lock_guard lock(mutex_);
  sink_ = std::move(fresh);
  return {};
}

std::string ServerLog::json_line(LogLevel level, std::string_view message, LogFields fields,
                                 const std::source_location& where) const {
  std::string line = "{\"time\":\"" + format_time(clock_.wall()) + "\",\"level\":\"";
  line += level_name(level);
  line += "\",\"message\":" + json_string(message);
  for (const LogField& field : fields) {
    line += ',' + json_string(field.key) + ':' + std::visit(FieldText{.json = true}, field.value);
  }
  line += ",\"caller\":" + json_string(std::string(short_path(where.file_name())) + ":" + std::to_string(where.line()));
  line += ",\"goroutine\":" + std::to_string(::gettid()) + '}';
  return line;
}

std::string ServerLog::text_line(LogLevel level, std::string_view message, LogFields fields) const {
  std::string line = format_time(clock_.wall()).substr(11, 12) + ' ';
  std::string name(level_name(level));
  std::ranges::transform(name, name.begin(), [](char c) { return static_cast<char>(c - 32); });
  name.resize(6, ' ');
  line += name;
  line += message;
  for (const LogField& field : fields) {
    if (field.key == "headers") continue;  // too long to read
    line += "  " + std::string(field.key) + '=' + std::visit(FieldText{.json = false}, field.value);
  }
  return line;
}

void ServerLog::write(LogLevel level, std::string_view message, LogFields fields, const std::source_location& where) {
  const std::string line = options_.text ? text_line(level, message, fields) : json_line(level, message, fields, where);
  const spdlog::details::log_msg record({}, spdlog::level::info, line);
  const std::lock_guard lock(mutex_);
  try {
    sink_->log(record);
    sink_->flush();
  } catch (const spdlog::spdlog_ex& error) {
    // A full disk must not stop the registry, and there is nowhere else to tell.
    std::fprintf(stderr, "hansa: cannot write the log: %s\n", error.what());
  }
}

}  // namespace hansa::server
