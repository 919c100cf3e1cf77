// What systemd hears of a start and a stop.
#include "server/service_manager.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace hansa::server {
namespace {

// A service manager's socket. `name`: as in NOTIFY_SOCKET.
class Listener {
 public:
  explicit Listener(const std::string& name) : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    name.copy(at.sun_path, sizeof at.sun_path - 1);
    if (name[0] == '@') at.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(::bind(socket_, reinterpret_cast<const sockaddr*>(&at), length), 0) << name;
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  ~Listener() {
    ::unsetenv("NOTIFY_SOCKET");
    ::close(socket_);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  std::string heard() const {
    std::array<char, 100> text{};
    const auto got = ::recv(socket_, text.data(), text.size(), MSG_DONTWAIT);
    return got < 0 ? "nothing" : std::string(text.data(), static_cast<std::size_t>(got));
  }

 private:
  const int socket_;
};

class ServiceManager : public ::testing::Test {
 protected:
  void TearDown() override {
    ::unsetenv("NOTIFY_SOCKET");
    std::filesystem::remove(path_);
  }
  const std::string path_ = ::testing::TempDir() + "hansa-notify-" + std::to_string(::getpid());
};

TEST_F(ServiceManager, IsToldThroughItsSocket) {
  const Listener listener(path_);
  EXPECT_TRUE(tell_service_manager("READY=1"));
  EXPECT_EQ(listener.heard(), "READY=1");
  EXPECT_TRUE(tell_service_manager("STOPPING=1"));
  EXPECT_EQ(listener.heard(), "STOPPING=1");
}

TEST_F(ServiceManager, MayListenOnAnAbstractName) {
  const Listener listener("@hansa-notify-" + std::to_string(::getpid()));
  EXPECT_TRUE(tell_service_manager("READY=1"));
  EXPECT_EQ(listener.heard(), "READY=1");
}

TEST_F(ServiceManager, IsNotNeeded) {
  EXPECT_TRUE(tell_service_manager("READY=1"));
  ::setenv("NOTIFY_SOCKET", "", 1);
  EXPECT_TRUE(tell_service_manager("READY=1"));
}

TEST_F(ServiceManager, ThatIsNotThereOrHasNoAddressIsAnError) {
  ::setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  EXPECT_EQ(tell_service_manager("READY=1").error().code, ErrorCode::io);
  for (const std::string& bad : {std::string("relative"), std::string("@"), "/" + std::string(200, 'x')}) {
    ::setenv("NOTIFY_SOCKET", bad.c_str(), 1);
    EXPECT_EQ(tell_service_manager("READY=1").error().code, ErrorCode::invalid) << bad;
  }
}

}  // namespace
}  // namespace hansa::server
