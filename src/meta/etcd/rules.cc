#include "meta/etcd/rules.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

namespace hansa::meta::etcd {

ServerVersion parse_version(std::string_view text) {
  std::array<unsigned, 3> parts{};
  const char* at = text.data();
  const char* end = at + text.size();
  for (auto& part : parts) {
    const auto [next, error] = std::from_chars(at, end, part);
    if (error != std::errc{}) return {};
    at = next;
    if (at == end || *at != '.') break;
    ++at;
  }
  return {.major = parts[0], .minor = parts[1], .patch = parts[2]};
}

bool reads_are_linearizable(const ServerVersion& version) {
  constexpr std::array<ServerVersion, 3> mended{{{3, 4, 42}, {3, 5, 28}, {3, 6, 9}}};
  for (const auto& from : mended) {
    if (version.major == from.major && version.minor == from.minor) return version.patch >= from.patch;
  }
  return version > mended.back();
}

std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (end.empty()) return std::string(1, '\0');  // etcd: every key from here on
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

bool is_leased_key(std::string_view key) {
  return key.starts_with("alive/") || key.starts_with("task/");
}

TxnRequest to_transaction(const Commit& commit, std::string_view prefix,
                          const std::function<Revision(const std::string&)>& mod_of) {
  const std::string base(prefix);
  TxnRequest out;
  std::map<std::string_view, Revision> known;  // mods that the compares fix
  for (const auto& compare : commit.compares) {
    const bool by_mod = compare.field == Compare::Field::mod;
    out.compares.push_back({.key = base + compare.key,
                            .field = by_mod ? TxnCompare::Field::mod : TxnCompare::Field::create,
                            .equals = compare.equals});
    if (by_mod) known.emplace(compare.key, compare.equals);
  }
  std::size_t changes = commit.puts.size();
  for (const auto& put : commit.puts) {
    out.success.push_back(
        {.kind = TxnOperation::Kind::put, .key = base + put.key, .value = put.value, .lease = put.lease});
  }
  for (const auto& key : commit.deletes) {
    const auto fixed = known.find(key);
    Revision mod = 0;
    if (fixed != known.end()) {
      mod = fixed->second;
    } else {
      mod = mod_of(key);
      out.compares.push_back({.key = base + key, .field = TxnCompare::Field::mod, .equals = mod});
    }
    if (mod == 0) continue;  // absent: no event, and head must not count it
    ++changes;
    out.success.push_back({.kind = TxnOperation::Kind::remove, .key = base + key, .value = {}, .lease = 0});
  }
  out.success.push_back({.kind = TxnOperation::Kind::put,
                         .key = base + std::string(head_key),
                         .value = head_value(commit.operation, changes),
                         .lease = 0});
  return out;
}

bool grows(const Commit& commit) {
  std::map<std::string_view, Revision> known;
  for (const auto& compare : commit.compares) {
    if (compare.field == Compare::Field::mod) known.emplace(compare.key, compare.equals);
  }
  std::size_t created = 0;
  for (const auto& put : commit.puts) {
    const std::string_view key = put.key;
    const bool small = is_leased_key(key) || key.starts_with("node/") || key.starts_with("holds/") ||
                       key.starts_with("in/") || key == "tick" || key == "layout";
    const auto mod = known.find(key);
    if (!small && (mod == known.end() || mod->second == 0)) ++created;
  }
  return created > commit.deletes.size();
}

Sequence check_sequence(HeadPosition& head, const ChangeSet& changes) {
  const auto is_head = [](const Change& change) { return change.now.key == head_key; };
  const auto found = std::ranges::find_if(changes.changes, is_head);
  if (found == changes.changes.end()) {
    const auto leased = [](const Change& change) { return is_leased_key(change.now.key); };
    return std::ranges::all_of(changes.changes, leased) ? Sequence::follows : Sequence::foreign;
  }
  if (found->deleted) return Sequence::foreign;
  const bool next = found->now.version == head.version + 1;
  const bool whole = changes.changes.size() - 1 >= head_changes(found->now.value);
  head = {.version = found->now.version, .operation = head_operation(found->now.value)};
  return next && whole ? Sequence::follows : Sequence::gap;
}

bool went_back(const HeadPosition& view, Revision applied, std::uint64_t version, std::string_view operation,
               Revision revision) {
  if (version < view.version || revision < applied) return true;
  return version == view.version && version != 0 && operation != view.operation;
}

}  // namespace hansa::meta::etcd
