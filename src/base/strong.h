// Strong<Tag, T>: a value with a meaning of its own, so that a NodeId is never taken for a DiskId.
#pragma once

#include <compare>
#include <functional>
#include <utility>

namespace hansa {

template <class Tag, class T>
class Strong {
 public:
  Strong() = default;
  explicit Strong(T value) : value_(std::move(value)) {}
  const T& value() const { return value_; }
  auto operator<=>(const Strong&) const = default;
  bool operator==(const Strong&) const = default;

 private:
  T value_{};
};

}  // namespace hansa

template <class Tag, class T>
struct std::hash<hansa::Strong<Tag, T>> {
  std::size_t operator()(const hansa::Strong<Tag, T>& id) const noexcept { return std::hash<T>{}(id.value()); }
};
