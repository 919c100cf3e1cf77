// What the commands share: how they fail, which configuration they take, how they log.
#pragma once

#include <memory>
#include <string>

#include "io/clock.h"
#include "server/config/config.h"
#include "server/log.h"

namespace hansa::server {

inline constexpr int command_failed = 1;
inline constexpr int command_usage = 2;

// Prints the error, one "hansa: " per line (a configuration may have several mistakes); returns command_failed.
int fail(const Error& error);

// The configuration of this file; of none: the built-in one with the default state folder.
Result<config::Config> load_or_default(const std::string& file);

// The built-in configuration on another data folder.
config::Config built_in_at(const std::string& root);

// The log of commands that end by themselves: text, warnings only, on standard error's terminal or file alike.
Result<std::unique_ptr<ServerLog>> quiet_log(io::Clock& clock);

}  // namespace hansa::server
