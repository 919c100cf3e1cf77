#include "server/command_parts.h"

#include <cstdio>
#include <filesystem>

namespace hansa::server {

int fail(const Error& error) {
  std::string text = error.message;
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1)) {
    text.insert(at + 1, "hansa: ");
  }
  std::fprintf(stderr, "hansa: %s\n", text.c_str());
  return command_failed;
}

Result<config::Config> load_or_default(const std::string& file) {
  if (!file.empty()) return config::load(file);
  HANSA_TRY(const auto state, config::default_state_folder());
  return config::built_in(state);
}

config::Config built_in_at(const std::string& root) {
  return config::built_in(std::filesystem::absolute(root).lexically_normal().string());
}

Result<std::unique_ptr<ServerLog>> quiet_log(io::Clock& clock) {
  return ServerLog::open(clock, {.level = LogLevel::warn, .file = {}, .text = true});
}

}  // namespace hansa::server
