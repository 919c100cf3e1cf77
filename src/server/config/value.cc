#include "server/config/value.h"

#include <algorithm>

namespace hansa::server::config {
namespace {

constexpr std::string_view delimiter = "::";

Error twice(std::string_view key) {
  return make_error(ErrorCode::invalid, Subject::config,
                    "the key \"" + std::string(key) +
                        "\" is there twice (keys compare without regard to case); remove one of the two");
}

Value* find_field(Value& map, std::string_view key) {
  const std::string wanted = lower(key);
  for (auto& [name, value] : map.fields) {
    if (lower(name) == wanted) return &value;
  }
  return nullptr;
}

}  // namespace

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

const Value* Value::find(std::string_view key) const {
  const std::string wanted = lower(key);
  const auto found = std::ranges::find_if(fields, [&wanted](const auto& field) { return lower(field.name) == wanted; });
  return found == fields.end() ? nullptr : &found->value;
}

Result<void> add_field(Value& map, std::string_view key, Value value) {
  const std::size_t at = key.find(delimiter);
  const bool divided = at != std::string_view::npos && at > 0 && at + delimiter.size() < key.size();
  if (divided) {
    Value inner{.kind = Value::Kind::map, .text = {}, .items = {}, .fields = {}, .split = true};
    HANSA_CHECK(add_field(inner, key.substr(at + delimiter.size()), std::move(value)));
    value = std::move(inner);
    key = key.substr(0, at);
  }
  Value* old = find_field(map, key);
  if (old == nullptr) {
    map.fields.push_back({std::string(key), std::move(value)});
    return {};
  }
  const bool both_maps = old->kind == Value::Kind::map && value.kind == Value::Kind::map;
  if (!both_maps || (!old->split && !value.split)) return twice(key);
  old->split = old->split && value.split;
  for (auto& [name, field] : value.fields) HANSA_CHECK(add_field(*old, name, std::move(field)));
  return {};
}

Result<Value> parse_file(const std::string& file, std::string_view text) {
  if (text.size() > max_config_file) {
    return make_error(ErrorCode::too_large, Subject::config,
                      file + ": a configuration file may have at most " + std::to_string(max_config_file) + " bytes");
  }
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  const bool json = file.ends_with(".json");
  const bool yaml = file.ends_with(".yaml") || file.ends_with(".yml");
  for (const std::string_view other : {".toml", ".hcl", ".ini", ".properties", ".env"}) {
    if (file.ends_with(other)) {
      return make_error(ErrorCode::unsupported, Subject::config,
                        file + ": configuration files of this format are not built yet; write JSON or YAML");
    }
  }
  const bool braces = first != std::string_view::npos && text[first] == '{';
  auto value = json || (!yaml && braces) ? parse_json(text) : parse_yaml(text);
  if (!value) return std::move(value).error().with_context(file);
  if (value->kind != Value::Kind::map || value->fields.empty()) {
    return make_error(ErrorCode::invalid, Subject::config,
                      file + ": there is no key in it; a configuration begins with {\"storage\": …, \"http\": …}");
  }
  return value;
}

}  // namespace hansa::server::config
