// Error: the one error type of the project. Operating errors travel as values (base/result.h); broken
// invariants stop the process (base/assert.h); exceptions never cross a room.
//
// A cause and the thing it concerns are kept apart, so that one function of `api` can turn any error into
// the distribution specification's code and status: (not_found, blob) is BLOB_UNKNOWN, (invalid, digest) is
// DIGEST_INVALID, and so on.
//
// `message` is for operators and is also shown to clients: it says what is wrong, where, and what to do, and
// never contains a secret.
#pragma once

#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>

namespace hansa {

enum class ErrorCode : std::uint8_t {
  invalid,            // the input breaks a rule; the same input will always be refused
  not_found,          // it does not exist (decided by metadata, never by a missing file)
  exists,             // it exists already and must not
  conflict,           // lost a race; planning anew may succeed
  precondition,       // If-Match or a like condition does not hold
  referenced,         // it is still needed by something else and cannot be deleted
  missing_reference,  // what the input refers to does not exist
  range,              // offset or range outside what is allowed
  too_large,          // over a named size limit
  too_many,           // over a named count, rate or concurrency limit: slow down, retry later
  out_of_space,       // the disk or the store is full
  corrupt,            // stored bytes are not what they should be
  unauthenticated,    // no or wrong credentials
  denied,             // known caller, not allowed
  unsupported,        // not built, or not accepted here
  unavailable,        // cannot be done now; retry later
  timeout,            // a deadline passed
  cancelled,          // the surrounding scope was cancelled; nobody retries or swallows this
  ambiguous,          // it happened once or not at all, and it cannot be known which
  disconnected,       // the peer went away
  io,                 // an I/O call failed
  internal,           // a bug of ours
};

// What an error concerns.
enum class Subject : std::uint8_t {
  none,
  repository,
  name,  // a repository name as text
  manifest,
  tag,
  blob,
  upload,
  digest,  // a digest as text
  reference,
  media_type,
  request,
  config,
  file,
};

struct [[nodiscard]] Error {
  ErrorCode code = ErrorCode::internal;
  Subject subject = Subject::none;
  std::string message;
  std::source_location where;

  // The same error with "context: " in front of its message. Use once per room boundary.
  Error with_context(std::string_view context) &&;
};

// Makes an error that remembers the caller's place in the source.
Error make_error(ErrorCode code, Subject subject, std::string message,
                 std::source_location where = std::source_location::current());
Error make_error(ErrorCode code, std::string message, std::source_location where = std::source_location::current());

// Error from an errno value; ENOSPC and EDQUOT become out_of_space, ENOENT not_found, EEXIST exists, else io.
Error errno_error(int errno_value, std::string_view what, std::source_location where = std::source_location::current());

std::string_view to_string(ErrorCode code);
std::string_view to_string(Subject subject);

// One line for logs: "not_found(blob): message [file:line]".
std::string describe(const Error& error);

}  // namespace hansa
