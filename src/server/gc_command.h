// `hansa gc`: one collection of the running server now, what it would remove, or its undo.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace hansa::server {

struct GcArguments {
  CLI::App* command = nullptr;
  std::string config;
  bool dry_run = false;
  bool undo = false;
  std::string repository;  // of an undo; empty: all
};

void add_gc_command(CLI::App& app, GcArguments& arguments);
int run_gc_command(const GcArguments& arguments);

}  // namespace hansa::server
