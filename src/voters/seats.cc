#include "voters/seats.h"

#include <nlohmann/json.hpp>

namespace hansa::voters {
namespace {

constexpr std::string_view prefix = "seat/";
constexpr std::size_t max_seats = 1000;

std::string key_of(const std::string& node) {
  return std::string(prefix) + node;
}

Result<Seat> seat_of(const meta::KeyValue& record) {
  Seat seat{.node = record.key.substr(prefix.size()), .record = {}, .mod = record.mod};
  HANSA_TRY(seat.record, decode_seat(record.value));
  return seat;
}

}  // namespace

std::string member_text(std::uint64_t id) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (; id != 0; id /= 16) out.insert(out.begin(), digits[id % 16]);
  return out;
}

std::string encode(const SeatRecord& record) {
  return nlohmann::json{{"f", catalog::record_format}, {"op", record.operation},   {"state", record.state},
                        {"disk", record.disk},         {"peer", record.peer_url},  {"client", record.client_url},
                        {"member", record.member},     {"initial", record.initial}}
      .dump();
}

Result<SeatRecord> decode_seat(std::string_view value) {
  const auto json = nlohmann::json::parse(value, nullptr, false);
  SeatRecord out;
  const std::pair<const char*, std::string*> fields[] = {
      {"op", &out.operation},      {"state", &out.state},   {"disk", &out.disk},      {"peer", &out.peer_url},
      {"client", &out.client_url}, {"member", &out.member}, {"initial", &out.initial}};
  for (const auto& [name, field] : fields) {
    if (!json.is_object() || !json.contains(name) || !json[name].is_string()) {
      return make_error(ErrorCode::corrupt, "the stored record of a voter's seat cannot be read");
    }
    *field = json[name].get<std::string>();
  }
  return out;
}

Result<std::vector<Seat>> read_seats(catalog::Snapshot& view) {
  HANSA_TRY(const auto records, view.range(prefix, {}, max_seats));
  std::vector<Seat> out;
  for (const auto& record : records) {
    HANSA_TRY(auto seat, seat_of(record));
    out.push_back(std::move(seat));
  }
  return out;
}

Result<std::optional<Seat>> read_seat(catalog::Snapshot& view, const std::string& node) {
  HANSA_TRY(const auto record, view.get(key_of(node)));
  if (record == nullptr) return std::optional<Seat>{};
  HANSA_TRY(auto seat, seat_of(*record));
  return std::optional<Seat>(std::move(seat));
}

Result<catalog::Plan> plan_seat(const catalog::Planning& planning, const std::string& node, SeatRecord record,
                                catalog::Revision mod) {
  HANSA_TRY(const auto now, planning.view.mod_of(key_of(node)));
  if (now != mod) return make_error(ErrorCode::conflict, "the seat of " + node + " changed meanwhile");
  record.operation = planning.operation;
  meta::Commit commit{.operation = planning.operation, .compares = {}, .puts = {}, .deletes = {}};
  commit.compares.push_back({.key = key_of(node), .equals = mod});
  commit.puts.push_back({.key = key_of(node), .value = encode(record), .lease = 0});
  return catalog::Plan{.commit = std::move(commit), .supply = std::nullopt};
}

}  // namespace hansa::voters
