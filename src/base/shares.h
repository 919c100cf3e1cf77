// Shares: what each holder has of something that all of them share, and how much one of them may have, so that nobody
// can take all of it.
//
// Not thread-safe: it lives under the lock of what it counts. It remembers only those who have something now, so its
// memory is bounded by what there is to share.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace hansa {

// What one holder may have of `total` where nobody has said otherwise: as much as leaves the others a quarter. Behind
// one address there may be a whole farm of build machines, so it is not less.
constexpr std::size_t share_of_one(std::size_t total) {
  const std::size_t share = total - total / 4;
  return share < 1 ? 1 : share;
}

// An empty holder is nobody known: neither counted nor limited.
class Shares {
 public:
  // `most`: of one holder; 0: no limit, and nothing is counted.
  explicit Shares(std::size_t most) : most_(most) {}

  // So many more; false: the holder would have more than one may have, and nothing changed.
  [[nodiscard]] bool take(std::string_view holder, std::size_t count = 1);
  // So many more, also beyond the limit: of what is there already and is not taken away again.
  void add(std::string_view holder, std::size_t count = 1);
  // REQUIRES: taken or added before.
  void give_back(std::string_view holder, std::size_t count = 1);

  std::size_t most() const { return most_; }
  std::size_t held_by(std::string_view holder) const;
  std::size_t holders() const { return held_.size(); }

 private:
  bool counts(std::string_view holder) const { return most_ != 0 && !holder.empty(); }

  std::size_t most_;
  std::map<std::string, std::size_t, std::less<>> held_;  // never 0
};

}  // namespace hansa
