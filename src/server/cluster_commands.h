// hansa mirrors, and
// hansa cluster init|status|drain|forget|may-stop|token|backup|restore|recover: what an operator asks of a cluster.
// init, restore and recover work on the folder of this machine; the others ask the server that runs on it.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace hansa::server {

struct ClusterArguments {
  CLI::App* init = nullptr;
  CLI::App* status = nullptr;
  CLI::App* drain = nullptr;
  CLI::App* forget = nullptr;
  CLI::App* may_stop = nullptr;
  CLI::App* token = nullptr;
  CLI::App* clear_alarm = nullptr;
  CLI::App* backup = nullptr;
  CLI::App* restore = nullptr;
  CLI::App* recover = nullptr;
  CLI::App* mirrors = nullptr;
  std::string config;
  std::string root;
  std::string member;
  std::string file;  // of a backup
  bool json = false;
  std::string format;  // of mirrors
  std::string name;    // under which images are known
  std::string client;  // the machine that the file is for
};

// Adds "cluster" with its commands, and "mirrors"; `out` outlives the parsing.
CLI::App* add_cluster_commands(CLI::App& app, ClusterArguments& out);
int run_cluster_command(ClusterArguments arguments);

}  // namespace hansa::server
