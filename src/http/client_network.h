// Whom a connection comes from, for limits per client.
#pragma once

#include <string>
#include <string_view>

namespace hansa::http {

// An IPv4 address stands for one client (or for all behind one translating router). Of IPv6 the first 64 bits do,
// "2001:db8:0:1::/64": the rest is the client's own to choose. `address`: as Connection::client has it; what is no
// address stands for itself.
std::string client_network(std::string_view address);

}  // namespace hansa::http
