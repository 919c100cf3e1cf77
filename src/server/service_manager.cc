#include "server/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <system_error>

namespace hansa::server {
namespace {

Error not_told(const std::string& address, const std::string& why) {
  return make_error(ErrorCode::io, "NOTIFY_SOCKET=" + address + ": " + why);
}

}  // namespace

Result<void> tell_service_manager(std::string_view state) {
  const char* value = std::getenv("NOTIFY_SOCKET");
  if (value == nullptr || *value == '\0') return {};
  const std::string address = value;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if ((address[0] != '/' && address[0] != '@') || address.size() < 2 || address.size() >= sizeof to.sun_path) {
    return make_error(ErrorCode::invalid, "NOTIFY_SOCKET=" + address +
                                              ": must be an absolute path or @ and a name, of up to " +
                                              std::to_string(sizeof to.sun_path - 1) + " characters");
  }
  std::ranges::copy(address, to.sun_path);
  if (address[0] == '@') to.sun_path[0] = '\0';  // Linux's abstract names
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
  const int made = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (made < 0) return not_told(address, std::generic_category().message(errno));
  const auto sent =
      ::sendto(made, state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&to), length);
  const int error = sent < 0 ? errno : 0;
  ::close(made);
  if (error != 0) return not_told(address, std::generic_category().message(error));
  return {};
}

}  // namespace hansa::server
