// Result<T>: a value or an Error; std::expected with [[nodiscard]].
//
//   HANSA_TRY(auto size, file.size());        // returns the error from a plain function
//   HANSA_CO_TRY(auto info, co_await stat());  // the same inside a coroutine
//   HANSA_CHECK(disk.sync_directory(path));    // for Result<void>; HANSA_CO_CHECK in coroutines
#pragma once

#include <expected>
#include <utility>

#include "base/error.h"

namespace hansa {

template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
  Result(Error error) : std::expected<T, Error>(std::unexpect, std::move(error)) {}
};

}  // namespace hansa

#define HANSA_CAT_(a, b) a##b
#define HANSA_CAT(a, b) HANSA_CAT_(a, b)
#define HANSA_TRY_(tmp, ret, lhs, ...)  \
  auto tmp = (__VA_ARGS__);             \
  if (!tmp) ret std::move(tmp).error(); \
  lhs = std::move(*tmp)
#define HANSA_TRY(lhs, ...) HANSA_TRY_(HANSA_CAT(try_, __COUNTER__), return, lhs, __VA_ARGS__)
#define HANSA_CO_TRY(lhs, ...) HANSA_TRY_(HANSA_CAT(try_, __COUNTER__), co_return, lhs, __VA_ARGS__)
#define HANSA_CHECK_(tmp, ret, ...)       \
  do {                                    \
    auto tmp = (__VA_ARGS__);             \
    if (!tmp) ret std::move(tmp).error(); \
  } while (false)
#define HANSA_CHECK(...) HANSA_CHECK_(HANSA_CAT(check_, __COUNTER__), return, __VA_ARGS__)
#define HANSA_CO_CHECK(...) HANSA_CHECK_(HANSA_CAT(check_, __COUNTER__), co_return, __VA_ARGS__)
