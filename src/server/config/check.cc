#include "server/config/check.h"

#include <algorithm>
#include <set>

#include "server/config/units.h"

namespace hansa::server::config {
namespace {

std::string join(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : path + "." + std::string(key);
}

Value map_value() {
  return {.kind = Value::Kind::map, .text = {}, .items = {}, .fields = {}};
}

Value text_value(std::string text) {
  return {.kind = Value::Kind::text, .text = std::move(text), .items = {}, .fields = {}};
}

std::string shown(const Value& value) {
  switch (value.kind) {
    case Value::Kind::null: return "null";
    case Value::Kind::list: return "a list";
    case Value::Kind::map: return "an object";
    case Value::Kind::text: return "\"" + value.text + "\"";
    case Value::Kind::boolean:
    case Value::Kind::number: break;
  }
  return value.text;
}

// Where else in the table a key of this name stands.
std::string known_elsewhere(std::string_view key) {
  for (const Key* row : key_table()) {
    const std::size_t dot = row->path.rfind('.');
    const auto last = dot == std::string_view::npos ? row->path : row->path.substr(dot + 1);
    if (lower(last) == lower(key)) return std::string(row->path);
  }
  return {};
}

// Switched off by its own "enable": false.
bool switched_off(const Value& value) {
  const Value* enable = value.kind == Value::Kind::map ? value.find("enable") : nullptr;
  return enable != nullptr && enable->scalar() && parse_bool(enable->text) == false;
}

// A value of something that is not built, but asks for nothing.
bool asks_for_nothing(const Value& value, const Key& key) {
  if (value.kind == Value::Kind::null || switched_off(value)) return true;
  if (value.kind == Value::Kind::list) return value.items.empty() && key.path != "cluster.members";
  const bool empty_map = value.kind == Value::Kind::map && key.type == Type::map && value.fields.empty();
  if (empty_map) return true;
  if (!value.scalar()) return false;
  if (value.text.empty()) return true;
  if (key.type == Type::boolean) return parse_bool(value.text) == false;
  if (key.type == Type::integer) return parse_integer(value.text) == 0;
  if (key.type == Type::duration) return parse_duration(value.text) == io::Duration::zero();
  return false;
}

class Checker {
 public:
  explicit Checker(Problems& problems) : problems_(problems) {}

  Value object(const Value& value, const Schema& schema, const std::string& path, bool quiet) {
    Value out = map_value();
    for (const auto& [name, field] : value.fields) {
      const auto child = schema.children.find(lower(name));
      if (child == schema.children.end()) {
        unknown(name, path, schema);
        continue;
      }
      const std::string& known = child->second->name;
      out.fields.push_back({known, any(field, *child->second, join(path, known), quiet)});
    }
    std::erase_if(out.fields, [](const auto& field) { return field.value.kind == Value::Kind::null; });
    return out;
  }

 private:
  // `quiet`: something around it is switched off or reported already, so only unknown keys and types matter.
  Value any(const Value& value, const Schema& schema, const std::string& path, bool quiet) {
    const Key& key = *schema.key;
    if (!quiet && key.state == State::not_built && !asks_for_nothing(value, key)) {
      problems_.error(path, "not built yet; remove it" + off_switch(schema));
      quiet = true;
    }
    if (!quiet && key.state == State::ignored) problems_.warn(path, "has no effect: " + std::string(key.help));
    quiet = quiet || key.state == State::not_built;
    if (value.kind == Value::Kind::null || key.type == Type::free) return {};
    switch (key.type) {
      case Type::object: return expect_map(value, path) ? object(value, schema, path, quiet) : Value{};
      case Type::map: return expect_map(value, path) ? map(value, schema, path, quiet) : Value{};
      case Type::objects: return objects(value, schema, path, quiet);
      case Type::texts: return texts(value, path);
      default: return scalar(value, key, path);
    }
  }

  static std::string off_switch(const Schema& schema) {
    return schema.children.contains("enable") ? " or set \"enable\": false" : std::string();
  }

