#include "server/gc_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "server/command_parts.h"
#include "server/control.h"

namespace hansa::server {
namespace {

constexpr std::string_view told = "told ";
constexpr std::string_view answered = "answer ";
constexpr std::string_view refused = "error ";

// The lines of the running server (see control.h) as a person reads them.
struct GcLines {
  bool done = false;
  int code = command_failed;

  void take(std::string_view line) {
    const auto print = [](std::FILE* to, const char* before, std::string_view text) {
      std::fprintf(to, "%s%.*s\n", before, static_cast<int>(text.size()), text.data());
    };
    if (line.starts_with(told)) print(stdout, "", line.substr(told.size()));
    if (line.starts_with(answered)) {
      print(stdout, "", line.substr(answered.size()));
      done = true;
      code = 0;
    }
    if (line.starts_with(refused)) {
      print(stderr, "hansa: the running server says: ", line.substr(refused.size()));
      done = true;
    }
  }
};

std::string request_of(const GcArguments& arguments) {
  if (arguments.dry_run) return "gc dry-run";
  if (!arguments.undo) return "gc run";
  return "gc undo" + (arguments.repository.empty() ? "" : " " + arguments.repository);
}

}  // namespace

void add_gc_command(CLI::App& app, GcArguments& arguments) {
  auto* command = app.add_subcommand("gc", "collect what nothing needs now; asks the running server");
  command->add_option("CONFIG", arguments.config, "configuration file of the registry");
  auto* dry = command->add_flag("--dry-run", arguments.dry_run, "only tell what would be removed");
  auto* undo =
      command->add_flag("--undo", arguments.undo, "put back what collection and retention removed and still remember");
  command->add_option("--repository", arguments.repository, "undo in this one alone")->needs(undo);
  dry->excludes(undo);
  arguments.command = command;
}

int run_gc_command(const GcArguments& arguments) {
  const auto config = load_or_default(arguments.config);
  if (!config) return fail(config.error());
  GcLines lines;
  const auto asked =
      ask_server(config->storage.root, request_of(arguments), [&lines](std::string_view line) { lines.take(line); });
  if (asked && lines.done) return lines.code;
  if (asked) return fail(make_error(ErrorCode::disconnected, "the running server ended before the collection did"));
  Error error = asked.error();
  if (error.code == ErrorCode::not_found) error.message += "; collection is the work of a running one: hansa serve";
  return fail(error);
}

}  // namespace hansa::server
