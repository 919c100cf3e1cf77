// hansa cluster init|status|drain|forget|may-stop|token: what an operator asks of a cluster. `init` works on the folder
// of this machine; the others ask the server that runs on it.
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
  std::string config;
  std::string root;
  std::string member;
  bool json = false;
};

// Adds "cluster" and its commands; `out` outlives the parsing.
CLI::App* add_cluster_commands(CLI::App& app, ClusterArguments& out);
int run_cluster_command(const ClusterArguments& arguments);

}  // namespace hansa::server
