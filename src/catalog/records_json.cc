// Records as JSON text.
#include <utility>

#include "catalog/record_json.h"
#include "catalog/records.h"

namespace hansa::catalog {

using namespace json;

namespace {

Json to_json(const ManifestRecord& record) {
  Json json = begin(record);
  json["mt"] = record.media_type;
  json["size"] = record.size;
  if (record.kind == oci::ManifestKind::index) json["index"] = true;
  if (!record.artifact_type.empty()) json["at"] = record.artifact_type;
  if (record.subject) json["subject"] = record.subject->text();
  if (record.details_in_body) json["body"] = true;
  if (!record.annotations.empty()) json["ann"] = record.annotations;
  if (record.pushed_ms != 0) json["when"] = record.pushed_ms;
  if (!record.pushed_by.empty()) json["by"] = record.pushed_by;
  if (record.pushed_mod != 0) json["pushed"] = record.pushed_mod;
  if (record.references.empty()) return json;
  Json references = Json::array();
  for (const ReferenceItem& item : record.references) {
    references.push_back(Json::array({static_cast<int>(item.kind), item.descriptor.digest.text(), item.descriptor.size,
                                      item.descriptor.media_type}));
  }
  json["refs"] = std::move(references);
  return json;
}

Result<void> fill_references(const Json& references, ManifestRecord& record) {
  if (!references.is_array()) return {};
  record.references.reserve(references.size());
  for (const Json& entry : references) {
    ReferenceItem item;
    const int kind = entry.at(0).get<int>();
    if (kind < 0 || kind > static_cast<int>(ReferenceKind::foreign)) return damaged("manifest", "unknown reference");
    item.kind = static_cast<ReferenceKind>(kind);
    HANSA_TRY(item.descriptor.digest, digest_of(entry.at(1)));
    item.descriptor.size = entry.at(2).get<std::uint64_t>();
    item.descriptor.media_type = entry.at(3).get<std::string>();
    record.references.push_back(std::move(item));
  }
  return {};
}

Result<void> fill_manifest(Fields& fields, ManifestRecord& record) {
  fields.take("mt", record.media_type);
  fields.take("size", record.size);
  bool index = false;
  fields.take("index", index);
  record.kind = index ? oci::ManifestKind::index : oci::ManifestKind::image;
  fields.take("at", record.artifact_type);
  if (const Json subject = fields.take_json("subject"); !subject.is_null()) {
    HANSA_TRY(record.subject, digest_of(subject));
  }
  fields.take("body", record.details_in_body);
  fields.take("ann", record.annotations);
  fields.take("when", record.pushed_ms);
  fields.take("by", record.pushed_by);
  fields.take("pushed", record.pushed_mod);
  return fill_references(fields.take_json("refs"), record);
}

Json to_json(const TickMark& mark) {
  return Json::array({mark.number, mark.mod, mark.wall_ms, mark.measured_ms});
}

}  // namespace

std::string encode(const RepositoryRecord& record) {
  Json json = begin(record);
  json["created"] = record.created_ms;
  if (Json settings = Json::parse(record.settings, nullptr, false); settings.is_object()) {
    json["settings"] = std::move(settings);
  }
  return text_of(json);
}

Result<RepositoryRecord> decode_repository(std::string_view value) {
  return decoded<RepositoryRecord>("repository", value, [](Fields& fields, RepositoryRecord& record) -> Result<void> {
    fields.take("created", record.created_ms);
    fields.take_object("settings", record.settings);
    return {};
  });
}

std::string encode(const ManifestRecord& record) {
  return text_of(to_json(record));
}

Result<ManifestRecord> decode_manifest(std::string_view value) {
  return decoded<ManifestRecord>("manifest", value, fill_manifest);
}

std::string encode(const GraveRecord& record) {
  Json json = begin(record);
  json["was"] = to_json(record.was);
  if (record.swept) json["swept"] = true;
  return text_of(json);
}

Result<GraveRecord> decode_grave(std::string_view value) {
  return decoded<GraveRecord>("grave", value, [](Fields& fields, GraveRecord& record) -> Result<void> {
    HANSA_TRY(record.was, decoded_json<ManifestRecord>("grave", fields.take_json("was"), fill_manifest));
    fields.take("swept", record.swept);
    return {};
  });
}

std::string encode(const TagRecord& record) {
  Json json = begin(record);
  json["d"] = record.digest.text();
  json["mt"] = record.media_type;
  if (record.pushed_ms != 0) json["when"] = record.pushed_ms;
  if (!record.pushed_by.empty()) json["by"] = record.pushed_by;
  if (record.pushed_mod != 0) json["pushed"] = record.pushed_mod;
  return text_of(json);
}

Result<TagRecord> decode_tag(std::string_view value) {
  return decoded<TagRecord>("tag", value, [](Fields& fields, TagRecord& record) -> Result<void> {
    HANSA_TRY(record.digest, digest_of(fields.take_json("d")));
    fields.take("mt", record.media_type);
    fields.take("when", record.pushed_ms);
    fields.take("by", record.pushed_by);
    fields.take("pushed", record.pushed_mod);
    return {};
  });
}

std::string encode(const LinkRecord& record) {
  Json json = begin(record);
  json["size"] = record.size;
  if (record.gone) json["gone"] = true;
  if (!record.on.empty()) json["on"] = record.on;
  return text_of(json);
}

Result<LinkRecord> decode_link(std::string_view value) {
  return decoded<LinkRecord>("link", value, [](Fields& fields, LinkRecord& record) -> Result<void> {
    fields.take("size", record.size);
    fields.take("gone", record.gone);
    fields.take("on", record.on);
    return {};
  });
}

std::string encode(const TickRecord& record) {
  Json json = begin(record);
  json["n"] = record.number;
  json["wall"] = record.wall_ms;
  json["len"] = record.length_ms;
  json["measured"] = record.measured_ms;
  Json past = Json::array();
  for (const TickMark& mark : record.past) past.push_back(to_json(mark));
  json["past"] = std::move(past);
  return text_of(json);
}

Result<TickRecord> decode_tick(std::string_view value) {
  return decoded<TickRecord>("tick", value, [](Fields& fields, TickRecord& record) -> Result<void> {
    fields.take("n", record.number);
    fields.take("wall", record.wall_ms);
    fields.take("len", record.length_ms);
    fields.take("measured", record.measured_ms);
    for (const Json& entry : fields.take_json("past")) {
      TickMark mark{entry.at(0).get<TickNumber>(), entry.at(1).get<Revision>(), entry.at(2).get<std::int64_t>()};
      if (entry.size() > 3) mark.measured_ms = entry.at(3).get<std::int64_t>();
      record.past.push_back(mark);
    }
    return {};
  });
}

std::string encode(const LayoutRecord& record) {
  Json json = begin(record);
  json["n"] = record.number;
  json["members"] = record.members;
  json["previous"] = record.previous;
  json["r"] = record.replicas;
  json["w"] = record.write_copies;
  return text_of(json);
}

Result<LayoutRecord> decode_layout(std::string_view value) {
  return decoded<LayoutRecord>("layout", value, [](Fields& fields, LayoutRecord& record) -> Result<void> {
    fields.take("n", record.number);
    fields.take("members", record.members);
    fields.take("previous", record.previous);
    fields.take("r", record.replicas);
    fields.take("w", record.write_copies);
    return {};
  });
}

std::string encode_mark(std::string_view operation) {
  RecordBase base;
  base.operation = operation;
  return text_of(begin(base));
}

bool written_by(std::string_view value, std::string_view operation) {
  const Json json = Json::parse(value, nullptr, false);
  const auto matches = [operation](const Json& object) {
    if (!object.is_object()) return false;
    const auto found = object.find("op");
    return found != object.end() && found->is_string() && found->get_ref<const std::string&>() == operation;
  };
  if (matches(json)) return true;
  if (!json.is_object()) return false;
  const auto was = json.find("was");
  return was != json.end() && matches(*was);
}

}  // namespace hansa::catalog
