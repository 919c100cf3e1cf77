#include "server/config/key_table.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "server/config/key_rows.h"
#include "server/config/units.h"
#include "server/config/value.h"

namespace hansa::server::config {
namespace {

constexpr std::string_view store_prefix = "storage.";
constexpr std::string_view sub_stores = "storage.subPaths";

void insert(Schema& root, std::string_view path, const Key& key) {
  Schema* at = &root;
  while (true) {
    const std::size_t dot = path.find('.');
    const std::string name(path.substr(0, dot));
    auto& child = at->children[lower(name)];
    if (!child) child = std::make_unique<Schema>();
    child->name = name;
    at = child.get();
    if (dot == std::string_view::npos) break;
    path.remove_prefix(dot + 1);
  }
  at->key = &key;
}

nlohmann::ordered_json describe(const Schema& schema);

nlohmann::ordered_json object_of(const Schema& schema) {
  nlohmann::ordered_json out;
  out["type"] = "object";
  out["additionalProperties"] = false;
  for (const auto& [name, child] : schema.children) out["properties"][child->name] = describe(*child);
  return out;
}

nlohmann::ordered_json type_of(const Schema& schema) {
  switch (schema.key->type) {
    case Type::object: return object_of(schema);
    case Type::map: {
      const auto any = schema.children.find("*");
      return {{"type", "object"}, {"additionalProperties", object_of(*any->second)}};
    }
    case Type::objects: return {{"type", "array"}, {"items", object_of(schema)}};
    case Type::free: return nlohmann::ordered_json::object();
    case Type::text: return {{"type", {"string", "number"}}};
    case Type::texts: return {{"type", {"array", "string"}}, {"items", {{"type", "string"}}}};
    case Type::boolean: return {{"type", {"boolean", "string"}}};
    case Type::integer: return {{"type", {"integer", "string"}}};
    case Type::number: return {{"type", {"number", "string"}}};
    case Type::duration: return {{"type", {"string", "integer"}}};
  }
  return nlohmann::ordered_json::object();
}

nlohmann::ordered_json describe(const Schema& schema) {
  auto out = type_of(schema);
  const Key& key = *schema.key;
  std::string help(key.help);
  if (key.state == State::not_built) help += " (not built yet)";
  if (!help.empty()) out["description"] = help;
  if (key.fallback.empty()) return out;
  const auto flag = key.type == Type::boolean ? parse_bool(key.fallback) : std::nullopt;
  const auto whole = key.type == Type::integer ? parse_integer(key.fallback) : std::nullopt;
  if (flag) {
    out["default"] = *flag;
  } else if (whole) {
    out["default"] = *whole;
  } else {
    out["default"] = std::string(key.fallback);
  }
  return out;
}

}  // namespace

std::vector<const Key*> key_table() {
  std::vector<const Key*> keys;
  for (const Key& key : storage_rows) keys.push_back(&key);
  for (const Key& key : cluster_rows) keys.push_back(&key);
  for (const Key& key : http_rows) keys.push_back(&key);
  for (const Key& key : extension_rows) keys.push_back(&key);
  return keys;
}

std::unique_ptr<Schema> make_schema() {
  auto root = std::make_unique<Schema>();
  for (const Key* key : key_table()) insert(*root, key->path, *key);
  for (const Key& key : storage_rows) {
    const bool of_a_store = key.path.starts_with(store_prefix) && !key.path.starts_with(sub_stores);
    if (!of_a_store) continue;
    insert(*root, std::string(sub_stores) + ".*." + std::string(key.path.substr(store_prefix.size())), key);
  }
  return root;
}

std::string print_json_schema() {
  nlohmann::ordered_json out;
  out["$schema"] = "http://json-schema.org/draft-07/schema#";
  out["title"] = "hansa configuration";
  out["$comment"] = "Keys compare without regard to case; durations are texts like \"1h30m\" or nanoseconds.";
  out.update(object_of(*make_schema()));
  return out.dump(2) + "\n";
}

}  // namespace hansa::server::config
