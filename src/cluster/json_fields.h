// Fields of what members say to each other: one that is absent or of another type is no field. `json` is an object.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace hansa::cluster {

inline std::optional<std::string> text_in(const nlohmann::json& json, const char* name) {
  const auto field = json.find(name);
  if (field == json.end() || !field->is_string()) return std::nullopt;
  return field->get<std::string>();
}

inline std::optional<std::uint64_t> number_in(const nlohmann::json& json, const char* name) {
  const auto field = json.find(name);
  if (field == json.end() || !field->is_number_unsigned()) return std::nullopt;
  return field->get<std::uint64_t>();
}

// Absent: false.
inline bool flag_in(const nlohmann::json& json, const char* name) {
  const auto field = json.find(name);
  return field != json.end() && field->is_boolean() && field->get<bool>();
}

}  // namespace hansa::cluster
