// The private door of a running server: a Unix socket in its data folder, for commands on the same machine.
//
// One line goes in ("scrub [BYTES_A_SECOND]", "gc run|dry-run|undo [REPOSITORY]", "cluster VERB [ARGUMENT]"), lines
// come out until the end:
//   progress BLOBS BYTES     at most a few per second
//   corrupt DIGEST           a blob that was put away
//   done BLOBS BYTES         the end of a scrub
//   told TEXT                what a collection would remove, or an undo cannot put back
//   answer TEXT              the end of a command of gc or of the cluster; JSON where it is data
//   error MESSAGE            the end of whatever failed
// Only the user that runs the server may connect (mode 0600).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "io/scope.h"
#include "node/node.h"

namespace hansa::server {

inline constexpr std::string_view control_name = "hansa.sock";

// Listens in `root`. Everything given outlives it.
class ControlSocket {
 public:
  static Result<std::unique_ptr<ControlSocket>> open(const std::string& root);
  ~ControlSocket();
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  int descriptor() const { return descriptor_; }
  // One waiting connection; -1: none.
  int accept() const;

 private:
  ControlSocket(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  const int descriptor_;
  const std::string path_;
};

// What the commands reach; outlives every answer.
struct ControlServices {
  node::Node& node;
  io::Clock& clock;
  Logger& log;
  // "cluster VERB ARGUMENT"; one line of text comes back.
  std::function<io::Task<Result<std::string>>(std::string verb, std::string argument)> cluster;
};

// Answers one connection and closes it.
io::Task<void> serve_control(int connection, ControlServices& services);

// Sends a command to the server of `root` and hands every answered line to `line`. not_found: no server is running.
Result<void> ask_server(const std::string& root, std::string_view command,
                        const std::function<void(std::string_view)>& line);

}  // namespace hansa::server
