// How records become JSON text and back: unknown fields are kept, newer formats refused, nlohmann's exceptions end
// here.
// For the .cc files of this room that encode records.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "catalog/records.h"

namespace hansa::catalog::json {

using Json = nlohmann::json;

inline Error damaged(std::string_view what, std::string_view why) {
  return make_error(ErrorCode::corrupt, "the stored record of a " + std::string(what) + " cannot be read (" +
                                            std::string(why) + "); restore the metadata from a backup");
}

// Writes known fields over the kept unknown ones.
inline Json begin(const RecordBase& base) {
  Json json = Json::object();
  if (!base.extra.empty()) {
    Json extra = Json::parse(base.extra, nullptr, false);
    if (extra.is_object()) json = std::move(extra);
  }
  json["f"] = record_format;
  json["op"] = base.operation;
  return json;
}

inline std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Takes known fields out of an object; what is left over is `extra`.
class Fields {
 public:
  explicit Fields(Json json) : json_(std::move(json)) {}

  template <class T>
  void take(const char* name, T& out) {
    const auto found = json_.find(name);
    if (found == json_.end()) return;
    out = found->get<T>();
    json_.erase(found);
  }
  Json take_json(const char* name) {
    const auto found = json_.find(name);
    if (found == json_.end()) return nullptr;
    Json value = std::move(*found);
    json_.erase(found);
    return value;
  }
  void take_object(const char* name, std::string& out) {
    const Json value = take_json(name);
    if (value.is_object() && !value.empty()) out = text_of(value);
  }
  void finish(RecordBase& base) {
    take("op", base.operation);
    json_.erase("f");
    if (!json_.empty()) base.extra = text_of(json_);
  }

 private:
  Json json_;
};

inline Result<oci::Digest> digest_of(const Json& json) {
  return oci::Digest::parse(json.get_ref<const std::string&>());
}

// Parses, checks the format, and runs `fill(fields)` with exceptions turned into errors.
template <class Record, class Fill>
Result<Record> decoded_json(std::string_view what, Json json, Fill fill) {
  if (!json.is_object()) return damaged(what, "not a JSON object");
  try {
    if (json.value("f", 0) > record_format) {
      return make_error(ErrorCode::unsupported, "the record of a " + std::string(what) +
                                                    " was written by a newer version of Hansa; upgrade this node");
    }
    Record record;
    Fields fields(std::move(json));
    HANSA_CHECK(fill(fields, record));
    fields.finish(record);
    return record;
  } catch (const Json::exception& error) {
    return damaged(what, error.what());
  }
}

template <class Record, class Fill>
Result<Record> decoded(std::string_view what, std::string_view value, Fill fill) {
  return decoded_json<Record>(what, Json::parse(value, nullptr, false), fill);
}

}  // namespace hansa::catalog::json
