// Value: a configuration file as a tree, whatever its format. Scalars stay as they were written, so that weak typing
// ("8080" or 8080) is decided by the key table and messages show what the reader typed.
//
// Keys compare without case. A key may hold "::", which separates levels: {"http::port": "5000"} is
// {"http": {"port": "5000"}}, since dots occur in repository patterns. Two fields of one name are an error.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hansa::server::config {

inline constexpr std::size_t max_config_file = 1024 * 1024;  // bytes
inline constexpr std::size_t max_config_depth = 32;          // levels
inline constexpr std::size_t max_config_values = 20'000;     // also bounds what YAML aliases can blow up

struct Value {
  enum class Kind : std::uint8_t { null, boolean, number, text, list, map };
  Kind kind = Kind::null;
  std::string text;  // of scalars
  std::vector<Value> items;
  struct Field;
  std::vector<Field> fields;  // of maps, in their order
  bool split = false;         // a map that "::" in a key made: a second such key adds to it

  bool scalar() const { return kind == Kind::boolean || kind == Kind::number || kind == Kind::text; }
  const Value* find(std::string_view key) const;  // without regard to case; null: absent
};

struct Value::Field {
  std::string name;
  Value value;
};

std::string lower(std::string_view text);

// Adds a field to a map, dividing the key at "::". invalid(config): there is one of that name already.
Result<void> add_field(Value& map, std::string_view key, Value value);

// Parse a whole file. invalid(config) with the place in the text.
Result<Value> parse_json(std::string_view text);
Result<Value> parse_yaml(std::string_view text);

// By the extension: .json, .yaml, .yml; any other: JSON if it begins with '{', else YAML. `file` is for messages.
Result<Value> parse_file(const std::string& file, std::string_view text);

}  // namespace hansa::server::config
