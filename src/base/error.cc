#include "base/error.h"

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace hansa {

Error Error::with_context(std::string_view context) && {
  Error result = std::move(*this);
  result.message = std::string(context) + ": " + result.message;
  return result;
}

Error make_error(ErrorCode code, Subject subject, std::string message, std::source_location where) {
  return Error{code, subject, std::move(message), where};
}

Error make_error(ErrorCode code, std::string message, std::source_location where) {
  return Error{code, Subject::none, std::move(message), where};
}

Error errno_error(int errno_value, std::string_view what, std::source_location where) {
  ErrorCode code = ErrorCode::io;
  switch (errno_value) {
    case ENOSPC:
    case EDQUOT: code = ErrorCode::out_of_space; break;
    case ENOENT: code = ErrorCode::not_found; break;
    case EEXIST: code = ErrorCode::exists; break;
    case ECONNRESET:
    case EPIPE: code = ErrorCode::disconnected; break;
    default: break;
  }
  // generic_category().message() is thread-safe where strerror() is not.
  return Error{code, Subject::file, std::string(what) + ": " + std::generic_category().message(errno_value), where};
}

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid: return "invalid";
    case ErrorCode::not_found: return "not_found";
    case ErrorCode::exists: return "exists";
    case ErrorCode::conflict: return "conflict";
    case ErrorCode::precondition: return "precondition";
    case ErrorCode::referenced: return "referenced";
    case ErrorCode::missing_reference: return "missing_reference";
    case ErrorCode::range: return "range";
    case ErrorCode::too_large: return "too_large";
    case ErrorCode::too_many: return "too_many";
    case ErrorCode::out_of_space: return "out_of_space";
    case ErrorCode::corrupt: return "corrupt";
    case ErrorCode::unauthenticated: return "unauthenticated";
    case ErrorCode::denied: return "denied";
    case ErrorCode::unsupported: return "unsupported";
    case ErrorCode::unavailable: return "unavailable";
    case ErrorCode::timeout: return "timeout";
    case ErrorCode::cancelled: return "cancelled";
    case ErrorCode::ambiguous: return "ambiguous";
    case ErrorCode::disconnected: return "disconnected";
    case ErrorCode::io: return "io";
    case ErrorCode::internal: return "internal";
  }
  return "unknown";
}

std::string_view to_string(Subject subject) {
  switch (subject) {
    case Subject::none: return "none";
    case Subject::repository: return "repository";
    case Subject::name: return "name";
    case Subject::manifest: return "manifest";
    case Subject::tag: return "tag";
    case Subject::blob: return "blob";
    case Subject::upload: return "upload";
    case Subject::digest: return "digest";
    case Subject::reference: return "reference";
    case Subject::media_type: return "media_type";
    case Subject::request: return "request";
    case Subject::config: return "config";
    case Subject::file: return "file";
  }
  return "unknown";
}

std::string describe(const Error& error) {
  std::string text(to_string(error.code));
  if (error.subject != Subject::none) {
    text += '(';
    text += to_string(error.subject);
    text += ')';
  }
  text += ": " + error.message;
  const std::string_view path = error.where.file_name();
  const auto slash = path.rfind('/');
  text += " [";
  text += slash == std::string_view::npos ? path : path.substr(slash + 1);
  text += ':' + std::to_string(error.where.line()) + ']';
  return text;
}

}  // namespace hansa
