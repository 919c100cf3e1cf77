// What a request to a member of a cluster came to: nothing, when it was cut off and may have happened or not, a result,
// or an error that may say that nothing happened.
#pragma once

#include <optional>

#include "base/error.h"
#include "base/result.h"

namespace hansa::sim {

template <class T>
using Answer = std::optional<Result<T>>;

// An error that says that nothing happened.
inline bool is_refusal(const Error& error) {
  switch (error.code) {
    case ErrorCode::invalid:
    case ErrorCode::not_found:
    case ErrorCode::missing_reference:
    case ErrorCode::precondition:
    case ErrorCode::denied:
    case ErrorCode::unauthenticated:
    case ErrorCode::too_large:
    case ErrorCode::referenced: return true;
    default: return false;
  }
}

template <class T>
bool happened(const Answer<T>& answer) {
  return answer && answer->has_value();
}
template <class T>
bool refused(const Answer<T>& answer) {
  return answer && !answer->has_value() && is_refusal(answer->error());
}
template <class T>
bool is(const Answer<T>& answer, ErrorCode code) {
  return answer && !answer->has_value() && answer->error().code == code;
}

}  // namespace hansa::sim
