// Making a connection: see client_loop.h.
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "http/client_loop.h"
#include "http/text.h"
#include "io/wait.h"

namespace hansa::http {
namespace {

constexpr std::size_t most_addresses = 4;  // of one host name that are tried
// For the connection to one address, if there is another: a caller does not wait for long.
constexpr io::Duration patience_with_one = std::chrono::milliseconds(400);
constexpr std::uint64_t largest_port = 65535;

struct Place {
  sockaddr_storage address{};
  socklen_t length = 0;
};

Error unreachable(const std::string& address, std::string_view why) {
  return make_error(ErrorCode::unavailable, "no connection to " + address + ": " + std::string(why));
}

Error gave_up(const std::string& address) {
  return make_error(ErrorCode::cancelled, "cancelled while connecting to " + address);
}

// Blocks, unless the host is an IP address (`numeric`).
Result<std::vector<Place>> look_up(const ClientTarget& target, bool numeric) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (numeric ? AI_NUMERICHOST : 0);
  addrinfo* raw = nullptr;
  const int failure = ::getaddrinfo(target.host.c_str(), target.port.c_str(), &hints, &raw);
  if (failure != 0) return unreachable(target.host + ":" + target.port, ::gai_strerror(failure));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(raw, ::freeaddrinfo);
  std::vector<Place> places;
  for (const addrinfo* entry = list.get(); entry != nullptr && places.size() < most_addresses; entry = entry->ai_next) {
    Place place{.length = entry->ai_addrlen};
    std::memcpy(&place.address, entry->ai_addr, entry->ai_addrlen);
    places.push_back(place);
  }
  return places;
}

io::Task<Result<std::vector<Place>>> resolve(ClientTarget target) {
  auto places = look_up(target, true);
  if (places) co_return places;
  auto ask = [target] { return look_up(target, false); };
  // A resolver that does not answer takes far longer than any caller waits.
  co_return co_await io::abandonable(io::Pool::names, std::move(ask));
}

io::Task<Result<ConnectionPtr>> connect_to(std::shared_ptr<ClientLoop> loop, std::string address, Place place,
                                           Tick deadline) {
  const int descriptor = ::socket(place.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) co_return unreachable(address, std::strerror(errno));
  const int on = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  auto connection = std::make_unique<ClientConnection>(loop, descriptor);
  if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&place.address), place.length) == 0) {
    co_return connection;
  }
  if (errno != EINPROGRESS) co_return unreachable(address, std::strerror(errno));
  const Wake wake = co_await connection->channel.stream.socket().wait(Ready::write, deadline);
  if (wake == Wake::cancelled) co_return gave_up(address);
  if (wake == Wake::timeout) co_return unreachable(address, "no answer within the time limit");
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) co_return unreachable(address, std::strerror(error));
  co_return connection;
}

io::Task<Result<void>> shake_hands(ClientConnection& connection, std::string address, std::shared_ptr<TlsContext> tls,
                                   std::string identity, Tick deadline) {
  Stream& stream = connection.channel.stream;
  HANSA_CO_CHECK(stream.start_tls(std::move(tls), identity));
  for (;;) {
    const Step step = stream.handshake();
    if (step.kind == Step::Kind::moved) co_return Result<void>{};
    if (!step.would_block()) {
      const std::string failure = stream.verify_failure();
      const std::string reason = tls_error();
      if (failure.empty()) co_return unreachable(address, "the TLS handshake failed: " + reason);
      co_return unreachable(address, "the server's certificate is not accepted: " + failure +
                                         (identity.empty() ? "" : "; it must be for " + identity));
    }
    const Wake wake = co_await connection.channel.wait(step, deadline);
    if (wake == Wake::cancelled) co_return gave_up(address);
    if (wake == Wake::timeout) co_return unreachable(address, "no TLS handshake within the time limit");
  }
}

}  // namespace

std::optional<ClientTarget> parse_target(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  std::string_view host = address.substr(0, colon);
  const std::string_view port = address.substr(colon + 1);
  const auto number = parse_decimal(port);
  if (!number || *number == 0 || *number > largest_port) return std::nullopt;
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return std::nullopt;
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return std::nullopt;
  }
  if (host.empty() || host.find_first_of(std::string_view(" \t\r\n\0", 5)) != std::string_view::npos) {
    return std::nullopt;
  }
  return ClientTarget{std::string(host), std::string(port)};
}

io::Task<Result<ConnectionPtr>> connect(std::shared_ptr<ClientLoop> loop, std::string address,
                                        std::shared_ptr<TlsContext> tls, std::string identity) {
  const auto target = parse_target(address);
  if (!target) co_return unreachable(address, "this is no address of the form host:port");
  HANSA_CO_TRY(const auto places, co_await resolve(*target));
  Result<ConnectionPtr> result = unreachable(address, "the name has no address");
  for (const Place& place : places) {
    // A pulse without members stands still, so the deadline counts from a tick that is at most one step old.
    const Tick deadline = loop->deadline(loop->shared->options.limits.connect_timeout);
    const bool last = &place == &places.back();
    result = co_await connect_to(loop, address, place, last ? deadline : loop->deadline(patience_with_one));
    if (result && tls != nullptr) {
      auto secured = co_await shake_hands(**result, address, tls, identity, deadline);
      if (!secured) result = std::move(secured).error();
    }
    if (result || result.error().code == ErrorCode::cancelled) break;
  }
  if (result) loop->shared->connected.fetch_add(1, std::memory_order_relaxed);
  co_return result;
}

}  // namespace hansa::http
