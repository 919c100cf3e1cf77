#include "peer/protocol.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "http/text.h"
#include "pki/mac.h"

namespace hansa::peer {
namespace {

constexpr const char* from_field = "Hansa-From";
constexpr const char* to_field = "Hansa-To";
constexpr const char* boot_field = "Hansa-Boot";
constexpr const char* nonce_field = "Hansa-Nonce";
constexpr const char* arguments_field = "Hansa-Arguments";
constexpr const char* result_field = "Hansa-Result";
constexpr const char* error_field = "Hansa-Error";
constexpr const char* body_field = "Hansa-Body";
constexpr const char* mac_field = "Hansa-Mac";

std::string encode(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '%') {
      out += c;
    } else {
      out += '%';
      out += digits[byte >> 4U];
      out += digits[byte & 0xfU];
    }
  }
  return out;
}

Result<std::string> decode(const http::Headers& headers, const char* name) {
  const auto values = headers.all(name);
  if (values.size() > 1) return make_error(ErrorCode::invalid, Subject::request, std::string(name) + " is repeated");
  if (values.empty()) return std::string();
  if (values.front().size() > max_field_bytes) {
    return make_error(ErrorCode::too_large, Subject::request, std::string(name) + " is too large");
  }
  return http::percent_decode(values.front());
}

void append(std::string& out, std::string_view part) {
  out += std::to_string(part.size());
  out += ':';
  out += part;
}

std::string call_mac(const Call& call, std::string_view secret) {
  std::string text;
  for (const std::string_view part :
       {std::string_view("hansa peer call"), std::string_view("POST"), std::string_view(call.verb),
        std::string_view(call.arguments), std::string_view(call.from), std::string_view(call.to),
        std::string_view(call.boot), std::string_view(call.nonce)}) {
    append(text, part);
  }
  append(text, call.body ? "chunked" : "0");
  return pki::hmac_sha256_hex(secret, text);
}

std::string answer_mac(const Answer& answer, std::string_view nonce, std::string_view secret) {
  std::string text;
  append(text, "hansa peer answer");
  append(text, nonce);
  append(text, std::to_string(answer.status));
  append(text, answer.text);
  append(text, answer.body ? "body" : "none");
  return pki::hmac_sha256_hex(secret, text);
}

bool carries(const http::Headers& headers, const std::string& mac) {
  const auto sent = headers.all(mac_field);
  return sent.size() == 1 && pki::equal_in_constant_time(sent.front(), mac);
}

const char* field_of(int status) {
  if (status == answered) return result_field;
  return status == challenge ? boot_field : error_field;
}

template <class Enum>
Enum named(std::string_view name, Enum last, Enum otherwise) {
  for (int i = 0; i <= static_cast<int>(last); ++i) {
    if (to_string(static_cast<Enum>(i)) == name) return static_cast<Enum>(i);
  }
  return otherwise;
}

}  // namespace

bool is_verb(std::string_view verb) {
  return !verb.empty() && std::ranges::all_of(verb, [](char c) {
    return (c >= 'a' && c <= 'z') || http::is_digit(c) || c == '.' || c == '-' || c == '_';
  });
}

Result<http::Headers> call_headers(const Call& call, std::string_view secret) {
  if (!is_verb(call.verb)) return make_error(ErrorCode::invalid, "\"" + call.verb + "\" is no verb of the protocol");
  std::string arguments = encode(call.arguments);
  if (arguments.size() > max_field_bytes) {
    return make_error(ErrorCode::too_large, "the arguments of " + call.verb + " are larger than a member takes");
  }
  http::Headers headers;
  headers.add(from_field, encode(call.from));
  headers.add(to_field, encode(call.to));
  if (!call.boot.empty()) headers.add(boot_field, encode(call.boot));
  headers.add(nonce_field, call.nonce);
  headers.add(arguments_field, std::move(arguments));
  headers.add(mac_field, call_mac(call, secret));
  return headers;
}

Result<Call> read_call(const http::Request& request) {
  Call call;
  call.verb = request.path().substr(peer_path.size());
  if (!is_verb(call.verb)) return make_error(ErrorCode::invalid, Subject::request, "this is no verb of the protocol");
  HANSA_TRY(call.arguments, decode(request.headers, arguments_field));
  HANSA_TRY(call.from, decode(request.headers, from_field));
  HANSA_TRY(call.to, decode(request.headers, to_field));
  HANSA_TRY(call.boot, decode(request.headers, boot_field));
  HANSA_TRY(call.nonce, decode(request.headers, nonce_field));
  call.body = request.chunked;
  if (call.nonce.size() != 2 * nonce_bytes) {
    return make_error(ErrorCode::invalid, Subject::request, "a call carries a nonce of 32 digits");
  }
  return call;
}

bool is_genuine(const Call& call, const http::Headers& headers, std::string_view secret) {
  return carries(headers, call_mac(call, secret));
}

http::Headers answer_headers(const Answer& answer, std::string_view nonce, std::string_view secret) {
  http::Headers headers;
  headers.add(field_of(answer.status), encode(answer.text));
  if (answer.body) headers.add(body_field, "1");
  headers.add(mac_field, answer_mac(answer, nonce, secret));
  return headers;
}

Result<Answer> read_answer(int status, const http::Headers& headers) {
  Answer answer{.status = status, .text = {}, .body = headers.get(body_field) == "1"};
  HANSA_TRY(answer.text, decode(headers, field_of(status)));
  return answer;
}

bool is_genuine(const Answer& answer, const http::Headers& headers, std::string_view nonce, std::string_view secret) {
  return carries(headers, answer_mac(answer, nonce, secret));
}

std::string error_text(const Error& error) {
  const ErrorCode code = error.code == ErrorCode::cancelled ? ErrorCode::ambiguous : error.code;
  const nlohmann::json json{{"code", to_string(code)},
                            {"subject", to_string(error.subject)},
                            {"message", error.message.substr(0, max_message_bytes)}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Error read_error(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  const auto field = [&json](const char* name) {
    if (!json.is_object() || !json.contains(name) || !json[name].is_string()) return std::string();
    return json[name].get<std::string>();
  };
  const std::string message = field("message");
  return make_error(named(field("code"), ErrorCode::internal, ErrorCode::internal),
                    named(field("subject"), Subject::file, Subject::none),
                    message.empty() ? "a member sent an error that cannot be understood" : message);
}

}  // namespace hansa::peer
