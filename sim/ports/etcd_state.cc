#include "sim/ports/etcd_state.h"

#include <algorithm>

#include "base/assert.h"

namespace hansa::sim {

using meta::KeyValue;
using meta::Revision;
using meta::etcd::Event;
using meta::etcd::RangeReply;
using meta::etcd::RangeRequest;
using meta::etcd::TxnCompare;

namespace {

constexpr std::string_view last_key = "\xff";  // after all keys

// As etcd's ranges: [key, end), or the one key where `end` is empty.
bool in_range(std::string_view one, std::string_view key, std::string_view end) {
  return end.empty() ? one == key : one >= key && one < end;
}

}  // namespace

void EtcdState::put(const std::string& key, const std::string& value, Revision at) {
  auto& record = keys[key];
  if (record.version == 0) record = {.key = key, .value = {}, .create = at, .mod = 0, .version = 0};
  record.value = value;
  record.mod = at;
  ++record.version;
  events.push_back({.now = record, .deleted = false});
}

bool EtcdState::remove(const std::string& key, Revision at) {
  if (keys.erase(key) == 0) return false;
  events.push_back({.now = {.key = key, .value = {}, .create = 0, .mod = at, .version = 0}, .deleted = true});
  return true;
}

bool EtcdState::holds(const TxnCompare& compare) const {
  const auto known = keys.find(compare.key);
  if (known == keys.end()) return compare.equals == 0;
  switch (compare.field) {
    case TxnCompare::Field::mod: return known->second.mod == compare.equals;
    case TxnCompare::Field::create: return known->second.create == compare.equals;
    case TxnCompare::Field::version: return known->second.version == compare.equals;
  }
  return false;
}

std::map<std::string, KeyValue> EtcdState::replay(Revision at, std::string_view key, std::string_view end) const {
  std::map<std::string, KeyValue> past;
  for (const auto& event : events) {
    if (event.now.mod > at) break;
    if (!in_range(event.now.key, key, end)) continue;
    if (event.deleted) {
      past.erase(event.now.key);
    } else {
      past[event.now.key] = event.now;
    }
  }
  return past;
}

RangeReply EtcdState::range(const RangeRequest& request, Revision at) const {
  const bool newest = at >= revision;
  const auto past = newest ? std::map<std::string, KeyValue>() : replay(at, request.key, request.end);
  const auto& from = newest ? keys : past;
  RangeReply reply;
  for (auto entry = from.lower_bound(request.key); entry != from.end(); ++entry) {
    if (!in_range(entry->first, request.key, request.end)) break;
    ++reply.count;
    if (request.count_only) continue;
    if (request.limit != 0 && reply.values.size() == request.limit) {
      reply.more = true;
      continue;
    }
    reply.values.push_back(entry->second);
    if (request.keys_only) reply.values.back().value.clear();
  }
  return reply;
}

std::vector<Event> EtcdState::since(Revision from, std::string_view key, std::string_view end) const {
  const auto mod = [](const Event& event) { return event.now.mod; };
  std::vector<Event> out;
  for (auto at = std::ranges::lower_bound(events, from, {}, mod); at != events.end(); ++at) {
    if (in_range(at->now.key, key, end)) out.push_back(*at);
  }
  return out;
}

void EtcdState::compact(Revision before) {
  if (before <= compacted) return;
  compacted = before;
  std::map<std::string_view, Revision> last;  // of each key, its last event before then
  for (const Event& event : events) {
    if (event.now.mod < before) last[event.now.key] = event.now.mod;
  }
  std::vector<Event> kept;
  for (const Event& event : events) {
    if (event.now.mod >= before || (!event.deleted && last[event.now.key] == event.now.mod)) kept.push_back(event);
  }
  events = std::move(kept);
}

void EtcdState::rewind(Revision to) {
  HANSA_ASSERT(to >= compacted, "the history is gone from which that state could be made");
  keys = replay(to, "", last_key);
  std::erase_if(events, [to](const Event& event) { return event.now.mod > to; });
  revision = to;
}

}  // namespace hansa::sim
