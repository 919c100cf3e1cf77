// Real etcd servers for tests, on free loopback ports and in temporary folders; ended and removed by the destructor.
// Header only, so that it is in no product library. A server that cannot be started stops the test program.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace hansa::meta::etcd::testing {

inline std::string variable(const char* name, std::string otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : std::move(otherwise);
}

// Debian's (3.4), and what `./dev clients` built. Empty: not there.
inline std::string program_at(std::string path) {
  return ::access(path.c_str(), X_OK) == 0 ? path : std::string();
}
inline std::string debian_etcd() {
  return program_at(variable("HANSA_ETCD", "/usr/bin/etcd"));
}
inline std::string current_etcd() {
  const std::string cache = variable("XDG_CACHE_HOME", variable("HOME", "") + "/.cache");
  return program_at(variable("HANSA_CLIENTS", cache + "/hansa/clients") + "/etcd");
}

// Starts a program; its output goes to the end of `log`. 0: it cannot be started.
inline pid_t spawn(const std::vector<std::string>& words, const std::string& log) {
  std::vector<char*> arguments;
  for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t pid = 0;
  const int failed = ::posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  return failed == 0 ? pid : 0;
}

// Runs a program to its end; whether it ended well.
inline bool run(const std::vector<std::string>& words, const std::string& log = "/dev/null") {
  const pid_t pid = spawn(words, log);
  int status = -1;
  return pid > 0 && ::waitpid(pid, &status, 0) == pid && status == 0;
}

inline int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  HANSA_ASSERT(::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0, "a loopback port is free");
  HANSA_ASSERT(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0, "a bound socket has a name");
  ::close(socket);
  return ntohs(address.sin_port);
}

struct ServerOptions {
  std::string binary;
  std::string name = "one";
  std::string scheme = "http";         // of the clients' port
  std::vector<std::string> arguments;  // more of them
};

class EtcdServer {
 public:
  explicit EtcdServer(ServerOptions options) : options_(std::move(options)) {
    std::string pattern = variable("TMPDIR", "/tmp") + "/hansa-etcd-XXXXXX";
    HANSA_ASSERT(::mkdtemp(pattern.data()) != nullptr, "a test of etcd needs a temporary folder");
    folder_ = pattern;
    take_ports();
  }
  ~EtcdServer() {
    kill();
    run({"rm", "-rf", "--", folder_});
  }
  EtcdServer(const EtcdServer&) = delete;
  EtcdServer& operator=(const EtcdServer&) = delete;

  const std::string& folder() const { return folder_; }
  std::string endpoint() const { return options_.scheme + "://127.0.0.1:" + std::to_string(client_port_); }
  std::string member() const { return options_.name + "=" + peer_url(); }  // as in --initial-cluster
  std::string peer_url() const { return "http://127.0.0.1:" + std::to_string(peer_port_); }
  std::string log() const { return folder_ + "/log"; }
  void take_ports() {
    client_port_ = free_port();
    peer_port_ = free_port();
  }

  // Starts it, or starts it again on its data. `cluster`: as --initial-cluster; empty: alone.
  void start(const std::string& cluster = "") {
    std::vector<std::string> words = {options_.binary, "--name", options_.name, "--data-dir", folder_ + "/data"};
    for (const char* flag : {"--listen-client-urls", "--advertise-client-urls"}) {
      words.insert(words.end(), {flag, endpoint()});
    }
    for (const char* flag : {"--listen-peer-urls", "--initial-advertise-peer-urls"}) {
      words.insert(words.end(), {flag, peer_url()});
    }
    words.insert(words.end(), {"--initial-cluster", cluster.empty() ? member() : cluster});
    words.insert(words.end(), options_.arguments.begin(), options_.arguments.end());
    pid_ = spawn(words, log());
    HANSA_ASSERT(pid_ > 0, "etcd can be started");
  }
  bool running() {
    if (pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = 0;
    return pid_ > 0;
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  void terminate() { ::kill(pid_, SIGTERM); }  // a clean stop; does not wait
  void freeze() { ::kill(pid_, SIGSTOP); }
  void thaw() { ::kill(pid_, SIGCONT); }

  // Calls `answers` (which waits a little) until it is true. A clash of ports, shown by an early end, gets new ones.
  void start_until(const std::function<bool()>& answers) {
    start();
    for (int tries = 0; tries < 300; ++tries) {
      if (answers()) return;
      if (running()) continue;
      take_ports();
      run({"rm", "-rf", "--", folder_ + "/data"});
      start();
    }
    HANSA_ASSERT(false, "etcd answers within its time; see its log");
  }
  // With Debian's etcdctl.
  bool control(std::vector<std::string> words) const {
    words.insert(words.begin(), {"env", "ETCDCTL_API=3", "etcdctl", "--endpoints=" + endpoint()});
    return run(words, folder_ + "/etcdctl.log");
  }

 private:
  ServerOptions options_;
  std::string folder_;
  int client_port_ = 0;
  int peer_port_ = 0;
  pid_t pid_ = 0;
};

// Three members, each started with the others' names.
class EtcdCluster {
 public:
  explicit EtcdCluster(const std::string& binary) {
    std::string members;
    for (const char* name : {"one", "two", "three"}) {
      servers_.push_back(std::make_unique<EtcdServer>(ServerOptions{.binary = binary, .name = name, .arguments = {}}));
      members += (members.empty() ? "" : ",") + servers_.back()->member();
    }
    for (auto& server : servers_) server->start(members);
  }
  EtcdServer& operator[](std::size_t index) { return *servers_[index]; }
  std::size_t size() const { return servers_.size(); }

 private:
  std::vector<std::unique_ptr<EtcdServer>> servers_;
};

}  // namespace hansa::meta::etcd::testing
