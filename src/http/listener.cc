#include "http/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

namespace hansa::http {
namespace {

constexpr int backlog = 1024;  // the kernel cuts it to net.core.somaxconn

struct Target {
  sockaddr_storage address{};
  socklen_t length = 0;
};

void set_port(Target& target, std::uint16_t port) {
  if (target.address.ss_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(target.address).sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in&>(target.address).sin_port = htons(port);
  }
}

std::string place(const std::string& address, std::uint16_t port) {
  const bool v6 = address.find(':') != std::string::npos;
  return (v6 ? "[" + address + "]" : address.empty() ? "*" : address) + ":" + std::to_string(port);
}

Error cannot_listen(const std::string& address, std::uint16_t port, int error) {
  std::string advice;
  switch (error) {
    case EADDRINUSE:
      advice = "the port is in use; stop the program that listens there (ss -ltnp shows it) or choose another port";
      break;
    case EACCES:
      advice = "not allowed; ports below 1024 need root or CAP_NET_BIND_SERVICE, or choose another port";
      break;
    case EADDRNOTAVAIL: advice = "this machine has no such address; use one of its own, or 0.0.0.0 for all"; break;
    case EAFNOSUPPORT: advice = "this machine does not speak that address family (IPv6 switched off?)"; break;
    default: advice = std::strerror(error);
  }
  return make_error(ErrorCode::unavailable, Subject::config,
                    "cannot listen on " + place(address, port) + ": " + advice);
}

Result<Target> resolve(const std::string& address, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* raw = nullptr;
  const int failure =
      ::getaddrinfo(address.empty() ? nullptr : address.c_str(), std::to_string(port).c_str(), &hints, &raw);
  if (failure != 0) {
    return make_error(ErrorCode::invalid, Subject::config,
                      "cannot listen on " + place(address, port) + ": the address cannot be resolved (" +
                          ::gai_strerror(failure) + "); give an IP address or a host name of this machine");
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(raw, ::freeaddrinfo);
  // All addresses: the IPv6 wildcard takes IPv4 too. A name: IPv4 first.
  const int preferred = address.empty() ? AF_INET6 : AF_INET;
  const addrinfo* chosen = list.get();
  for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family != preferred) continue;
    chosen = entry;
    break;
  }
  Target target{.length = chosen->ai_addrlen};
  std::memcpy(&target.address, chosen->ai_addr, chosen->ai_addrlen);
  return target;
}

// A bound socket, or -errno.
int bind_socket(const Target& target, bool share_port) {
  const int descriptor = ::socket(target.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -errno;
  const int on = 1;
  const int off = 0;
  ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (share_port) ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (target.address.ss_family == AF_INET6) ::setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (::bind(descriptor, reinterpret_cast<const sockaddr*>(&target.address), target.length) == 0) return descriptor;
  const int error = errno;
  ::close(descriptor);
  return -error;
}

std::uint16_t port_of(int descriptor) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length);
  return peer_address(address).port;
}

}  // namespace

PeerAddress peer_address(const sockaddr_storage& from) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (from.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(from);
    ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    return {text.data(), ntohs(v4.sin_port)};
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(from);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    ::inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text.data(), text.size());
  } else {
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
  }
  return {text.data(), ntohs(v6.sin6_port)};
}

Result<Listeners> open_listeners(const std::string& address, std::uint16_t port, std::size_t count) {
  HANSA_TRY(Target target, resolve(address, port));
  // A port shared by SO_REUSEPORT would also be shared with another Hansa of the same user: half of the requests would
  // go there. So the first attempt does not share, which fails if anybody listens.
  int probe = bind_socket(target, false);
  if (probe == -EAFNOSUPPORT && address.empty()) {
    HANSA_TRY(target, resolve("0.0.0.0", port));
    probe = bind_socket(target, false);
  }
  if (probe < 0) return cannot_listen(address, port, -probe);
  ::close(probe);
  Listeners listeners;
  const auto close_all = [&listeners] {
    for (const int descriptor : listeners.descriptors) ::close(descriptor);
  };
  for (std::size_t i = 0; i < count; ++i) {
    const int descriptor = bind_socket(target, true);
    if (descriptor < 0) {
      close_all();
      return cannot_listen(address, port, -descriptor);
    }
    listeners.descriptors.push_back(descriptor);
    if (::listen(descriptor, backlog) != 0) {
      const int error = errno;
      close_all();
      return cannot_listen(address, port, error);
    }
    if (i == 0) listeners.port = port_of(descriptor);
    set_port(target, listeners.port);
  }
  return listeners;
}

}  // namespace hansa::http
