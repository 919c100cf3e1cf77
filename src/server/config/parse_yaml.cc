#include <yaml-cpp/yaml.h>

#include "server/config/value.h"

namespace hansa::server::config {
namespace {

Error bad(const YAML::Mark& mark, const std::string& why) {
  std::string place;
  if (!mark.is_null()) {
    place = "line " + std::to_string(mark.line + 1) + ", column " + std::to_string(mark.column + 1) + ": ";
  }
  return make_error(ErrorCode::invalid, Subject::config, "not valid YAML: " + place + why);
}

Value scalar_of(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  Value value{.kind = Value::Kind::text, .text = text, .items = {}, .fields = {}};
  const bool plain = node.Tag() == "?";
  if (plain && (text == "true" || text == "false")) value.kind = Value::Kind::boolean;
  return value;
}

// Aliases make a node appear many times: what counts is the tree that comes out.
Result<Value> convert(const YAML::Node& node, std::size_t depth, std::size_t& count) {
  if (depth > max_config_depth) return bad(node.Mark(), "nested too deep");
  if (++count > max_config_values) return bad(node.Mark(), "too many values (aliases count where they are used)");
  switch (node.Type()) {
    case YAML::NodeType::Undefined:
    case YAML::NodeType::Null: return Value{};
    case YAML::NodeType::Scalar: return scalar_of(node);
    case YAML::NodeType::Sequence: {
      Value list{.kind = Value::Kind::list, .text = {}, .items = {}, .fields = {}};
      for (const auto& item : node) {
        HANSA_TRY(auto value, convert(item, depth + 1, count));
        list.items.push_back(std::move(value));
      }
      return list;
    }
    case YAML::NodeType::Map: break;
  }
  Value map{.kind = Value::Kind::map, .text = {}, .items = {}, .fields = {}};
  for (const auto& field : node) {
    if (!field.first.IsScalar()) return bad(field.first.Mark(), "a key must be plain text");
    HANSA_TRY(auto value, convert(field.second, depth + 1, count));
    auto added = add_field(map, field.first.Scalar(), std::move(value));
    if (!added) return bad(field.first.Mark(), added.error().message);
  }
  return map;
}

}  // namespace

Result<Value> parse_yaml(std::string_view text) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    if (documents.empty()) return Value{};
    if (documents.size() > 1) return bad(documents[1].Mark(), "more than one document in the file");
    std::size_t count = 0;
    return convert(documents.front(), 0, count);
  } catch (const YAML::Exception& error) {
    return bad(error.mark, error.msg);
  }
}

}  // namespace hansa::server::config
