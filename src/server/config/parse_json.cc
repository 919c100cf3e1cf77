#include <nlohmann/json.hpp>

#include "server/config/value.h"

namespace hansa::server::config {
namespace {

// The library's words without the text that it read last, which may be a secret.
std::string without_text(std::string words) {
  const std::size_t from = words.find("; last read: '");
  if (from == std::string::npos) return words;
  const std::size_t expected = words.rfind("'; expected ");
  const std::size_t to = expected == std::string::npos || expected < from ? words.size() : expected + 1;
  return words.erase(from, to - from);
}

// Builds the tree event by event: a DOM would hide duplicate keys.
class Builder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return add({}); }
  bool boolean(bool value) override { return add(scalar(Value::Kind::boolean, value ? "true" : "false")); }
  bool number_integer(number_integer_t value) override {
    return add(scalar(Value::Kind::number, std::to_string(value)));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return add(scalar(Value::Kind::number, std::to_string(value)));
  }
  bool number_float(number_float_t, const string_t& text) override { return add(scalar(Value::Kind::number, text)); }
  bool string(string_t& value) override { return add(scalar(Value::Kind::text, value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Value::Kind::map); }
  bool start_array(std::size_t) override { return open(Value::Kind::list); }
  bool key(string_t& name) override {
    levels_.back().key = name;
    return true;
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 24: ..."
    const std::string text = error.what();
    const std::size_t end = text.find("] ");
    problem_ = make_error(ErrorCode::invalid, Subject::config,
                          "not valid JSON: " + without_text(end == std::string::npos ? text : text.substr(end + 2)));
    return false;
  }

  Result<Value> finish(bool parsed) {
    if (problem_) return *problem_;
    if (!parsed) return make_error(ErrorCode::invalid, Subject::config, "not valid JSON");
    return std::move(root_);
  }

 private:
  struct Level {
    Value value;
    std::string key;  // of the field that comes next
  };

  static Value scalar(Value::Kind kind, std::string text) {
    return {.kind = kind, .text = std::move(text), .items = {}, .fields = {}};
  }
  bool fail(Error error) {
    problem_ = std::move(error);
    return false;
  }
  bool open(Value::Kind kind) {
    if (levels_.size() >= max_config_depth) {
      return fail(make_error(ErrorCode::invalid, Subject::config, "nested too deep"));
    }
    levels_.push_back({{.kind = kind, .text = {}, .items = {}, .fields = {}}, {}});
    return true;
  }
  bool close() {
    Value done = std::move(levels_.back().value);
    levels_.pop_back();
    return add(std::move(done));
  }
  bool add(Value value) {
    if (++count_ > max_config_values) {
      return fail(make_error(ErrorCode::invalid, Subject::config, "too many values"));
    }
    if (levels_.empty()) {
      root_ = std::move(value);
      return true;
    }
    Level& level = levels_.back();
    if (level.value.kind == Value::Kind::list) {
      level.value.items.push_back(std::move(value));
      return true;
    }
    auto added = add_field(level.value, level.key, std::move(value));
    return added ? true : fail(std::move(added).error());
  }

  Value root_;
  std::vector<Level> levels_;
  std::size_t count_ = 0;
  std::optional<Error> problem_;
};

}  // namespace

Result<Value> parse_json(std::string_view text) {
  Builder builder;
  const bool parsed = nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  return builder.finish(parsed);
}

}  // namespace hansa::server::config
