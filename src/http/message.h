// Requests and responses as the server hands them to handlers. Knows nothing of OCI. No third-party header here:
// the parser (Boost.Beast) and the sockets stay in .cc files.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "io/byte_source.h"
#include "io/task.h"

namespace hansa::http {

enum class Method : std::uint8_t { get, head, post, put, patch, del, options, other };
std::string_view to_string(Method method);

// Header fields in the order of arrival; names compare without case.
class Headers {
 public:
  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  void set(std::string_view name, std::string value);  // replaces all of that name
  void reserve(std::size_t count) { fields_.reserve(count); }
  // The first value of that name.
  std::optional<std::string_view> get(std::string_view name) const;
  std::vector<std::string_view> all(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

// The query, percent-decoded ('+' is a plus sign: digests and tags never hold spaces), in order.
class Query {
 public:
  static Result<Query> parse(std::string_view text);
  std::optional<std::string_view> get(std::string_view name) const;  // the first
  std::vector<std::string_view> all(std::string_view name) const;
  bool has(std::string_view name) const { return get(name).has_value(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct Connection {
  std::string client;  // address of the peer without its port; IPv4 in its own form also on a dual-stack listener
  std::uint16_t client_port = 0;
  bool tls = false;
  // Common name of the client's certificate, verified against TlsFiles::client_ca; empty: none was given.
  std::string certificate_name;
};

struct Request {
  Method method = Method::get;
  std::string target;  // path and query as sent ("*" for OPTIONS *); of an absolute URL the part after the authority
  // The path split at '/', each segment percent-decoded on its own, so that %2F never becomes a separator. "/v2/" is
  // {"v2", ""}.
  std::vector<std::string> segments;
  Query query;
  Headers headers;
  std::optional<std::uint64_t> content_length;  // absent: none declared (chunked or no body)
  bool chunked = false;
  Connection connection;
  // The body, straight from the socket; always set. Sends "100 Continue" at its first read where the client asked.
  // What a handler leaves unread is drained within a limit, or the connection is closed. A body that breaks the
  // chunked format is ErrorCode::invalid, one that ends too early disconnected, one that stands still timeout.
  io::ByteSource* body = nullptr;

  std::string_view path() const;  // the target without the query
};

// A part of a file, sent with sendfile where possible. `keep` keeps the descriptor open. `prepare` is awaited before
// each piece leaves (chunk verification) with the piece's offset in the file; pieces are at most 512 KiB and end at
// multiples of that. An error for the first piece is answered 503, a later one cuts the connection.
struct FileBody {
  int descriptor = -1;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::shared_ptr<void> keep;
  std::function<io::Task<Result<void>>(std::uint64_t offset, std::uint64_t length)> prepare;
  std::uint64_t first_piece = 0;  // bytes, where they are waited for and the first should leave soon; 0: as they come
};

// Bytes pulled from a source; `length` absent: sent chunked (to an HTTP/1.0 client until the connection closes). An
// error of the source, or fewer bytes than `length`, cuts the connection.
struct StreamBody {
  std::shared_ptr<io::ByteSource> source;
  std::optional<std::uint64_t> length;
};

using Body = std::variant<std::monostate, std::string, std::shared_ptr<const std::string>, FileBody, StreamBody,
                          std::vector<std::variant<std::string, FileBody>>>;  // the last: multipart/byteranges

struct Response {
  int status = 200;
  Headers headers;  // Content-Length, Transfer-Encoding, Connection and Date are the server's business
  Body body;
  // For HEAD: the length that GET would have; the body is left empty.
  std::optional<std::uint64_t> head_length;
  bool close = false;  // close the connection after this response
};

}  // namespace hansa::http
