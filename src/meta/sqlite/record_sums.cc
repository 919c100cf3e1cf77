#include "meta/sqlite/record_sums.h"

#include <array>

#include "base/bytes.h"
#include "meta/sqlite/vfs_state.h"

namespace hansa::meta::sqlite {
namespace {

void append_number(std::string& text, std::uint64_t number) {
  text.append(reinterpret_cast<const char*>(&number), sizeof number);
}

// With both lengths in front no two records have the same text.
std::string text_of(const KeyValue& record) {
  std::string text;
  append_number(text, record.key.size());
  append_number(text, record.value.size());
  append_number(text, record.mod);
  text += record.key;
  text += record.value;
  text.append((8 - text.size() % 8) % 8, '\0');  // whole words
  return text;
}

}  // namespace

void RecordSums::add(const KeyValue& record) {
  constexpr std::uint64_t low_seed = 0x9e3779b97f4a7c15ULL;
  constexpr std::uint64_t high_seed = 0xd1b54a32d192ed03ULL;
  const std::string_view part = std::string_view(record.key).substr(0, record.key.find('/'));
  if (part == "alive" || part == "task") return;
  const std::string text = text_of(record);
  Sum& sum = sums_.try_emplace(std::string(part)).first->second;
  const std::uint64_t before = sum.low;
  sum.low += page_sum(as_bytes(text), low_seed);
  sum.high += page_sum(as_bytes(text), high_seed) + (sum.low < before ? 1 : 0);
}

std::vector<std::pair<std::string, std::string>> RecordSums::take() const {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [part, sum] : sums_) {
    const std::array<std::uint64_t, 2> words{sum.high, sum.low};
    out.emplace_back(part, hex_encode(std::as_bytes(std::span(words))));
  }
  return out;
}

}  // namespace hansa::meta::sqlite
