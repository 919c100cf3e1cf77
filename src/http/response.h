// Writing a response: one writev for a head with its string body, sendfile for files.
#pragma once

#include "http/channel.h"
#include "http/head.h"
#include "http/loop_state.h"
#include "http/message.h"

namespace hansa::http {

inline constexpr std::uint64_t file_piece = 512 * KiB;  // sent between two turns of other connections' work

// What decides about the framing beside the Response.
struct AnswerFacts {
  bool head = false;  // answers HEAD
  bool http10 = false;
  bool close = false;  // the connection closes afterwards
};

// Pure: how the body is framed.
struct BodyPlan {
  bool send = false;
  std::optional<std::uint64_t> length;  // Content-Length
  bool chunked = false;
  bool until_close = false;  // the body ends with the connection (HTTP/1.0)
};
BodyPlan plan_body(const Response& response, const AnswerFacts& facts);

// Pure: status line and fields. ErrorCode::internal: a field of the handler would break the format.
Result<std::string> make_head(const Response& response, const BodyPlan& plan, const AnswerFacts& facts,
                              std::string_view date);

// A plain-text answer of the server's own.
Response text_response(int status, std::string_view message);

// Sends all of it. After an error the connection must be cut: part of the response may have left.
io::Task<Result<void>> send_response(LoopState& loop, Channel& channel, Response& response, AnswerFacts facts);

}  // namespace hansa::http
