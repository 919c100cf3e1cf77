#include "http/client_network.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>

namespace hansa::http {

std::string client_network(std::string_view address) {
  std::string text(address);
  if (text.find(':') == std::string::npos) return text;
  in6_addr whole{};
  if (::inet_pton(AF_INET6, text.c_str(), &whole) != 1) return text;
  constexpr std::size_t network_bytes = 8;
  std::fill(std::begin(whole.s6_addr) + network_bytes, std::end(whole.s6_addr), std::uint8_t{0});
  std::array<char, INET6_ADDRSTRLEN> network{};
  ::inet_ntop(AF_INET6, &whole, network.data(), network.size());
  return std::string(network.data()) + "/64";
}

}  // namespace hansa::http
