#include "base/shares.h"

#include "base/assert.h"

namespace hansa {

bool Shares::take(std::string_view holder) {
  if (!counts(holder)) return true;
  const auto known = held_.find(holder);
  if (known == held_.end()) {
    held_.emplace(holder, 1);
    return true;
  }
  if (known->second >= most_) return false;
  ++known->second;
  return true;
}

void Shares::add(std::string_view holder) {
  if (!counts(holder)) return;
  const auto known = held_.find(holder);
  if (known == held_.end()) {
    held_.emplace(holder, 1);
  } else {
    ++known->second;
  }
}

void Shares::give_back(std::string_view holder) {
  if (!counts(holder)) return;
  const auto known = held_.find(holder);
  HANSA_ASSERT(known != held_.end(), "only what was taken is given back");
  if (--known->second == 0) held_.erase(known);
}

std::size_t Shares::held_by(std::string_view holder) const {
  const auto known = held_.find(holder);
  return known == held_.end() ? 0 : known->second;
}

}  // namespace hansa