  bool expect_map(const Value& value, const std::string& path) {
    if (value.kind == Value::Kind::map) return true;
    problems_.error(path, "must be an object {…}, not " + shown(value));
    return false;
  }

  Value map(const Value& value, const Schema& schema, const std::string& path, bool quiet) {
    const Schema& element = *schema.children.at("*");
    Value out = map_value();
    for (const auto& [name, field] : value.fields) {
      const std::string place = path + "." + name;
      if (field.kind == Value::Kind::null) continue;
      if (!expect_map(field, place)) continue;
      out.fields.push_back({lower(name), object(field, element, place, quiet)});
    }
    return out;
  }

  Value objects(const Value& value, const Schema& schema, const std::string& path, bool quiet) {
    Value out{.kind = Value::Kind::list, .text = {}, .items = {}, .fields = {}};
    const std::vector<Value> single{value};
    const auto& items = value.kind == Value::Kind::list ? value.items : single;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const std::string place = path + "[" + std::to_string(i) + "]";
      if (expect_map(items[i], place)) out.items.push_back(object(items[i], schema, place, quiet));
    }
    return out;
  }

  Value texts(const Value& value, const std::string& path) {
    Value out{.kind = Value::Kind::list, .text = {}, .items = {}, .fields = {}};
    const std::vector<Value> single{value};
    const auto& items = value.kind == Value::Kind::list ? value.items : single;
    for (const Value& item : items) {
      if (item.scalar()) {
        out.items.push_back(text_value(item.text));
      } else {
        problems_.error(path, "must be a list of texts, not " + shown(item));
      }
    }
    return out;
  }

  Value scalar(const Value& value, const Key& key, const std::string& path) {
    if (!value.scalar()) {
      problems_.error(path, "must be a single value, not " + shown(value));
      return {};
    }
    const auto refuse = [&](std::string_view wanted) {
      problems_.error(path, "must be " + std::string(wanted) + ", not " + shown(value));
      return Value{};
    };
    if (key.type == Type::boolean) {
      const auto flag = parse_bool(value.text);
      return flag ? text_value(*flag ? "true" : "false") : refuse("true or false");
    }
    if (key.type == Type::integer && !parse_integer(value.text)) return refuse("a whole number");
    if (key.type == Type::duration && !parse_duration(value.text))
      return refuse("a duration like \"1h30m\" or \"90s\"");
    return text_value(value.text);
  }

  void unknown(const std::string& name, const std::string& path, const Schema& schema) {
    std::vector<std::string> siblings;
    for (const auto& [_, child] : schema.children) siblings.push_back(child->name);
    const std::string near = nearest(name, siblings);
    const std::string elsewhere = known_elsewhere(name);
    std::string what = "unknown key";
    if (!near.empty()) {
      what += "; did you mean \"" + near + "\"?";
    } else if (!elsewhere.empty()) {
      what += " here; the key of this name is " + elsewhere;
    } else {
      what += "; known here are:";
      for (const auto& sibling : siblings) what += " " + sibling;
    }
    problems_.error(join(path, name), what);
  }

  Problems& problems_;
};

}  // namespace

void Problems::error(std::string_view key, std::string_view what) {
  errors.push_back(std::string(key) + ": " + std::string(what));
}

void Problems::warn(std::string_view key, std::string_view what) {
  warnings.push_back(std::string(key) + ": " + std::string(what));
}

std::string nearest(std::string_view key, const std::vector<std::string>& known) {
  std::string best;
  std::size_t least = std::max<std::size_t>(2, key.size() / 3) + 1;  // more changes than this are another word
  for (const auto& candidate : known) {
    const std::size_t distance = edit_distance(key, candidate);
    if (distance < least && distance < candidate.size()) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

Value check(const Value& file, const Schema& schema, Problems& problems) {
  return Checker(problems).object(file, schema, "", false);
}

}  // namespace hansa::server::config
