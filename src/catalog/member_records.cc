#include "catalog/member_records.h"

#include <algorithm>

#include "catalog/record_json.h"

namespace hansa::catalog {

using namespace json;

namespace {

// The form before members: a list, the client's address first.
void fill_addresses(const Json& json, NodeAddresses& out) {
  if (json.is_array()) {
    if (!json.empty()) out.client = json.at(0).get<std::string>();
    if (json.size() > 1) out.peer = json.at(1).get<std::string>();
  } else if (json.is_object()) {
    out.client = json.value("client", "");
    out.peer = json.value("peer", "");
  }
}

Json to_json(const PullCounts& counts) {
  Json json = Json::object();
  for (const auto& [reference, count] : counts) {
    json[reference] = Json::array({count.pulls, count.last_ms, count.measured_ms});
  }
  return json;
}

PullCounts counts_of(const Json& json) {
  PullCounts counts;
  if (!json.is_object()) return counts;
  for (const auto& [reference, count] : json.items()) {
    PullCount& to = counts[reference];
    to.pulls = count.at(0).get<std::uint64_t>();
    to.last_ms = count.at(1).get<std::int64_t>();
    if (count.size() > 2) to.measured_ms = count.at(2).get<std::int64_t>();
  }
  return counts;
}

}  // namespace

std::string encode(const NodeRecord& record) {
  Json json = begin(record);
  json["disk"] = record.disk;
  json["boot"] = record.boot;
  json["addresses"] = {{"client", record.addresses.client}, {"peer", record.addresses.peer}};
  json["role"] = record.role;
  json["state"] = record.state;
  json["version"] = record.version;
  if (!record.settings.empty()) json["settings"] = record.settings;
  return text_of(json);
}

Result<NodeRecord> decode_node(std::string_view value) {
  return decoded<NodeRecord>("node", value, [](Fields& fields, NodeRecord& record) -> Result<void> {
    fields.take("disk", record.disk);
    fields.take("boot", record.boot);
    fill_addresses(fields.take_json("addresses"), record.addresses);
    fields.take("role", record.role);
    fields.take("state", record.state);
    fields.take("version", record.version);
    fields.take("settings", record.settings);
    return {};
  });
}

std::string encode(const AliveRecord& record) {
  Json json = begin(record);
  json["boot"] = record.boot;
  json["requests"] = record.requests;
  json["uploads"] = record.uploads;
  json["total"] = record.disk_total;
  json["free"] = record.disk_available;
  json["applied"] = record.applied;
  json["missing"] = record.missing;
  json["missing_bytes"] = record.missing_bytes;
  json["filled_bytes"] = record.filled_bytes;
  if (record.seconds_left) json["seconds_left"] = *record.seconds_left;
  json["sent"] = record.sent;
  json["received"] = record.received;
  return text_of(json);
}

Result<AliveRecord> decode_alive(std::string_view value) {
  return decoded<AliveRecord>("sign of life", value, [](Fields& fields, AliveRecord& record) -> Result<void> {
    fields.take("boot", record.boot);
    fields.take("requests", record.requests);
    fields.take("uploads", record.uploads);
    fields.take("total", record.disk_total);
    fields.take("free", record.disk_available);
    fields.take("applied", record.applied);
    fields.take("missing", record.missing);
    fields.take("missing_bytes", record.missing_bytes);
    fields.take("filled_bytes", record.filled_bytes);
    if (const Json left = fields.take_json("seconds_left"); left.is_number_unsigned()) {
      record.seconds_left = left.get<std::uint64_t>();
    }
    fields.take("sent", record.sent);
    fields.take("received", record.received);
    return {};
  });
}

std::string encode(const HoldsRecord& record) {
  Json json = begin(record);
  json["disk"] = record.disk;
  if (record.number != 0) json["number"] = record.number;
  Json at = Json::array();
  for (const auto& [layout, revision] : record.at) at.push_back(Json::array({layout, revision}));
  json["at"] = std::move(at);
  if (record.but.empty()) return text_of(json);
  Json but = Json::array();
  for (const oci::Digest& digest : record.but) but.push_back(digest.text());
  json["but"] = std::move(but);
  return text_of(json);
}

Result<HoldsRecord> decode_holds(std::string_view value) {
  return decoded<HoldsRecord>("mark of a disk", value, [](Fields& fields, HoldsRecord& record) -> Result<void> {
    fields.take("disk", record.disk);
    fields.take("number", record.number);
    for (const Json& entry : fields.take_json("at")) {
      record.at[entry.at(0).get<std::uint64_t>()] = entry.at(1).get<Revision>();
    }
    for (const Json& entry : fields.take_json("but")) {
      HANSA_TRY(oci::Digest digest, digest_of(entry));
      record.but.push_back(std::move(digest));
    }
    std::ranges::sort(record.but);
    return {};
  });
}

std::string encode(const PullBatchRecord& record) {
  Json json = begin(record);
  Json repositories = Json::object();
  for (const auto& [name, counts] : record.repositories) repositories[name] = to_json(counts);
  json["repos"] = std::move(repositories);
  return text_of(json);
}

Result<PullBatchRecord> decode_pull_batch(std::string_view value) {
  return decoded<PullBatchRecord>("count of pulls", value, [](Fields& fields, PullBatchRecord& record) -> Result<void> {
    const Json repositories = fields.take_json("repos");
    if (!repositories.is_object()) return {};
    for (const auto& [name, counts] : repositories.items()) record.repositories[name] = counts_of(counts);
    return {};
  });
}

std::string encode(const FoldedRecord& record) {
  Json json = begin(record);
  json["batches"] = record.batches;
  return text_of(json);
}

Result<FoldedRecord> decode_folded(std::string_view value) {
  return decoded<FoldedRecord>("mark of counted pulls", value,
                               [](Fields& fields, FoldedRecord& record) -> Result<void> {
                                 fields.take("batches", record.batches);
                                 return {};
                               });
}

std::string encode(const StatsRecord& record) {
  Json json = begin(record);
  json["pulls"] = record.pulls;
  json["last"] = record.last_ms;
  json["of"] = to_json(record.entries);
  return text_of(json);
}

Result<StatsRecord> decode_stats(std::string_view value) {
  return decoded<StatsRecord>("counter of pulls", value, [](Fields& fields, StatsRecord& record) -> Result<void> {
    fields.take("pulls", record.pulls);
    fields.take("last", record.last_ms);
    record.entries = counts_of(fields.take_json("of"));
    return {};
  });
}

bool holds_digest(std::string_view id, const NodeRecord& node, const HoldsRecord& holds, const LayoutRecord& layout,
                  const oci::Digest& digest, Revision since) {
  if (since == 0 || node.state != "active" || holds.disk != node.disk) return false;
  const auto at = holds.at.find(layout.number);
  if (at == holds.at.end() || at->second < since) return false;
  if (std::ranges::find(layout.members, id) == layout.members.end()) return false;
  return !std::ranges::binary_search(holds.but, digest);
}

}  // namespace hansa::catalog
