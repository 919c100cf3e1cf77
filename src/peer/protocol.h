// What members say to each other over HTTP, without I/O.
//
//   POST /v2/_hansa/peer/<verb>          Hansa-From, -To, -Boot, -Nonce, -Arguments, -Mac; body
//   200 Hansa-Result, Hansa-Mac; body    the handler's answer
//   422 Hansa-Error                      the handler's error, {code, subject, message}
//   401 Hansa-Error                      the request proves no knowledge of the cluster's secret
//   409 Hansa-Boot                       the target's boot nonce is another: ask again with this one
//   425 Hansa-Error                      this request was received before
//
// Fields are printable ASCII, everything else percent-encoded. Requests and answers carry HMAC-SHA256s under the
// cluster's secret, over each part with its length. They cover the heads; a body's bytes are protected by TLS, where
// there is none only by what the verb itself checks (digests).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"

namespace hansa::peer {

inline constexpr std::size_t max_field_bytes = 32 * 1024;   // arguments, results and errors, encoded
inline constexpr std::size_t max_message_bytes = 4 * 1024;  // of an error
inline constexpr std::size_t nonce_bytes = 16;
inline constexpr std::string_view join_path = "/v2/_hansa/join";
inline constexpr std::string_view peer_path = "/v2/_hansa/peer/";

enum Status : int { answered = 200, stranger = 401, challenge = 409, failed = 422, repeated = 425 };

struct Call {
  std::string verb;
  std::string arguments;
  std::string from;
  std::string to;
  std::string boot;   // the target's, as far as known
  std::string nonce;  // random, never used twice
  bool body = false;
};

// Lower-case letters, digits, '.', '-' and '_'.
bool is_verb(std::string_view verb);

// Errors: invalid (verb), too_large (arguments).
Result<http::Headers> call_headers(const Call& call, std::string_view secret);
// Does not verify. Errors: invalid, what is malformed or lacks.
Result<Call> read_call(const http::Request& request);
bool is_genuine(const Call& call, const http::Headers& headers, std::string_view secret);

struct Answer {
  int status = answered;
  std::string text;  // the result, the error as JSON or the boot nonce
  bool body = false;
};
// `nonce`: of the call that is answered.
http::Headers answer_headers(const Answer& answer, std::string_view nonce, std::string_view secret);
Result<Answer> read_answer(int status, const http::Headers& headers);
bool is_genuine(const Answer& answer, const http::Headers& headers, std::string_view nonce, std::string_view secret);

// What became of the handler's error at its caller: `cancelled` there is `ambiguous` here.
std::string error_text(const Error& error);
Error read_error(std::string_view text);

}  // namespace hansa::peer
