#include "base/shares.h"

#include "base/assert.h"

namespace hansa {

bool Shares::take(std::string_view holder, std::size_t count) {
  if (!counts(holder)) return true;
  const std::size_t held = held_by(holder);
  if (held >= most_ || count > most_ - held) return false;
  add(holder, count);
  return true;
}

void Shares::add(std::string_view holder, std::size_t count) {
  if (!counts(holder) || count == 0) return;
  const auto known = held_.find(holder);
  if (known == held_.end()) {
    held_.emplace(holder, count);
  } else {
    known->second += count;
  }
}

void Shares::give_back(std::string_view holder, std::size_t count) {
  if (!counts(holder) || count == 0) return;
  const auto known = held_.find(holder);
  HANSA_ASSERT(known != held_.end() && known->second >= count, "only what was taken is given back");
  known->second -= count;
  if (known->second == 0) held_.erase(known);
}

std::size_t Shares::held_by(std::string_view holder) const {
  const auto known = held_.find(holder);
  return known == held_.end() ? 0 : known->second;
}

}  // namespace hansa
