// Opening listening sockets. Plain system calls, no event loop.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

struct sockaddr_storage;

namespace hansa::http {

struct Listeners {
  std::vector<int> descriptors;  // one per loop, all on the same port; whoever takes them closes them
  std::uint16_t port = 0;
};

// `address`: an IPv4 or IPv6 address, or a host name (its first IPv4 address, else its first); empty: all addresses.
// `port` 0: the kernel chooses. Blocks (name resolution). Errors (config) say what to do.
Result<Listeners> open_listeners(const std::string& address, std::uint16_t port, std::size_t count);

struct PeerAddress {
  std::string address;
  std::uint16_t port = 0;
};
PeerAddress peer_address(const sockaddr_storage& from);

}  // namespace hansa::http
