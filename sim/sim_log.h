// A log with virtual time, for reading one seed's history (hansa_sim --trace). Silent otherwise.
#pragma once

#include <cstdio>
#include <string>

#include "base/log.h"
#include "sim/ports/world.h"

namespace hansa::sim {

class SimLog final : public Logger {
 public:
  // `who` stands before every line; empty: there is only one.
  SimLog(const World& world, bool loud, std::string who = "") : world_(world), loud_(loud), who_(std::move(who)) {}
  bool enabled(LogLevel) const override { return loud_; }
  void write(LogLevel, std::string_view message, LogFields fields, const std::source_location&) override {
    std::string line = std::to_string(std::chrono::duration<double>(world_.now()).count()) + " ";
    if (!who_.empty()) line += who_ + " ";
    line += message;
    for (const auto& field : fields) {
      line += " " + std::string(field.key) + "=";
      if (const auto* text = std::get_if<std::string>(&field.value)) line += *text;
      if (const auto* number = std::get_if<std::uint64_t>(&field.value)) line += std::to_string(*number);
      if (const auto* number = std::get_if<std::int64_t>(&field.value)) line += std::to_string(*number);
      if (const auto* flag = std::get_if<bool>(&field.value)) line += *flag ? "true" : "false";
    }
    std::fprintf(stderr, "%s\n", line.c_str());
  }

 private:
  const World& world_;
  bool loud_;
  std::string who_;
};

}  // namespace hansa::sim
