// For tests: a blocking client on plain sockets, which sends exactly the bytes it is told to, and a server around a
// handler. Not part of the room's library.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "base/assert.h"
#include "http/server.h"
#include "io/asio/event_loops.h"

namespace hansa::http::test {

inline constexpr int patience_ms = 5000;  // longer without an answer is a failure

struct Answer {
  int status = 0;
  std::string head;
  std::string body;

  std::string field(const std::string& name) const {
    const std::size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const std::size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

class Client {
 public:
  // `from`: the client's own address, which is one of 127.0.0.0/8.
  explicit Client(std::uint16_t port, in_addr_t from = INADDR_LOOPBACK)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(from);
    HANSA_ASSERT(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "loopback has it");
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  virtual ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return connected_; }
  int descriptor() const { return fd_; }

  // false: the server has closed the connection.
  bool send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t bytes = write_some(text);
      if (bytes <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(bytes));
    }
    return true;
  }
  void finish_sending() { ::shutdown(fd_, SHUT_WR); }

  // More bytes into the buffer; false at the end, after an error or after too long a silence.
  bool receive() {
    char bytes[64 * 1024];
    const ssize_t count = read_some(bytes, sizeof bytes);
    if (count > 0) received_.append(bytes, static_cast<std::size_t>(count));
    return count > 0;
  }
  // Is something there within the time?
  bool readable(int milliseconds) {
    pollfd entry{.fd = fd_, .events = POLLIN, .revents = 0};
    return !received_.empty() || ::poll(&entry, 1, milliseconds) > 0;
  }
  // Nothing but the end (or a reset) follows.
  bool closed() { return received_.empty() && !receive(); }
  std::string rest() {
    while (receive()) {
    }
    return std::exchange(received_, {});
  }

  // Reads one response; status 0: there was none. `head`: it answers HEAD.
  Answer answer(bool head = false) {
    Answer result;
    std::size_t end = 0;
    while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
      if (!receive()) return result;
    }
    result.head = received_.substr(0, end + 2);
    received_.erase(0, end + 4);
    result.status = std::stoi(result.head.substr(9, 3));
    if (head || result.status < 200 || result.status == 204 || result.status == 304) return result;
    if (result.field("Transfer-Encoding") == "chunked") return chunked(std::move(result));
    const std::string length = result.field("Content-Length");
    if (length.empty()) {
      result.body = rest();
      return result;
    }
    result.body = take(std::stoull(length));
    return result;
  }
  Answer ask(std::string_view request) {
    send(request);
    return answer();
  }
  Answer get(const std::string& target) { return ask("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n"); }

 protected:
  virtual ssize_t write_some(std::string_view text) { return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL); }
  virtual ssize_t read_some(char* out, std::size_t size) {
    pollfd entry{.fd = fd_, .events = POLLIN, .revents = 0};
    HANSA_ASSERT(::poll(&entry, 1, patience_ms) > 0, "the server answers or closes within seconds");
    return ::recv(fd_, out, size, 0);
  }

 private:
  std::string take(std::size_t bytes) {
    while (received_.size() < bytes && receive()) {
    }
    const std::string taken = received_.substr(0, bytes);
    received_.erase(0, bytes);
    return taken;
  }
  Answer chunked(Answer result) {
    for (;;) {
      std::size_t end = 0;
      while ((end = received_.find("\r\n")) == std::string::npos) {
        if (!receive()) {
          result.status = -1;  // cut
          return result;
        }
      }
      const std::size_t size = std::stoul(received_.substr(0, end), nullptr, 16);
      received_.erase(0, end + 2);
      const std::string data = take(size + 2);
      if (data.size() < size + 2) {
        result.status = -1;
        return result;
      }
      result.body += data.substr(0, size);
      if (size == 0) return result;
    }
  }

  int fd_;
  bool connected_ = false;
  std::string received_;
};

// A server on a free loopback port with two loops.
class Running {
 public:
  explicit Running(Handler handler, Limits limits = {}, std::optional<TlsFiles> tls = std::nullopt,
                   io::Traffic* traffic = nullptr)
      : loops_(2) {
    ServerOptions options;
    options.limits = limits;
    options.tls = std::move(tls);
    options.traffic = traffic;
    auto server = listen(loops_, options, std::move(handler), log_);
    HANSA_ASSERT(server.has_value(), "a loopback port can be had");
    server_ = std::move(*server);
  }
  ~Running() {
    server_.reset();
    loops_.stop();
  }
  Server& server() { return *server_; }
  std::uint16_t port() const { return server_->port(); }
  io::asio::EventLoops& loops() { return loops_; }

 private:
  io::asio::EventLoops loops_;
  NullLogger log_;
  std::unique_ptr<Server> server_;
};

// Answers with what it saw: "GET /a?b 5:hello" (method, target, body length and body).
inline io::Task<Response> echo(Request& request) {
  std::string body;
  std::vector<std::byte> buffer(1000);
  for (;;) {
    const auto bytes = co_await request.body->read(buffer);
    if (!bytes) {
      Response failed;
      failed.status = bytes.error().code == ErrorCode::invalid ? 400 : 408;
      failed.body = describe(bytes.error());
      co_return failed;
    }
    if (*bytes == 0) break;
    body += as_text(ConstBytes(buffer).first(*bytes));
  }
  Response response;
  response.body =
      std::string(to_string(request.method)) + " " + request.target + " " + std::to_string(body.size()) + ":" + body;
  co_return response;
}

}  // namespace hansa::http::test
