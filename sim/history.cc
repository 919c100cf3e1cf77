#include "sim/history.h"

#include <algorithm>
#include <optional>
#include <unordered_set>

namespace hansa::sim {
namespace {

using Kind = Operation::Kind;

constexpr std::size_t max_states = 2'000'000;
constexpr int most_unknown = 3;  // in a row that one answer needs: a write, a swap of it, a removal of that

// The register after the operation; empty optional: it cannot be told this there.
std::optional<std::string> apply(const Operation& operation, const std::string& state, bool vanishes) {
  switch (operation.kind) {
    case Kind::write: return operation.value;
    case Kind::remove: return state.empty() ? std::nullopt : std::optional<std::string>("");
    case Kind::erase: return state == operation.value ? std::string() : state;
    case Kind::read:
      if (state == operation.value || (vanishes && operation.value.empty())) return operation.value;
      return std::nullopt;
    case Kind::swap: return state == operation.expected ? std::optional(operation.value) : std::nullopt;
    case Kind::differs: return state == operation.expected ? std::nullopt : std::optional(state);
  }
  return std::nullopt;
}

class Search {
 public:
  Search(const std::vector<Operation>& operations, bool vanishes) : vanishes_(vanishes) {
    for (const auto& one : operations) (one.known ? known_ : unknown_).push_back(&one);
    std::ranges::sort(known_, {}, &Operation::began);
    done_.assign(known_.size(), '0');
    used_.assign(unknown_.size(), '0');
  }

  bool run() { return step(""); }
  bool gave_up() const { return seen_.size() >= max_states; }

 private:
  bool step(const std::string& state) {
    const auto first = done_.find('0');
    if (first == std::string::npos) return true;
    if (gave_up() || !seen_.insert(done_.substr(first) + std::to_string(first) + used_ + state).second) return false;
    // What is next began before everything that is left has ended.
    io::Duration end = io::Duration::max();
    for (std::size_t i = first; i < known_.size(); ++i) {
      if (done_[i] == '0') end = std::min(end, known_[i]->ended);
    }
    for (std::size_t i = first; i < known_.size() && known_[i]->began <= end; ++i) {
      if (done_[i] != '0') continue;
      done_[i] = '1';
      if (take(*known_[i], state, end, most_unknown)) return true;
      done_[i] = '0';
    }
    return false;
  }

  // `next` now, or after unknown ones that make a difference to it.
  bool take(const Operation& next, const std::string& state, io::Duration end, int more) {
    const auto after = apply(next, state, vanishes_);
    if (after && step(*after)) return true;
    if (more == 0 || next.kind == Kind::write || (after && next.kind != Kind::erase)) return false;
    for (std::size_t i = 0; i < unknown_.size(); ++i) {
      if (used_[i] != '0' || unknown_[i]->began > end) continue;
      const auto changed = apply(*unknown_[i], state, vanishes_);
      if (!changed || *changed == state) continue;
      if (next.kind == Kind::erase && more == 1 && *changed != next.value) continue;
      used_[i] = '1';
      if (take(next, *changed, end, more - 1)) return true;
      used_[i] = '0';
    }
    return false;
  }

  const bool vanishes_;
  std::vector<const Operation*> known_;  // in the order of their calls
  std::vector<const Operation*> unknown_;
  std::string done_;                      // of known_: '1' where it is in the order already
  std::string used_;                      // of unknown_
  std::unordered_set<std::string> seen_;  // asked only for membership
};

std::string in_words(const Operation& one) {
  const auto shown = [](const std::string& value) { return value.empty() ? std::string("nothing") : value; };
  const auto seconds = [](io::Duration time) { return std::to_string(std::chrono::duration<double>(time).count()); };
  std::string out = "  " + seconds(one.began) + " to " + (one.known ? seconds(one.ended) : "?") + " " + one.who + ": ";
  switch (one.kind) {
    case Kind::write: out += "write " + one.value; break;
    case Kind::remove: out += "remove"; break;
    case Kind::erase: out += "erase " + one.value; break;
    case Kind::read: out += "read " + shown(one.value); break;
    case Kind::swap: out += "write " + one.value + " over " + shown(one.expected); break;
    case Kind::differs: out += "told that it is not " + shown(one.expected); break;
  }
  return out + "\n";
}

}  // namespace

std::string History::check() const {
  Search search(operations_, vanishes_);
  if (search.run()) return {};
  std::string out = search.gave_up() ? "the search for an order was given up\n" : "no order explains\n";
  auto sorted = operations_;
  std::ranges::sort(sorted, {}, &Operation::began);
  for (const auto& one : sorted) out += in_words(one);
  return out;
}

}  // namespace hansa::sim
